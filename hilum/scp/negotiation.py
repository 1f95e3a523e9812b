"""What both sides of a negotiation share: user information and its items (PS3.7 D.3.3).

The PDUs of negotiation are encoded and decoded by pynetdicom; its errors on bad input are
many, and become one here.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)

from hilum.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hilum.scp.contexts import Roles
from hilum.scp.upper_layer import (
    AbortReason,
    PduType,
    PeerAborted,
    ProtocolViolation,
    read_pdu_header,
)
from hilum.scp.wire import Wire

APPLICATION_CONTEXT_NAME: Final = "1.2.840.10008.3.1.1.1"
#: 128 contexts with every transfer syntax there is come to about 300 KB.
_LONGEST_PDU_BYTES: Final = 1 << 20

#: What goes wrong inside pynetdicom when a PDU is not what it should be.
_DECODING_FAULTS: Final = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,
    AssertionError,  # of items longer than their PDU
    struct.error,
)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """What a peer says about itself and about what it wants."""

    maximum_pdu_bytes: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    roles: Mapping[str, Roles] = field(default_factory=dict)
    extended: Mapping[str, bytes] = field(default_factory=dict)
    """Service class application information by SOP class (PS3.7 D.3.3.5)."""
    wants_asynchronous: bool = False


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever pynetdicom says about malformed bytes into `ProtocolViolation`."""
    try:
        yield
    except _DECODING_FAULTS as error:
        raise ProtocolViolation(f"a malformed {what}: {error}") from error


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


def read_user_information(items: Sequence[Any]) -> UserInformation:
    """Collect pynetdicom's user information items; items of no use here are passed over."""
    values: dict[str, Any] = {}
    roles: dict[str, Roles] = {}
    extended: dict[str, bytes] = {}
    for item in items:
        if isinstance(item, MaximumLengthNotification):
            values["maximum_pdu_bytes"] = item.maximum_length_received or 0
        elif isinstance(item, ImplementationClassUIDNotification):
            values["implementation_class_uid"] = str(item.implementation_class_uid or "")
        elif isinstance(item, ImplementationVersionNameNotification):
            values["implementation_version_name"] = item.implementation_version_name or ""
        elif isinstance(item, SCP_SCU_RoleSelectionNegotiation):
            roles[str(item.sop_class_uid)] = Roles(bool(item.scu_role), bool(item.scp_role))
        elif isinstance(item, SOPClassExtendedNegotiation):
            extended[str(item.sop_class_uid)] = item.service_class_application_information or b""
        elif isinstance(item, AsynchronousOperationsWindowNegotiation):
            values["wants_asynchronous"] = True
    return UserInformation(roles=roles, extended=extended, **values)


def make_user_information(information: UserInformation) -> list[Any]:
    """Return pynetdicom's items for what this node says about itself; roles are `items`'."""
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = information.maximum_pdu_bytes
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    items: list[Any] = [maximum, implementation, version]
    for uid, application_information in information.extended.items():
        negotiation = SOPClassExtendedNegotiation()
        negotiation.sop_class_uid = uid
        negotiation.service_class_application_information = application_information
        items.append(negotiation)
    if information.wants_asynchronous:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = 1
        window.maximum_number_operations_performed = 1
        items.append(window)
    return items
