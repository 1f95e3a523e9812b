"""The PDUs of a negotiation as they come over the wire (PS3.8 9.2, Sta2 and Sta5)."""

import struct
from typing import Final

from hilum.scp.upper_layer import (
    AbortReason,
    PduType,
    PeerAborted,
    ProtocolViolation,
    read_pdu_header,
)
from hilum.scp.wire import Wire

#: 128 contexts with every transfer syntax there is come to about 300 KB.
_LONGEST_PDU_BYTES: Final = 1 << 20


def read_pdu(wire: Wire, *expected: PduType) -> tuple[PduType, bytes]:
    """Return type and bytes, header included, of the next PDU of a negotiation.

    Raises
    ------
    PeerAborted
        It is an A-ABORT.
    ProtocolViolation
        It is not one of those `expected`, or longer than any of them could be.
    """
    number, length = read_pdu_header(wire)
    if number not in set(PduType):
        raise ProtocolViolation(f"unknown PDU type {number:#04x}", AbortReason.UNRECOGNIZED_PDU)
    pdu_type = PduType(number)
    if pdu_type == PduType.ABORT:
        raise PeerAborted("the peer aborted during negotiation")
    if pdu_type not in expected:
        raise ProtocolViolation(
            f"an {pdu_type.name} PDU during negotiation", AbortReason.UNEXPECTED_PDU
        )
    if length > _LONGEST_PDU_BYTES:
        raise ProtocolViolation(f"an {pdu_type.name} PDU of {length} bytes")
    return pdu_type, struct.pack(">BxL", number, length) + wire.read(length)
