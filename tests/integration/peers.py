"""Peers that do what they should not, scripted byte by byte over a raw socket.

Nothing of Hilum's is used to make or to read what goes over the wire: PDUs are put
together here from PS3.8 9.3, command sets and identifiers by pydicom.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RELEASE_RQ = bytes.fromhex("05000000000400000000")
RELEASE_RP = bytes.fromhex("06000000000400000000")
ABORT = bytes.fromhex("07000000000400000000")


def encode(data_set: Dataset, transfer_syntax: str = IMPLICIT) -> bytes:
    """Return a data set as bytes."""
    file = DicomBytesIO()
    file.is_implicit_VR = transfer_syntax == IMPLICIT
    file.is_little_endian = transfer_syntax != BIG_ENDIAN
    write_dataset(file, data_set)
    return file.getvalue()


def command(**elements: Any) -> bytes:
    """Return a command set with its group length; elements by keyword."""
    data_set = Dataset()
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    data_set.CommandGroupLength = len(encode(data_set))
    return encode(data_set)


def store_rq(
    sop_instance_uid: str, sop_class_uid: str = CT_IMAGE, message_id: int = 1, **more: Any
) -> bytes:
    return command(
        **{
            "AffectedSOPClassUID": sop_class_uid,
            "CommandField": 0x0001,
            "MessageID": message_id,
            "Priority": 0,
            "CommandDataSetType": 1,
            "AffectedSOPInstanceUID": sop_instance_uid,
            **more,
        }
    )


def query_rq(field: int, sop_class_uid: str, message_id: int = 1, **more: Any) -> bytes:
    """Return a C-FIND, C-MOVE or C-GET request."""
    return command(
        **{
            "AffectedSOPClassUID": sop_class_uid,
            "CommandField": field,
            "MessageID": message_id,
            "Priority": 0,
            "CommandDataSetType": 1,
            **more,
        }
    )


def cancel_rq(message_id: int = 1) -> bytes:
    return command(
        CommandField=0x0FFF, MessageIDBeingRespondedTo=message_id, CommandDataSetType=0x0101
    )


def pdv(context_id: int, data: bytes, *, is_command: bool, is_last: bool) -> bytes:
    """Return a presentation data value item (PS3.8 9.3.5.1)."""
    return struct.pack(">LBB", len(data) + 2, context_id, is_command | is_last << 1) + data


def p_data(*pdvs: bytes) -> bytes:
    """Return a P-DATA-TF PDU around presentation data values."""
    body = b"".join(pdvs)
    return struct.pack(">BBL", 4, 0, len(body)) + body


def _item(item_type: int, body: bytes) -> bytes:
    return struct.pack(">BBH", item_type, 0, len(body)) + body


def associate_rq(
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    called: str = "HILUM",
    calling: str = "PEER",
    maximum_pdu: int = 16384,
    roles: Sequence[str] = (),
    extended: Sequence[tuple[str, bytes]] = (),
    protocol_version: int = 1,
    application_context: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 9.3.2); contexts get the ids 1, 3, 5, …"""
    items = _item(0x10, application_context.encode())
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
        body = struct.pack(">BBBB", 2 * index + 1, 0, 0, 0) + _item(0x30, abstract_syntax.encode())
        body += b"".join(_item(0x40, uid.encode()) for uid in transfer_syntaxes)
        items += _item(0x20, body)
    user = _item(0x51, struct.pack(">L", maximum_pdu)) + _item(0x52, b"1.2.3.4")
    for uid in roles:
        user += _item(0x54, struct.pack(">H", len(uid)) + uid.encode() + b"\1\1")
    for uid, options in extended:
        user += _item(0x56, struct.pack(">H", len(uid)) + uid.encode() + options)
    items += _item(0x50, user)
    body = struct.pack(">HH", protocol_version, 0)
    titles = called.ljust(16) + calling.ljust(16)
    body += titles.encode("latin-1") + bytes(32) + items
    return struct.pack(">BBL", 1, 0, len(body)) + body


@dataclass
class Accepted:
    """What an A-ASSOCIATE-AC says."""

    transfer_syntaxes: dict[int, str] = field(default_factory=dict)
    """Of the accepted contexts, by id."""
    results: dict[int, int] = field(default_factory=dict)
    maximum_pdu: int = 0
    roles: dict[str, tuple[int, int]] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        item_type, _, length = struct.unpack_from(">BBH", data)
        yield item_type, data[4 : 4 + length]
        data = data[4 + length :]


def parse_associate_ac(body: bytes) -> Accepted:
    accepted = Accepted()
    for item_type, item in _items(body[68:]):
        if item_type == 0x21:
            context_id, _, result, _ = struct.unpack_from(">BBBB", item)
            accepted.results[context_id] = result
            if result == 0:
                accepted.transfer_syntaxes[context_id] = item[8:].decode().rstrip("\0")
        elif item_type == 0x50:
            for user_type, value in _items(item):
                if user_type == 0x51:
                    (accepted.maximum_pdu,) = struct.unpack(">L", value)
                elif user_type in {0x54, 0x56}:
                    (length,) = struct.unpack_from(">H", value)
                    uid, rest = value[2 : 2 + length].decode(), value[2 + length :]
                    if user_type == 0x54:
                        accepted.roles[uid] = (rest[0], rest[1])
                    else:
                        accepted.extended[uid] = rest
    return accepted


@dataclass
class Response:
    """A message from the other side."""

    context_id: int
    command: Dataset
    data_set: bytes

    @property
    def status(self) -> int:
        return int(self.command.Status)

    def identifier(self, transfer_syntax: str = IMPLICIT) -> Dataset:
        return read_dataset(
            BytesIO(self.data_set), transfer_syntax == IMPLICIT, transfer_syntax != BIG_ENDIAN
        )


class RawPeer:
    """One connection, on which anything may be said."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(30)
        self.proposed: dict[str, list[str]] = {}
        """What one that was accepted has proposed: transfer syntaxes by abstract syntax."""

    @classmethod
    def connect(cls, address: tuple[str, int]) -> Self:
        return cls(socket.create_connection(address, 10))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError(f"closed after {len(data)} of {size} bytes")
            data += part
        return bytes(data)

    def read_pdu(self) -> tuple[int, bytes]:
        pdu_type, _, length = struct.unpack(">BBL", self.read(6))
        return pdu_type, self.read(length)

    def associate(self, contexts: Sequence[tuple[str, Sequence[str]]], **options: Any) -> Accepted:
        self.send(associate_rq(contexts, **options))
        pdu_type, body = self.read_pdu()
        assert pdu_type == 2, f"PDU type {pdu_type} {body.hex()}"
        return parse_associate_ac(body)

    def request(self, context_id: int, command_set: bytes, data_set: bytes = b"") -> None:
        """Send a message, each part in one PDU of its own."""
        self.send(p_data(pdv(context_id, command_set, is_command=True, is_last=True)))
        if data_set:
            self.send(p_data(pdv(context_id, data_set, is_command=False, is_last=True)))

    def respond(self, context_id: int, request: Dataset, status: int = 0) -> None:
        """Answer a C-STORE request."""
        self.request(
            context_id,
            command(
                AffectedSOPClassUID=request.AffectedSOPClassUID,
                CommandField=request.CommandField | 0x8000,
                MessageIDBeingRespondedTo=request.MessageID,
                CommandDataSetType=0x0101,
                Status=status,
                AffectedSOPInstanceUID=request.AffectedSOPInstanceUID,
            ),
        )

    def receive(self) -> Response:
        """Read one message, however it is fragmented."""
        parts: dict[bool, bytearray] = {True: bytearray(), False: bytearray()}
        command_set: Dataset | None = None
        while True:
            pdu_type, body = self.read_pdu()
            assert pdu_type == 4, f"PDU type {pdu_type} {body.hex()}"
            while body:
                length, context_id, control = struct.unpack_from(">LBB", body)
                parts[bool(control & 1)] += body[6 : 4 + length]
                body = body[4 + length :]
                if control & 2 and control & 1:
                    command_set = read_dataset(BytesIO(bytes(parts[True])), True, True)
                    if command_set.CommandDataSetType == 0x0101:
                        return Response(context_id, command_set, b"")
                elif control & 2:
                    assert command_set is not None
                    return Response(context_id, command_set, bytes(parts[False]))

    def receive_all(self) -> list[Response]:
        """Read the responses to a query: pending ones and the final one."""
        responses = [self.receive()]
        while responses[-1].status in {0xFF00, 0xFF01}:
            responses.append(self.receive())
        return responses

    def release(self) -> None:
        self.send(RELEASE_RQ)
        pdu_type, _ = self.read_pdu()
        assert pdu_type == 6
        self.close()

    def is_closed(self) -> bool:
        """Whether the other side closes the connection, whatever it says before."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        self.socket.close()


@contextmanager
def calling(address: tuple[str, int]) -> Iterator[RawPeer]:
    peer = RawPeer.connect(address)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket for a peer that is called; accept with `accepted`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def accept(listener: socket.socket, transfer_syntaxes: Sequence[str] | None = None) -> RawPeer:
    """Take an association and accept its contexts.

    Parameters
    ----------
    transfer_syntaxes
        The only ones to accept; None: whatever is proposed first in each context.
    """
    connection, _ = listener.accept()
    peer = RawPeer(connection)
    pdu_type, body = peer.read_pdu()
    assert pdu_type == 1
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for item_type, item in _items(body[68:]):
        if item_type != 0x20:
            continue
        offered = [v.decode().rstrip("\0") for t, v in _items(item[4:]) if t == 0x40]
        abstract = next(v.decode().rstrip("\0") for t, v in _items(item[4:]) if t == 0x30)
        peer.proposed.setdefault(abstract, []).extend(offered)
        usable = [uid for uid in offered if transfer_syntaxes is None or uid in transfer_syntaxes]
        chosen, result = (usable[0], 0) if usable else (offered[0], 4)
        head = struct.pack(">BBBB", item[0], 0, result, 0)
        items += _item(0x21, head + _item(0x40, chosen.encode()))
    items += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
    answer = body[:68] + items
    peer.send(struct.pack(">BBL", 2, 0, len(answer)) + answer)
    return peer
