"""A peer that says what it likes: PDUs put together byte by byte (PS3.8 9.3).

Nothing of Hilum's is used to make or to read what goes over the wire.
"""

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ABORT = bytes.fromhex("07000000000400000000")
RELEASE_RQ = bytes.fromhex("05000000000400000000")
CONTEXT = 1
_SECONDS = 120


def item(item_type: int, body: bytes) -> bytes:
    """Return an item of an A-ASSOCIATE PDU."""
    return struct.pack(">BxH", item_type, len(body)) + body


def pdu(pdu_type: int, body: bytes, length: int | None = None) -> bytes:
    """Return a PDU, with another length than its own if one is given."""
    return struct.pack(">BxL", pdu_type, len(body) if length is None else length) + body


def pdv(data: bytes, *, command: bool, last: bool = True, length: int | None = None) -> bytes:
    """Return a presentation data value, with another length if one is given."""
    size = len(data) + 2 if length is None else length
    return struct.pack(">LBB", size, CONTEXT, command | last << 1) + data


def associate_rq(caller: str = "FAULT") -> bytes:
    """Return a request for an association that stores CT images."""
    items = item(0x10, b"1.2.840.10008.3.1.1.1")
    syntaxes = item(0x30, CTImageStorage.encode()) + item(0x40, ExplicitVRLittleEndian.encode())
    items += item(0x20, struct.pack(">Bxxx", CONTEXT) + syntaxes)
    items += item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3.4"))
    titles = b"HILUM".ljust(16) + caller.encode().ljust(16)
    return pdu(1, struct.pack(">Hxx", 1) + titles + bytes(32) + items)


def store_rq(sop_instance_uid: str, message_id: int = 1) -> bytes:
    """Return the P-DATA PDU of a C-STORE request's command."""
    command = Dataset()
    command.AffectedSOPClassUID = CTImageStorage
    command.CommandField = 0x0001
    command.MessageID = message_id
    command.Priority = 0
    command.CommandDataSetType = 1
    command.AffectedSOPInstanceUID = sop_instance_uid
    command.CommandGroupLength = len(_encode(command))
    return pdu(4, pdv(_encode(command), command=True))


def data_set_pdus(data: bytes, size_bytes: int = 16384) -> bytes:
    """Return the P-DATA PDUs of a data set."""
    parts = [data[start : start + size_bytes] for start in range(0, len(data), size_bytes)]
    return b"".join(
        pdu(4, pdv(part, command=False, last=number == len(parts)))
        for number, part in enumerate(parts, 1)
    )


def data_set_of(path: Path) -> bytes:
    """Return what follows the file meta information of a Part 10 file."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def _status(body: bytes) -> int:
    at = body.index(bytes.fromhex("0000000902000000"))
    return int.from_bytes(body[at + 8 : at + 10], "little")


def _encode(data_set: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR = file.is_little_endian = True
    write_dataset(file, data_set)
    return file.getvalue()


class Peer:
    """One connection to a node; closed at the end of its block."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, 30)
        self.socket.settimeout(_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def associate(self, caller: str = "FAULT") -> None:
        """Ask for an association and have it."""
        self.send(associate_rq(caller))
        pdu_type, body = self.read_pdu()
        assert pdu_type == 2, f"no association: PDU {pdu_type} {body.hex()}"

    def store(self, sop_instance_uid: str, data: bytes) -> int:
        """Perform a C-STORE; return its status."""
        self.send(store_rq(sop_instance_uid) + data_set_pdus(data))
        return self.status()

    def status(self) -> int:
        """Read a response; return its status, (0000,0900)."""
        pdu_type, body = self.read_pdu()
        assert pdu_type == 4, f"no response: PDU {pdu_type} {body.hex()}"
        return _status(body)

    def release(self) -> None:
        """Release the association."""
        self.send(RELEASE_RQ)
        pdu_type, body = self.read_pdu()
        assert pdu_type == 6, f"no release: PDU {pdu_type} {body.hex()}"

    def read_pdu(self) -> tuple[int, bytes]:
        """Read one PDU: its type and its body."""
        pdu_type, length = struct.unpack(">BxL", self._read(6))
        return pdu_type, self._read(length)

    def answer(self) -> str:
        """Return what the node says next: a status, an abort, or nothing but the end."""
        try:
            pdu_type, body = self.read_pdu()
        except (EOFError, ConnectionError):
            return "closed"
        if pdu_type == 7:
            return f"A-ABORT {body[2]}/{body[3]}"
        if pdu_type == 4:
            return f"status {_status(body):04X}"
        return f"PDU {pdu_type}"

    def wait_closed(self) -> None:
        """Wait until the node closes the connection, whatever it says before."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def reset(self) -> None:
        """Close the connection as a machine does that forgot it: by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
