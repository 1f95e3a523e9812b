"""Presentation contexts and roles inside the PDUs of negotiation (PS3.8 9.3.2.2, 9.3.3.2).

An association has up to 128 of each, and pynetdicom makes an object of every field of every
one: 30 ms for what ``getscu`` proposes. Here they are taken out of a request before pynetdicom
reads the rest of it, and put into an answer after it has written the rest.

What is not exactly as the standard has it is left where it is. Pynetdicom knows what to make of
it, or that nothing can be.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from hilum.scp.contexts import Answer, Proposed, Roles

_VARIABLE_ITEMS: Final = 74  # where they begin in A-ASSOCIATE-RQ and -AC
_PDU_HEAD: Final = struct.Struct(">BxL")
_ITEM: Final = struct.Struct(">BxH")
_LENGTH: Final = struct.Struct(">H")
_ANSWER: Final = struct.Struct(">BxHBxBxBxH")
_PROPOSED_CONTEXT: Final = 0x20
_ANSWERED_CONTEXT: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_ROLES: Final = 0x54
_UID: Final = re.compile(rb"(?=.{1,64}\Z)(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*")


class _Odd(ValueError):
    """Something is not exactly as the standard has it."""


def take_out(pdu: bytes) -> tuple[list[Proposed], dict[str, Roles], bytes]:
    """Split an A-ASSOCIATE-RQ, header included, into contexts, roles and the PDU without them.

    If anything about those is odd, all of it stays in the PDU.
    """
    try:
        return _take_out(pdu)
    except _Odd:
        return [], {}, pdu


def put_in(pdu: bytes, answers: Iterable[Answer], roles: Mapping[str, Roles]) -> bytes:
    """Return an A-ASSOCIATE-AC with contexts and roles added.

    Parameters
    ----------
    pdu
        With one application context item and behind it one of user information, the last.
    """
    contexts = b"".join(
        _ANSWER.pack(
            _ANSWERED_CONTEXT,
            8 + len(answer.transfer_syntax),
            answer.id,
            answer.result,
            _TRANSFER_SYNTAX,
            len(answer.transfer_syntax),
        )
        + answer.transfer_syntax.encode()
        for answer in answers
    )
    selections = b"".join(
        _ITEM.pack(_ROLES, len(uid) + 4)
        + _LENGTH.pack(len(uid))
        + uid.encode()
        + bytes((each.scu, each.scp))
        for uid, each in roles.items()
        if each.scu or each.scp
    )
    [(_, _, here), (_, start, end)] = _items(pdu, _VARIABLE_ITEMS, len(pdu))
    information = _ITEM.pack(_USER_INFORMATION, end - start + len(selections))
    return _with_length(pdu[:here] + contexts + information + pdu[start:] + selections)


def _take_out(pdu: bytes) -> tuple[list[Proposed], dict[str, Roles], bytes]:
    proposed: list[Proposed] = []
    roles: dict[str, Roles] = {}
    rest = bytearray(pdu[:_VARIABLE_ITEMS])
    informed = False
    for kind, start, end in _items(pdu, _VARIABLE_ITEMS, len(pdu)):
        if kind == _PROPOSED_CONTEXT:
            proposed.append(_proposed(pdu, start, end))
        elif kind == _USER_INFORMATION:
            if informed:
                raise _Odd
            informed = True
            information = _without_roles(pdu, start, end, roles)
            rest += _ITEM.pack(kind, len(information)) + information
        else:
            rest += pdu[start - _ITEM.size : end]
    return proposed, roles, _with_length(rest)


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Iterate type, first byte of the content, and the byte behind it."""
    while start < end:
        if start + _ITEM.size > end:
            raise _Odd
        kind, length = _ITEM.unpack_from(data, start)
        start += _ITEM.size
        if start + length > end:
            raise _Odd
        yield kind, start, start + length
        start += length


def _proposed(pdu: bytes, start: int, end: int) -> Proposed:
    if end - start < 4 or not pdu[start] & 1:
        raise _Odd
    kinds = []
    uids = []
    for kind, first, behind in _items(pdu, start + 4, end):
        kinds.append(kind)
        uids.append(_uid(pdu[first:behind]))
    if len(kinds) < 2 or kinds[0] != _ABSTRACT_SYNTAX or set(kinds[1:]) != {_TRANSFER_SYNTAX}:
        raise _Odd
    return Proposed(pdu[start], uids[0], tuple(dict.fromkeys(uids[1:])))


def _without_roles(pdu: bytes, start: int, end: int, roles: dict[str, Roles]) -> bytes:
    """Return the content of a user information item without the role selections in it."""
    rest = bytearray()
    for kind, first, behind in _items(pdu, start, end):
        if kind != _ROLES:
            rest += pdu[first - _ITEM.size : behind]
            continue
        selection = pdu[first:behind]
        if len(selection) < 4 or _LENGTH.unpack_from(selection)[0] != len(selection) - 4:
            raise _Odd
        scu, scp = selection[-2:]
        if scu > 1 or scp > 1:
            raise _Odd
        roles[_uid(selection[2:-2])] = Roles(bool(scu), bool(scp))
    return bytes(rest)


@lru_cache(maxsize=4096)
def _uid(raw: bytes) -> str:
    raw = raw.removesuffix(b"\0")
    if not _UID.fullmatch(raw):
        raise _Odd
    return raw.decode()


def _with_length(pdu: bytes | bytearray) -> bytes:
    """Return a PDU whose length is said right."""
    return _PDU_HEAD.pack(pdu[0], len(pdu) - _PDU_HEAD.size) + bytes(pdu[_PDU_HEAD.size :])
