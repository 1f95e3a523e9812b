"""The File Meta Information in front of a data set (PS3.10 7.1): written and read."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hilum.core.errors import NotDicom
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    HEADER_BYTES,
    IMPLICIT_HEADER,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LENGTH_BYTES,
    LONG_LENGTH,
    SHORT_HEADER,
    Unusual,
    Window,
)
from hilum.imaging.reader import Reader

#: Hilum's own class, under the UUID-derived root of PS3.5 B.2; it never changes, so that
#: the same instance received by any version of the node becomes the same file.
IMPLEMENTATION_CLASS_UID: Final = "2.25.193284713961054186428361117029542881377"
IMPLEMENTATION_VERSION_NAME: Final = "HILUM"

PREAMBLE_BYTES: Final = 128
_PREFIX: Final = b"DICM"
_PREAMBLE: Final = bytes(PREAMBLE_BYTES) + _PREFIX
_META_LIMIT_BYTES: Final = 1 << 20


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and File Meta Information for a data set received bare.

    Nothing of the sender or the moment goes in: equal arguments give equal bytes.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        Of the C-STORE request, Affected SOP Class and Instance UID.
    transfer_syntax_uid
        That of the presentation context the data set came on.

    References
    ----------
    PS3.10 7.1
    """
    before, behind = _around_instance_uid(sop_class_uid, transfer_syntax_uid)
    instance = _element(0x0003, b"UI", _uid(sop_instance_uid))
    size_bytes = len(before) + len(instance) + len(behind)
    group_length = _element(0x0000, b"UL", struct.pack("<I", size_bytes))
    return b"".join((_PREAMBLE, group_length, before, instance, behind))


@lru_cache(maxsize=64)
def _around_instance_uid(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Return what stands before and behind the one element that differs between instances."""
    before = (
        _element(0x0001, b"OB", b"\0\1"),
        _element(0x0002, b"UI", _uid(sop_class_uid)),
    )
    behind = (
        _element(0x0010, b"UI", _uid(transfer_syntax_uid)),
        _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _padded(IMPLEMENTATION_VERSION_NAME.encode(), b" ")),
    )
    return b"".join(before), b"".join(behind)


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if LENGTH_BYTES[vr] == 2:
        return SHORT_HEADER.pack(2, number, vr, len(value)) + value
    return SHORT_HEADER.pack(2, number, vr, 0) + LONG_LENGTH.pack(len(value)) + value


def _uid(uid: str) -> bytes:
    return _padded(uid.encode("ascii", "replace"), b"\0")


def _padded(value: bytes, padding: bytes) -> bytes:
    return value + padding * (len(value) % 2)


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the File Meta Information of a file says, as far as it matters for reading."""

    transfer_syntax_uid: str
    data_set_offset: int


def read_file_meta(reader: Reader) -> FileMeta:
    """Return the transfer syntax of a file and where its data set begins.

    The group length is not trusted: the meta information ends where group 0002 does.
    Without preamble, without meta information, or without a transfer syntax in it, the
    first bytes of the data set tell the encoding.

    Raises
    ------
    NotDicom
        The file has neither meta information nor a data set at its beginning.
    """
    start = PREAMBLE_BYTES + len(_PREFIX)
    head = reader.read_at(0, start)
    if head[PREAMBLE_BYTES:] != _PREFIX:
        # Some programs leave the preamble out, some the whole meta information.
        start = 0
    try:
        transfer_syntax_uid, offset = _walk(reader, start)
    except Unusual as error:
        raise NotDicom(f"the file meta information cannot be read: {error}") from error
    if not transfer_syntax_uid:
        first = reader.read_at(offset, 8)
        transfer_syntax_uid = _guess(first)
        if not transfer_syntax_uid:
            raise NotDicom("neither a DICOM file nor a data set" if first else "an empty file")
    return FileMeta(transfer_syntax_uid, offset)


def without_preamble(head: bytes) -> bytes:
    """Return the beginning of a file from its first element on."""
    start = PREAMBLE_BYTES + len(_PREFIX)
    return head[start:] if head[PREAMBLE_BYTES:start] == _PREFIX else head


def _walk(reader: Reader, start: int) -> tuple[str, int]:
    """Return the transfer syntax UID, or nothing, and the offset behind group 0002."""
    transfer_syntax_uid = ""
    window = Window(reader, start)
    position = 0
    while True:
        if position > window.end - HEADER_BYTES and not window.final:
            window.move(position)
            position = 0
        group, element, letters, length = SHORT_HEADER.unpack_from(window.buffer, position)
        if group != 2 or position + 8 > window.end:
            return transfer_syntax_uid, window.base + position
        value = position + 8
        width = LENGTH_BYTES.get(letters)
        if width == 4:
            (length,) = LONG_LENGTH.unpack_from(window.buffer, value)
            value += 4
        elif width is None:
            length = IMPLICIT_HEADER.unpack_from(window.buffer, position)[2]
        if length > _META_LIMIT_BYTES:
            raise Unusual("an element longer than any there is")
        if element == 0x0010:
            window.move(value, length)
            position = length
            if length > window.end:
                raise Unusual("it is cut short")
            transfer_syntax_uid = window.buffer[:length].decode("latin-1").strip(" \0")
        else:
            position = value + length
            if window.final and position > window.end:
                raise Unusual("it is cut short")


def _guess(first: bytes) -> str:
    """Return the transfer syntax a data set's first element is encoded in, if it is one.

    A data set of any use to us begins in group 0008: its SOP Class UID is there.
    """
    explicit = first[4:6] in LENGTH_BYTES
    if first[:2] == b"\x08\0" and len(first) == 8:
        return EXPLICIT_VR_LITTLE_ENDIAN if explicit else IMPLICIT_VR_LITTLE_ENDIAN
    if first[:2] == b"\0\x08" and explicit:
        return EXPLICIT_VR_BIG_ENDIAN
    return ""
