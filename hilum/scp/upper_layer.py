"""The DICOM upper layer in the data phase: P-DATA, release and abort (PS3.8 9).

Negotiation is done by the time this layer works (`acceptor`, `requestor`); its PDUs are in
`associate`. Here there are three PDU types and one rule: a presentation
data value may be cut anywhere, so nothing is assembled that need not be.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from hilum.scp.wire import AssociationLost, Wire


class PduType(IntEnum):
    """PDU types (PS3.8 9.3)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    DATA = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortReason(IntEnum):
    """Why a service provider aborts (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class PeerAborted(AssociationLost):
    """An A-ABORT arrived."""


class ReleaseRequested(AssociationLost):
    """An A-RELEASE-RQ arrived: the peer is done."""


class ProtocolViolation(AssociationLost):
    """The peer sent what PS3.8 or PS3.7 do not allow here."""

    def __init__(self, message: str, reason: AbortReason = AbortReason.INVALID_PARAMETER) -> None:
        super().__init__(message)
        self.reason = reason


class Pdv(NamedTuple):
    """The head of a presentation data value; its bytes follow (PS3.8 9.3.5.1, Annex E)."""

    context_id: int
    is_command: bool
    is_last: bool
    size_bytes: int


_PDU_HEADER: Final = struct.Struct(">BxL")
_PDV_HEADER: Final = struct.Struct(">LBB")
_P_DATA: Final = struct.Struct(">BxLLBB")  # a P-DATA-TF PDU around one PDV
P_DATA_HEAD_BYTES: Final = _P_DATA.size
_PDV_OVERHEAD: Final = 6
_SHORT_PDU_BYTES: Final = 4  # A-RELEASE-RQ, A-RELEASE-RP, A-ABORT
_RELEASE_RQ: Final = bytes((PduType.RELEASE_RQ, 0, 0, 0, 0, 4, 0, 0, 0, 0))
_RELEASE_RP: Final = bytes((PduType.RELEASE_RP, 0, 0, 0, 0, 4, 0, 0, 0, 0))

#: Cap on what is sent at a time to a peer that says 0, unlimited (PS3.8 D.1), and to one
#: that announces more than is of use.
_LARGEST_PDU_BYTES: Final = 256 * 1024


def read_pdu_header(wire: Wire) -> tuple[int, int]:
    """Return type and length in bytes of the PDU that begins here (PS3.8 9.3.1)."""
    pdu_type, length = wire.unpack(_PDU_HEADER)
    return pdu_type, length


def abort_pdu(source: int, reason: int) -> bytes:
    """Return an A-ABORT PDU (PS3.8 9.3.8); `source` 0 is the service user, 2 the provider."""
    return bytes((PduType.ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason))


def p_data_head(context_id: int, *, is_command: bool, is_last: bool, size_bytes: int) -> bytes:
    """Return what precedes the bytes of a P-DATA-TF PDU with one fragment (PS3.8 9.3.5)."""
    control = is_command | is_last << 1
    return _P_DATA.pack(PduType.DATA, size_bytes + 6, size_bytes + 2, context_id, control)


class UpperLayer:
    """Presentation data values in and out over one connection."""

    def __init__(self, wire: Wire, peer_maximum_pdu_bytes: int) -> None:
        self.wire = wire
        size = peer_maximum_pdu_bytes or _LARGEST_PDU_BYTES
        # Fragments have an even length, as everything in DICOM has; a maximum too small
        # for any fragment is taken as the smallest one possible.
        size = max(min(size, _LARGEST_PDU_BYTES), _PDV_OVERHEAD + 2)
        self.fragment_bytes = (size - _PDV_OVERHEAD) & ~1
        """The longest fragment of a message that fits in a PDU of the peer."""
        self._pdu_left = 0

    def next_pdv(self) -> Pdv:
        """Read the head of the next presentation data value.

        Raises
        ------
        ReleaseRequested, PeerAborted, ConnectionLost, Silence
            There is none.
        ProtocolViolation
            Another PDU, or lengths that do not fit into each other.
        """
        while not self._pdu_left:
            pdu_type, length = read_pdu_header(self.wire)
            if pdu_type == PduType.DATA:
                self._pdu_left = length
            else:
                self._end(pdu_type, length)
        if self._pdu_left < _PDV_HEADER.size:
            raise ProtocolViolation("a PDU ends inside the head of a presentation data value")
        length, context_id, control = self.wire.unpack(_PDV_HEADER)
        if length < 2 or length + 4 > self._pdu_left:
            raise ProtocolViolation("a presentation data value does not fit its PDU")
        self._pdu_left -= length + 4
        return Pdv(context_id, bool(control & 1), bool(control & 2), length - 2)

    def send(self, context_id: int, command: bytes, data_set: bytes = b"") -> None:
        """Send a message: its command set and, if there is one, its data set."""
        self.send_all(context_id, [(command, data_set)])

    def send_all(self, context_id: int, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Send messages, each a command set and a data set, in as few writes as will do."""
        pdus = bytearray()
        for command, data_set in messages:
            pdus += self.encode(context_id, command, data_set)
            if len(pdus) >= _LARGEST_PDU_BYTES:
                self.wire.write(pdus)
                pdus = bytearray()
        if pdus:
            self.wire.write(pdus)

    def encode(self, context_id: int, command: bytes, data_set: bytes = b"") -> bytearray:
        """Return the PDUs of a message, or of its command set alone."""
        message = bytearray()
        for part, is_command in ((command, True), (data_set, False)):
            for start in range(0, len(part), self.fragment_bytes):
                fragment = part[start : start + self.fragment_bytes]
                is_last = start + len(fragment) == len(part)
                message += p_data_head(
                    context_id, is_command=is_command, is_last=is_last, size_bytes=len(fragment)
                )
                message += fragment
        return message

    def request_release(self) -> None:
        """Ask for the end of the association and wait for the answer (PS3.8 7.2)."""
        self.wire.write(_RELEASE_RQ)
        while True:
            pdu_type, length = read_pdu_header(self.wire)
            if pdu_type == PduType.RELEASE_RP:
                return
            if pdu_type == PduType.RELEASE_RQ:  # both at once: a release collision
                self._read_short(length)
                self.wire.write(_RELEASE_RP)
            elif pdu_type == PduType.DATA:
                self._discard(length)
            else:
                self._end(pdu_type, length)

    def answer_release(self) -> None:
        """Agree to the end of the association."""
        self.wire.write(_RELEASE_RP)

    def _end(self, pdu_type: int, length: int) -> None:
        """Raise what a PDU other than P-DATA means."""
        if pdu_type == PduType.RELEASE_RQ:
            self._read_short(length)
            raise ReleaseRequested("the peer asks to release the association")
        if pdu_type == PduType.ABORT:
            body = self._read_short(length)
            raise PeerAborted(f"the peer aborted (source {body[2]}, reason {body[3]})")
        if pdu_type in set(PduType):
            raise ProtocolViolation(
                f"unexpected {PduType(pdu_type).name} PDU", AbortReason.UNEXPECTED_PDU
            )
        raise ProtocolViolation(f"unknown PDU type {pdu_type:#04x}", AbortReason.UNRECOGNIZED_PDU)

    def _read_short(self, length: int) -> bytes:
        if length != _SHORT_PDU_BYTES:
            raise ProtocolViolation(f"a release or abort PDU of {length} bytes")
        return self.wire.read(length)

    def _discard(self, length: int) -> None:
        while length:
            length -= len(self.wire.read_some(length))
