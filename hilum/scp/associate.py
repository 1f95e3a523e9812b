"""A-ASSOCIATE-RQ and A-ASSOCIATE-AC, read and written (PS3.8 9.3.2, 9.3.3, PS3.7 D.3.3).

What is read is taken as it is meant. Equipment pads AE titles and UIDs with NULs, has names
longer than a field may be, numbers its contexts 1, 2, 3, and sends items that were invented
later: none of that is a reason to keep an image out. Items of unknown types are passed over
(PS3.8 9.3.1). Only a PDU whose items do not fit into it cannot be read.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from hilum.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hilum.scp.contexts import Answer, Proposed, Roles
from hilum.scp.upper_layer import PduType, ProtocolViolation

APPLICATION_CONTEXT_NAME: Final = "1.2.840.10008.3.1.1.1"

_PDU_HEAD: Final = struct.Struct(">BxL")
_VERSION: Final = struct.Struct(">H")
_VARIABLE_ITEMS: Final = 74  # where they begin
_TITLES: Final = slice(10, 42)
_CALLED: Final = slice(10, 26)
_CALLING: Final = slice(26, 42)
_TITLE_BYTES: Final = 16
_UID_BYTES: Final = 64
_RESERVED: Final = bytes(32)

_ITEM: Final = struct.Struct(">BxH")
_LENGTH: Final = struct.Struct(">H")
_MAXIMUM: Final = struct.Struct(">L")
_WINDOW: Final = struct.Struct(">HH")
_APPLICATION_CONTEXT: Final = 0x10
_PROPOSED_CONTEXT: Final = 0x20
_ANSWERED_CONTEXT: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_MAXIMUM_LENGTH: Final = 0x51
_IMPLEMENTATION_CLASS: Final = 0x52
_ASYNCHRONOUS_WINDOW: Final = 0x53
_ROLE_SELECTION: Final = 0x54
_IMPLEMENTATION_VERSION: Final = 0x55
_EXTENDED_NEGOTIATION: Final = 0x56


@dataclass(frozen=True, slots=True)
class UserInformation:
    """What one side says about itself and about what it wants (PS3.7 D.3.3)."""

    maximum_pdu_bytes: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    roles: Mapping[str, Roles] = field(default_factory=lambda: MappingProxyType({}))
    extended: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Service class application information by SOP class (PS3.7 D.3.3.5)."""
    wants_asynchronous: bool = False


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ."""

    titles: bytes
    """Both AE titles as they came: an answer repeats them (PS3.8 9.3.3)."""
    called_ae_title: str
    calling_ae_title: str
    protocol_version: int
    application_context_name: str
    proposed: Sequence[Proposed]
    information: UserInformation


@dataclass(frozen=True, slots=True)
class AssociateAnswer:
    """An A-ASSOCIATE-AC."""

    answers: Sequence[Answer]
    information: UserInformation


def read_request(pdu: bytes) -> AssociateRequest:
    """Read an A-ASSOCIATE-RQ, header included.

    Raises
    ------
    ProtocolViolation
        Its items do not fit into it.
    """
    proposed = []
    name = ""
    information = UserInformation()
    for kind, value in _items_of(pdu):
        if kind == _PROPOSED_CONTEXT:
            proposed.append(_proposed(value))
        elif kind == _APPLICATION_CONTEXT:
            name = _uid(value)
        elif kind == _USER_INFORMATION:
            information = _information(value)
    return AssociateRequest(
        titles=pdu[_TITLES],
        called_ae_title=_title(pdu[_CALLED]),
        calling_ae_title=_title(pdu[_CALLING]),
        protocol_version=_VERSION.unpack_from(pdu, _PDU_HEAD.size)[0],
        application_context_name=name,
        proposed=proposed,
        information=information,
    )


def read_answer(pdu: bytes) -> AssociateAnswer:
    """Read an A-ASSOCIATE-AC, header included.

    Raises
    ------
    ProtocolViolation
        Its items do not fit into it.
    """
    answers = []
    information = UserInformation()
    for kind, value in _items_of(pdu):
        if kind == _ANSWERED_CONTEXT:
            answers.append(_answered(value))
        elif kind == _USER_INFORMATION:
            information = _information(value)
    return AssociateAnswer(answers, information)


def write_request(
    called_ae_title: str,
    calling_ae_title: str,
    proposed: Iterable[Proposed],
    information: UserInformation,
) -> bytes:
    """Return an A-ASSOCIATE-RQ; of `information`, who this node is goes without saying."""
    titles = b"".join(
        title.encode("ascii", "replace").ljust(_TITLE_BYTES)[:_TITLE_BYTES]
        for title in (called_ae_title, calling_ae_title)
    )
    contexts = [
        _item(
            _PROPOSED_CONTEXT,
            bytes((context.id, 0, 0, 0)),
            _item(_ABSTRACT_SYNTAX, context.abstract_syntax.encode()),
            *(_item(_TRANSFER_SYNTAX, uid.encode()) for uid in context.transfer_syntaxes),
        )
        for context in proposed
    ]
    return _pdu(PduType.ASSOCIATE_RQ, titles, contexts, information)


def write_answer(titles: bytes, answers: Iterable[Answer], information: UserInformation) -> bytes:
    """Return an A-ASSOCIATE-AC; `titles` are those of the request."""
    contexts = [
        _item(
            _ANSWERED_CONTEXT,
            bytes((answer.id, 0, answer.result, 0)),
            _item(_TRANSFER_SYNTAX, answer.transfer_syntax.encode()),
        )
        for answer in answers
    ]
    return _pdu(PduType.ASSOCIATE_AC, titles, contexts, information)


def _pdu(
    pdu_type: PduType, titles: bytes, contexts: Iterable[bytes], information: UserInformation
) -> bytes:
    items = [
        _item(_APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME.encode()),
        *contexts,
        _item(_USER_INFORMATION, *_information_items(information)),
    ]
    body = b"".join((_VERSION.pack(1), b"\0\0", titles, _RESERVED, *items))
    return _PDU_HEAD.pack(pdu_type, len(body)) + body


def _information_items(information: UserInformation) -> Iterator[bytes]:
    """Iterate sub-items in the order of their types, as PS3.7 D.3.3 has them."""
    yield _item(_MAXIMUM_LENGTH, _MAXIMUM.pack(information.maximum_pdu_bytes))
    yield _item(_IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode())
    if information.wants_asynchronous:
        yield _item(_ASYNCHRONOUS_WINDOW, _WINDOW.pack(1, 1))
    for uid, roles in information.roles.items():
        yield _item(_ROLE_SELECTION, _counted(uid), bytes((roles.scu, roles.scp)))
    yield _item(_IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode())
    for uid, options in information.extended.items():
        yield _item(_EXTENDED_NEGOTIATION, _counted(uid), options)


def _item(kind: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return _ITEM.pack(kind, len(content)) + content


def _counted(uid: str) -> bytes:
    return _LENGTH.pack(len(uid)) + uid.encode()


def _items_of(pdu: bytes) -> Iterator[tuple[int, bytes]]:
    if len(pdu) < _VARIABLE_ITEMS:
        raise ProtocolViolation("an association PDU that is too short")
    return _items(pdu[_VARIABLE_ITEMS:])


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate type and content of items."""
    start = 0
    while start < len(data):
        content = start + _ITEM.size
        if content > len(data):
            raise ProtocolViolation("an association PDU ends inside the head of an item")
        kind, length = _ITEM.unpack_from(data, start)
        start = content + length
        if start > len(data):
            raise ProtocolViolation(f"an item of type {kind:#04x} does not fit its PDU")
        yield kind, data[content:start]


def _proposed(value: bytes) -> Proposed:
    abstract_syntaxes, transfer_syntaxes = [], []
    for kind, uid in _items(value[4:]):
        if kind == _ABSTRACT_SYNTAX:
            abstract_syntaxes.append(_uid(uid))
        elif kind == _TRANSFER_SYNTAX:
            transfer_syntaxes.append(_uid(uid))
    return Proposed(
        value[0] if value else 0,
        abstract_syntaxes[0] if abstract_syntaxes else "",
        tuple(dict.fromkeys(transfer_syntaxes)),
    )


def _answered(value: bytes) -> Answer:
    context_id, _, result, _ = value[:4].ljust(4, b"\xff")
    named = (_uid(uid) for kind, uid in _items(value[4:]) if kind == _TRANSFER_SYNTAX)
    return Answer(context_id, result, next(named, ""))


def _information(value: bytes) -> UserInformation:
    maximum_pdu_bytes = 0
    texts = {_IMPLEMENTATION_CLASS: "", _IMPLEMENTATION_VERSION: ""}
    roles: dict[str, Roles] = {}
    extended: dict[str, bytes] = {}
    wants_asynchronous = False
    for kind, content in _items(value):
        if kind == _MAXIMUM_LENGTH:
            maximum_pdu_bytes = int.from_bytes(content[:4], "big")
        elif kind in texts:
            texts[kind] = _text(content)
        elif kind == _ROLE_SELECTION:
            uid, rest = _uid_and_rest(content)
            scu, scp = rest[:2].ljust(2, b"\0")
            roles[uid] = Roles(scu == 1, scp == 1)
        elif kind == _EXTENDED_NEGOTIATION:
            uid, extended[uid] = _uid_and_rest(content)
        elif kind == _ASYNCHRONOUS_WINDOW:
            wants_asynchronous = True
    return UserInformation(
        maximum_pdu_bytes,
        texts[_IMPLEMENTATION_CLASS],
        texts[_IMPLEMENTATION_VERSION],
        roles,
        extended,
        wants_asynchronous,
    )


def _uid_and_rest(content: bytes) -> tuple[str, bytes]:
    length = int.from_bytes(content[:2], "big")
    return _uid(content[2 : 2 + length]), content[2 + length :]


def _uid(raw: bytes) -> str:
    # Strangers send these: what is no UID for its length is not remembered.
    return _shared_uid(raw) if len(raw) <= _UID_BYTES else _read_uid(raw)


def _read_uid(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace").strip(" \0")


# A request repeats its transfer syntaxes in every context.
_shared_uid = lru_cache(maxsize=4096)(_read_uid)


def _title(raw: bytes) -> str:
    """Return an AE title: up to a NUL, behind which there may be anything."""
    return _text(raw.lstrip(b" \0").partition(b"\0")[0])


def _text(raw: bytes) -> str:
    text = raw.decode("latin-1").strip(" \0")
    return "".join(character if character.isprintable() else "?" for character in text)
