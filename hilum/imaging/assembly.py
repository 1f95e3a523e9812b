"""A Part 10 file made of a data set in DICOM JSON and of bulk data that came beside it.

What is large is passed through piece by piece: a film of gigabytes is never in memory. The
result is in Explicit VR Little Endian, or has the frames encapsulated as they came.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, Protocol

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from hilum.core.errors import Invalid
from hilum.core.identifiers import parse_uid
from hilum.core.levels import json_tag
from hilum.imaging.careful_scan import PYDICOM_ERRORS
from hilum.imaging.charset import quietly
from hilum.imaging.encoding import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_HEADER,
    IMPLICIT_VR_LITTLE_ENDIAN,
    ITEM,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    STANDARD_LENGTH_BYTES,
    UNDEFINED,
)
from hilum.imaging.part10 import file_meta

_PIXEL_DATA: Final = json_tag("PixelData")
_CHARACTER_SET: Final = json_tag("SpecificCharacterSet")
_TRANSFER_SYNTAX: Final = json_tag("TransferSyntaxUID")
_UTF_8: Final = "ISO_IR 192"
_NATIVE: Final = frozenset({"", EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN})
#: MPEG-2, MPEG-4 and HEVC: one stream has all the frames (PS3.5 8.2.5 to 8.2.8).
_VIDEO: Final = "1.2.840.10008.1.2.4.10"
#: Below the first level of a data set values are read whole.
_LARGEST_NESTED_BYTES: Final = 64 << 20
_LARGEST_BYTES: Final = UNDEFINED - 1
_LARGEST_SHORT_BYTES: Final = 0xFFFE


class BulkData(Protocol):
    """The value of one element, in one part or, frame by frame, in several."""

    @property
    def transfer_syntax_uid(self) -> str:
        """How it is compressed; empty if it is not, or if nothing is said of it."""
        ...

    @property
    def sizes(self) -> list[int]:
        """Bytes of each part."""
        ...

    def pieces(self, index: int) -> Iterator[bytes]:
        """Yield the bytes of a part."""
        ...


def assemble(
    data_set: Mapping[str, Any], find: Callable[[str], BulkData | None]
) -> Iterator[bytes]:
    """Yield the bytes of a Part 10 file.

    Parameters
    ----------
    data_set
        In the DICOM JSON model (PS3.18 F.2). Of the file meta information only the
        transfer syntax is looked at.
    find
        Returns the bulk data that a BulkDataURI of it names.

    Raises
    ------
    Invalid
        It is no data set, lacks its SOP class or instance, or bulk data that it names.

    References
    ----------
    PS3.18 10.5.2, F.2; PS3.5 A.4
    """
    elements = {tag: data_set[tag] for tag in sorted(data_set) if _is_tag(tag)}
    if len(elements) < len(data_set) or not all(isinstance(e, dict) for e in elements.values()):
        raise Invalid("the metadata is not a data set in the DICOM JSON model")
    stated = _text(elements, _TRANSFER_SYNTAX)
    elements = {tag: element for tag, element in elements.items() if tag >= "0003"}
    # JSON is UTF-8, whatever the file was that it was made from.
    elements = dict(sorted({**elements, _CHARACTER_SET: {"vr": "CS", "Value": [_UTF_8]}}.items()))
    bulk = {
        tag: _found(find, element["BulkDataURI"])
        for tag, element in elements.items()
        if "BulkDataURI" in element
    }
    transfer_syntax_uid = _transfer_syntax(stated, bulk.get(_PIXEL_DATA))
    yield file_meta(
        _required(elements, "SOPClassUID"),
        _required(elements, "SOPInstanceUID"),
        transfer_syntax_uid,
    )
    small: dict[str, Any] = {}
    for tag, element in elements.items():
        if tag not in bulk:
            small[tag] = element
            continue
        yield _encoded(small, find)
        small = {}
        if tag == _PIXEL_DATA and transfer_syntax_uid not in _NATIVE:
            _check_frames(_text(elements, json_tag("NumberOfFrames")), bulk[tag])
            yield from _encapsulated(tag, bulk[tag])
        else:
            # Programs that do not decide write "OB or OW": in little endian either is right.
            vr = str(element.get("vr", "UN")).rpartition(" or ")[2]
            yield from _element(tag, vr, bulk[tag])
    yield _encoded(small, find)


def _is_tag(tag: str) -> bool:
    return len(tag) == 8 and all(digit in "0123456789ABCDEF" for digit in tag)


def _text(elements: Mapping[str, Any], tag: str) -> str:
    values = elements.get(tag, {}).get("Value")
    return str(values[0]) if isinstance(values, list) and values else ""


def _required(elements: Mapping[str, Any], keyword: str) -> str:
    value = _text(elements, json_tag(keyword))
    if not value:
        raise Invalid(f"the metadata has no {keyword}")
    return parse_uid(value, keyword)


def _found(find: Callable[[str], BulkData | None], uri: object) -> BulkData:
    bulk = find(str(uri))
    if bulk is None:
        raise Invalid("bulk data that the metadata names did not come with it")
    return bulk


def _transfer_syntax(stated: str, pixels: BulkData | None) -> str:
    """Return what the pixels say, else what the metadata does."""
    if pixels is None:
        return EXPLICIT_VR_LITTLE_ENDIAN
    found = pixels.transfer_syntax_uid or stated
    return EXPLICIT_VR_LITTLE_ENDIAN if found in _NATIVE else parse_uid(found, "TransferSyntaxUID")


def _check_frames(number_of_frames: str, pixels: BulkData) -> None:
    if pixels.transfer_syntax_uid.startswith(_VIDEO):
        return
    stated, found = number_of_frames or "1", len(pixels.sizes)
    if stated != str(found):
        raise Invalid(f"the metadata speaks of {stated[:12]} frames, {found} came")


def _encoded(elements: Mapping[str, Any], find: Callable[[str], BulkData | None]) -> bytes:
    """Return elements in Explicit VR Little Endian."""

    def resolve(_tag: str, _vr: str, uri: str) -> bytes:
        bulk = _found(find, uri)
        if sum(bulk.sizes) > _LARGEST_NESTED_BYTES:
            raise Invalid(f"a value in a sequence exceeds {_LARGEST_NESTED_BYTES} bytes")
        return b"".join(chain.from_iterable(map(bulk.pieces, range(len(bulk.sizes)))))

    buffer = DicomBytesIO()
    buffer.is_implicit_VR = False
    buffer.is_little_endian = True
    try:
        with quietly():  # values against the rules of their VR are stored as they are sent
            data_set = Dataset.from_json(dict(elements), resolve)
            write_dataset(buffer, data_set, _UTF_8)
    except PYDICOM_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, not of what lies on it
        raise Invalid("the metadata cannot be written as a data set") from error
    return buffer.getvalue()


def _element(tag: str, vr: str, bulk: BulkData) -> Iterator[bytes]:
    """Yield an element with the bytes of `bulk` as its value."""
    size = sum(bulk.sizes)
    length = size + size % 2
    if length > _LARGEST_BYTES:
        raise Invalid("a value is longer than an element can be")
    width = STANDARD_LENGTH_BYTES.get(vr.encode("ascii", "replace"), 0)
    if vr == "SQ" or not width:
        raise Invalid(f"bulk data cannot be the value of VR {vr[:2]}")
    if width == 2 and length > _LARGEST_SHORT_BYTES:
        vr = "UN"  # PS3.5 6.2.2, note 3
        width = 4
    group, number = int(tag[:4], 16), int(tag[4:], 16)
    if width == 2:
        yield SHORT_HEADER.pack(group, number, vr.encode(), length)
    else:
        yield SHORT_HEADER.pack(group, number, vr.encode(), 0) + LONG_LENGTH.pack(length)
    for index in range(len(bulk.sizes)):
        yield from bulk.pieces(index)
    yield bytes(size % 2)


def _encapsulated(tag: str, bulk: BulkData) -> Iterator[bytes]:
    """Yield an element with each part of `bulk` as a frame in one fragment (PS3.5 A.4)."""
    yield SHORT_HEADER.pack(int(tag[:4], 16), int(tag[4:], 16), b"OB", 0)
    yield LONG_LENGTH.pack(UNDEFINED) + _item(ITEM, 0)
    for index, size in enumerate(bulk.sizes):
        if size + size % 2 > _LARGEST_BYTES:
            raise Invalid("a frame is longer than a fragment can be")
        yield _item(ITEM, size + size % 2)
        yield from bulk.pieces(index)
        yield bytes(size % 2)
    yield _item(SEQUENCE_END, 0)


def _item(tag: int, length: int) -> bytes:
    return IMPLICIT_HEADER.pack(tag >> 16, tag & 0xFFFF, length)
