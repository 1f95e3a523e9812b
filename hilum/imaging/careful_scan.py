"""The careful way through a header: pydicom walks it, for whatever is out of the ordinary.

Only the walk is pydicom's; values are taken as they lie in the file, so that both ways
decode them alike.
"""

import io
import struct
from collections.abc import Set as AbstractSet
from typing import BinaryIO, Final, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset

from hilum.core.errors import NotDicom
from hilum.core.instance import Attributes
from hilum.imaging.charset import DEFAULT_CODECS, codecs_for, quietly
from hilum.imaging.dicom_json import element, implicit_vr, swapped
from hilum.imaging.reader import Reader
from hilum.imaging.scan import (
    EXTENDED_OFFSET_TABLE,
    PIXEL_DATA_TAGS,
    SPECIFIC_CHARACTER_SET,
    VALUE_LIMIT_BYTES,
    PixelElement,
    RawValue,
    Scanned,
)

# For its effect: what pydicom raises is not to grow with the depth of what it was raised in.
import hilum.imaging.plain_errors  # noqa: F401  # isort: skip

#: More than any header needs; a hostile one must fill neither memory nor time.
_READ_LIMIT_BYTES: Final = 256 << 20
_READ_LIMIT_CALLS: Final = 1_000_000
#: Of these, where every element is kept: it takes pydicom a kilobyte, and time.
_KEPT_LIMIT_CALLS: Final = 400_000

#: What pydicom raises on bytes that are no data set.
PYDICOM_ERRORS: Final = (
    InvalidDicomError,
    BytesLengthException,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class _HeaderFile(io.RawIOBase):
    """A reader as the file pydicom wants, with limits on what it may read in all."""

    def __init__(self, reader: Reader, start: int, calls: int) -> None:
        self._reader = reader
        self._position = start
        self._bytes_left = _READ_LIMIT_BYTES
        self._calls_left = calls
        self.torn = b""

    def read(self, size: int = -1, /) -> bytes:
        self._bytes_left -= max(size, 0)
        self._calls_left -= 1
        if size < 0 or self._bytes_left < 0 or self._calls_left < 0:
            raise NotDicom("the header is larger than any header needs to be")
        data = self._reader.read_at(self._position, size)
        self._position += len(data)
        self.torn = data if len(data) < size else b""
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset if whence == io.SEEK_SET else self._position + offset
        return self._position

    def tell(self) -> int:
        return self._position


def careful_scan(
    reader: Reader, start: int, wanted: AbstractSet[int], *, explicit: bool, little_endian: bool
) -> Scanned:
    """Return the same as `scan`, for whatever pydicom can make sense of.

    Parameters
    ----------
    explicit, little_endian
        What the transfer syntax says; pydicom finds out itself where files lie about VRs.

    Raises
    ------
    NotDicom
        The bytes are no data set, or end inside an element before the pixel data.
    """
    with quietly():
        data_set, found = _walked(
            reader, start, list(wanted), explicit=explicit, little_endian=little_endian
        )
        try:
            for tag in wanted & set(data_set.keys()):
                value = _raw_value(data_set, tag)
                if len(value.raw) <= VALUE_LIMIT_BYTES:
                    found.values[tag] = value
        except PYDICOM_ERRORS as error:
            raise _unreadable(error) from error
    return found


def read_carefully(
    reader: Reader, start: int, *, explicit: bool, little_endian: bool
) -> tuple[Dataset, PixelElement | None]:
    """Return all that lies in front of the pixel data, and where that is; within `quietly`.

    Parameters
    ----------
    explicit, little_endian
        As for `careful_scan`.

    Raises
    ------
    NotDicom
        As from `careful_scan`.
    """
    data_set, found = _walked(reader, start, None, explicit=explicit, little_endian=little_endian)
    return data_set, found.pixel_element


def _walked(
    reader: Reader, start: int, wanted: list[int] | None, *, explicit: bool, little_endian: bool
) -> tuple[Dataset, Scanned]:
    """Return the elements pydicom finds up to the pixel data, and where what is not read lies."""
    found = Scanned()
    file = _HeaderFile(reader, start, _KEPT_LIMIT_CALLS if wanted is None else _READ_LIMIT_CALLS)

    def at_pixel_data(tag: int, _vr: str | None, length: int) -> bool:
        if tag in PIXEL_DATA_TAGS:
            found.pixel_element = PixelElement(int(tag), file.tell(), length)
        elif tag == EXTENDED_OFFSET_TABLE:
            found.places[tag] = (file.tell(), length)
        return tag in PIXEL_DATA_TAGS

    try:
        data_set = read_dataset(
            cast("BinaryIO", file),
            not explicit,
            little_endian,
            stop_when=at_pixel_data,
            specific_tags=wanted,
        )
    except PYDICOM_ERRORS as error:
        raise _unreadable(error) from error
    # pydicom stops without a word where an element, or its header, runs past the end of the
    # file. A few zeros behind the last element are padding.
    if found.pixel_element is None and (file.tell() != reader.size or file.torn.strip(b"\0")):
        raise NotDicom("the data set is cut short or damaged in front of its pixel data")
    return data_set, found


def _unreadable(error: Exception) -> NotDicom:
    return NotDicom(f"the data set cannot be read: {type(error).__name__}")


def _raw_value(data_set: Dataset, tag: int) -> RawValue:
    found: RawDataElement | DataElement = data_set.get_item(tag, keep_deferred=True)
    raw = bytes_of(found) if isinstance(found, RawDataElement) else b""
    if (found.VR or implicit_vr(tag)) != "SQ":
        return RawValue(found.VR or "", raw)
    codecs = codecs_of(data_set, DEFAULT_CODECS)
    items = [_attributes(item, codecs) for item in data_set[tag].value]
    return RawValue("SQ", b"", items=items)


def _attributes(item: Dataset, codecs: tuple[str, ...]) -> Attributes:
    """Return a sequence item in the DICOM JSON model."""
    codecs = codecs_of(item, codecs)
    attributes: Attributes = {}
    for tag in sorted(item.keys()):
        found: RawDataElement | DataElement = item.get_item(tag, keep_deferred=True)
        vr = found.VR or implicit_vr(tag)
        if tag == SPECIFIC_CHARACTER_SET:
            continue
        if vr == "SQ":
            items = [_attributes(nested, codecs) for nested in item[tag].value]
            attributes[f"{tag:08X}"] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        else:
            raw = bytes_of(found) if isinstance(found, RawDataElement) else b""
            attributes[f"{tag:08X}"] = element(vr, raw, codecs)
    return attributes


def codecs_of(data_set: Dataset, inherited: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codecs of a data set or an item: its own, or those around it."""
    if SPECIFIC_CHARACTER_SET not in data_set:
        return inherited
    found = data_set.get_item(SPECIFIC_CHARACTER_SET, keep_deferred=True)
    if isinstance(found, DataElement):
        value = found.value
        return codecs_for("\\".join([value] if isinstance(value, str) else value or []).encode())
    return codecs_for(found.value or b"")


def bytes_of(found: RawDataElement) -> bytes:
    """Return the value field of an element in little endian."""
    raw = found.value or b""
    if found.length not in {len(raw), 0xFFFFFFFF}:
        raise EOFError("a value runs past the end of the file")
    return raw if found.is_little_endian else swapped(found.VR or "", raw)
