"""DIMSE command sets (PS3.7 6.3, Annex E): a flat group 0000 in Implicit VR Little Endian.

A command set has at most a dozen short elements and is on the path of every instance, so it
has a codec of its own rather than a data set object.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from hilum.core.errors import Invalid


class CommandField(IntEnum):
    """Command Field (0000,0100), PS3.7 Table E.1-1."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    C_CANCEL_RQ = 0x0FFF
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130


RESPONSE_BIT: Final = 0x8000
_NO_DATA_SET: Final = 0x0101
_DATA_SET: Final = 0x0001
_ELEMENT: Final = struct.Struct("<HHL")
_US: Final = struct.Struct("<H")

# Element number in group 0000 and VR of every field of `Command`.
_ELEMENTS: Final = {
    0x0002: ("affected_sop_class_uid", "UI"),
    0x0003: ("requested_sop_class_uid", "UI"),
    0x0100: ("field", "US"),
    0x0110: ("message_id", "US"),
    0x0120: ("responded_message_id", "US"),
    0x0600: ("move_destination", "AE"),
    0x0700: ("priority", "US"),
    0x0800: ("data_set_type", "US"),
    0x0900: ("status", "US"),
    0x0901: ("offending_element", "AT"),
    0x0902: ("error_comment", "LO"),
    0x1000: ("affected_sop_instance_uid", "UI"),
    0x1001: ("requested_sop_instance_uid", "UI"),
    0x1002: ("event_type_id", "US"),
    0x1008: ("action_type_id", "US"),
    0x1020: ("remaining", "US"),
    0x1021: ("completed", "US"),
    0x1022: ("failed", "US"),
    0x1023: ("warning", "US"),
    0x1030: ("move_originator_ae_title", "AE"),
    0x1031: ("move_originator_message_id", "US"),
}


def is_pending(status: int) -> bool:
    """Whether further responses follow one with this status (PS3.7 C.1: FF00H, FF01H)."""
    return status >> 1 == 0xFF00 >> 1


@dataclass(slots=True)
class Command:
    """A command set; None is an element that is not there."""

    field: int
    message_id: int | None = None
    responded_message_id: int | None = None
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    priority: int | None = None
    data_set_type: int = _NO_DATA_SET
    status: int | None = None
    offending_element: int | None = None
    error_comment: str | None = None
    move_destination: str | None = None
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    requested_sop_class_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    event_type_id: int | None = None
    action_type_id: int | None = None

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows (PS3.7 E.1: anything but 0101H)."""
        return self.data_set_type != _NO_DATA_SET

    @has_data_set.setter
    def has_data_set(self, value: bool) -> None:
        self.data_set_type = _DATA_SET if value else _NO_DATA_SET

    def response(self, status: int) -> "Command":
        """Return the response to this request, with what every response repeats."""
        return Command(
            field=self.field | RESPONSE_BIT,
            responded_message_id=self.message_id,
            # What a request of DIMSE-N is about is requested, and affected in the response.
            affected_sop_class_uid=self.affected_sop_class_uid or self.requested_sop_class_uid,
            affected_sop_instance_uid=(
                self.affected_sop_instance_uid or self.requested_sop_instance_uid
            ),
            status=status,
        )

    def encode(self) -> bytes:
        """Return the command set with its group length."""
        body = bytearray()
        for element, (name, vr) in _ELEMENTS.items():
            value = getattr(self, name)
            if value is None:
                continue
            encoded = _encode_value(vr, value)
            body += _ELEMENT.pack(0, element, len(encoded)) + encoded
        return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + bytes(body)


def decode(data: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    Invalid
        It is cut short, has no command field, or a number of the wrong size.
    """
    values: dict[str, Any] = {}
    offset, end = 0, len(data)
    while offset < end:
        if offset + _ELEMENT.size > end:
            raise Invalid("a command set ends inside an element")
        group, element, length = _ELEMENT.unpack_from(data, offset)
        start = offset + _ELEMENT.size
        offset = start + length
        if offset > end:
            raise Invalid("a command set ends inside an element")
        # Elements of other groups do not belong here. Orthanc 1.10 has the list of failed
        # instances (0008,0058) in the final response to a C-GET.
        known = None if group else _ELEMENTS.get(element)
        if known is not None and length:
            name, vr = known
            values[name] = _decode_value(vr, data[start:offset])
    if "field" not in values:
        raise Invalid("a command set without a command field")
    return Command(**values)


def _encode_value(vr: str, value: Any) -> bytes:
    if vr == "US":
        return _US.pack(value)
    if vr == "AT":
        return struct.pack("<HH", value >> 16, value & 0xFFFF)
    text: bytes = value.encode("ascii", "replace")
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _decode_value(vr: str, raw: bytes) -> int | str:
    if vr == "US":
        if len(raw) < 2:
            raise Invalid("a number of one byte in a command set")
        return int.from_bytes(raw[:2], "little")
    if vr == "AT":
        if len(raw) < 4:
            raise Invalid("a tag of less than four bytes in a command set")
        group, element = struct.unpack_from("<HH", raw)
        return int(group) << 16 | int(element)
    # Equipment pads UIDs with blanks and AE titles with NULs; neither means anything.
    return raw.decode("ascii", "replace").strip(" \0")
