"""Where one value of a data set lies: what a Bulk Data URI of `data_set_json` names.

Elements are stepped over, none is read but headers, so that a value of any size can be sent
from its place in the file.
"""

import re
from typing import Final, NamedTuple

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from hilum.core.errors import Invalid, NotFound
from hilum.core.instance import PixelData
from hilum.imaging.careful_scan import PYDICOM_ERRORS, bytes_of, read_carefully
from hilum.imaging.charset import quietly
from hilum.imaging.dicom_json import WORD_BYTES
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    HEADER_BYTES,
    IMPLICIT_HEADER,
    IMPLICIT_VR_LITTLE_ENDIAN,
    ITEM,
    ITEM_END,
    LENGTH_BYTES,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    UNDEFINED,
    Unusual,
    Window,
    skip_sequence,
)
from hilum.imaging.reader import Reader

_PATH: Final = re.compile(r"[0-9A-Fa-f]{8}(?:/[1-9][0-9]{0,5}/[0-9A-Fa-f]{8}){0,32}")


class Value(NamedTuple):
    """The value field of one element."""

    offset: int
    """As `PixelData` counts."""
    length: int
    raw: bytes | None = None
    """The value itself, little endian, where it cannot be sent from its place."""
    big_endian_vr: str = ""
    """If not empty the value is big endian, to be `swapped` as this VR is."""


class _Element(NamedTuple):
    vr: bytes
    offset: int
    length: int


def parse_path(text: str) -> tuple[int, ...]:
    """Return a path such as ``54000100/1/54001010``: tags, and items from 1 between them.

    Raises
    ------
    Invalid
        It is none.
    """
    if not _PATH.fullmatch(text):
        raise Invalid("a path to an element is a tag, or sequence/item/tag, items from 1")
    parts = text.split("/")
    return tuple(int(part, 10 if place % 2 else 16) for place, part in enumerate(parts))


def find_value(
    reader: Reader,
    data_set_offset: int,
    transfer_syntax_uid: str,
    pixel_data: PixelData | None,
    path: tuple[int, ...],
) -> Value:
    """Return where the value of an element lies.

    Parameters
    ----------
    reader
        From `open_reader`.
    data_set_offset, transfer_syntax_uid, pixel_data
        As `read_header` has them.
    path
        From `parse_path`.

    Raises
    ------
    NotFound
        There is no such element, or it is a sequence.
    NotDicom
        The data set cannot be read.
    Corrupt
        A deflated data set is damaged.
    """
    if pixel_data is not None and path == (pixel_data.tag,):
        big = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
        vr = reader.read_at(pixel_data.offset - 8, 2).decode("latin-1") if big else ""
        return Value(
            pixel_data.offset, pixel_data.length, big_endian_vr=vr if vr in WORD_BYTES else ""
        )
    explicit = transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
    little_endian = transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN
    if little_endian and explicit == (reader.read_at(data_set_offset + 4, 2) in LENGTH_BYTES):
        try:
            return _found(reader, data_set_offset, explicit, pixel_data, path)
        except Unusual:
            pass
    with quietly():
        data_set, _ = read_carefully(
            reader, data_set_offset, explicit=explicit, little_endian=little_endian
        )
        return _carefully_found(data_set, path)


def _found(
    reader: Reader,
    start: int,
    explicit: bool,
    pixel_data: PixelData | None,
    path: tuple[int, ...],
) -> Value:
    if pixel_data is not None and path[0] > pixel_data.tag:
        start = pixel_data.offset + pixel_data.length
        if reader.read_at(start, 8) == b"\xfe\xff\xdd\xe0\0\0\0\0":
            start += 8
        pixel_data = None
    end = pixel_data.offset if pixel_data is not None else reader.size
    element = _element(reader, start, end, path[0], explicit)
    for place in range(1, len(path), 2):
        explicit = explicit and element.vr != b"UN"
        item, end = _item(reader, element, path[place], explicit)
        element = _element(reader, item, end, path[place + 1], explicit)
    if element.length == UNDEFINED:
        raise NotFound("this element is a sequence: it has no value of its own")
    if element.offset + element.length > reader.size:
        raise Unusual("a value runs past the end of the file")
    return Value(element.offset, element.length)


def _element(reader: Reader, start: int, end: int, wanted: int, explicit: bool) -> _Element:
    """Return the element with a tag out of the data set or the item from `start` to `end`."""
    window = Window(reader, start)
    position = 0
    while window.base + position < end:
        if position > window.end - HEADER_BYTES and not window.final:
            window.move(position)
            position = 0
        if position + 8 > window.end:
            break
        element, following = _header(window, position, explicit)
        group, number = _tag_of(window.buffer, position)
        tag = group << 16 | number
        if tag == wanted:
            return element
        if tag > wanted:
            break  # an item's delimiter too
        if element.length == UNDEFINED:
            if element.vr not in {b"SQ", b"UN", b""}:
                raise Unusual("an undefined length of no sequence")
            inner = explicit and element.vr != b"UN"
            position = skip_sequence(window, following, explicit=inner)
        else:
            position = following + element.length
    raise NotFound("the instance has no such element")


def _tag_of(buffer: bytes, position: int) -> tuple[int, int]:
    """Return group and element of the header at `position`."""
    group, number, _ = IMPLICIT_HEADER.unpack_from(buffer, position)
    return group, number


def _header(window: Window, position: int, explicit: bool) -> tuple[_Element, int]:
    """Return an element, and the position in the window where its value begins."""
    vr = window.buffer[position + 4 : position + 6] if explicit else b""
    width = LENGTH_BYTES.get(vr)
    if width is None:
        group, _, length = IMPLICIT_HEADER.unpack_from(window.buffer, position)
        if explicit and group != 0xFFFE:
            raise Unusual("an unknown VR")
        vr = b""
        position += 8
    elif width == 4:
        (length,) = LONG_LENGTH.unpack_from(window.buffer, position + 8)
        position += 12
    else:
        length = SHORT_HEADER.unpack_from(window.buffer, position)[3]
        position += 8
    return _Element(vr, window.base + position, length), position


def _item(reader: Reader, sequence: _Element, number: int, explicit: bool) -> tuple[int, int]:
    """Return where an item's elements begin, and where they end at the latest."""
    end = reader.size
    if sequence.length != UNDEFINED:
        end = min(end, sequence.offset + sequence.length)
    position = sequence.offset
    for count in range(1, number + 1):
        header = reader.read_at(position, 8)
        if position + 8 > end or len(header) < 8:
            break
        group, element, length = IMPLICIT_HEADER.unpack(header)
        tag = group << 16 | element
        position += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise Unusual("no item where one should be")
        if count == number:
            return position, end if length == UNDEFINED else min(end, position + length)
        if length == UNDEFINED:
            position = _item_end(reader, position, end, explicit)
        else:
            position += length
    raise NotFound("the sequence has fewer items")


def _item_end(reader: Reader, start: int, end: int, explicit: bool) -> int:
    """Return the offset behind the delimiter of an item of undefined length."""
    window = Window(reader, start)
    position = 0
    while window.base + position < end:
        if position > window.end - HEADER_BYTES and not window.final:
            window.move(position)
            position = 0
        if position + 8 > window.end:
            break
        group, number = _tag_of(window.buffer, position)
        if group << 16 | number == ITEM_END:
            return window.base + position + 8
        element, following = _header(window, position, explicit)
        if element.length == UNDEFINED:
            inner = explicit and element.vr != b"UN"
            position = skip_sequence(window, following, explicit=inner)
        else:
            position = following + element.length
    raise Unusual("an item runs past its sequence")


def _carefully_found(data_set: Dataset, path: tuple[int, ...]) -> Value:
    try:
        for place in range(1, len(path), 2):
            data_set = data_set[path[place - 1]].value[path[place] - 1]
        found = data_set.get_item(path[-1], keep_deferred=True)
        if isinstance(found, RawDataElement) and found.VR != "SQ":
            raw = bytes_of(found)
            return Value(0, len(raw), raw)
    except PYDICOM_ERRORS as error:
        raise NotFound("the instance has no such element") from error
    raise NotFound("the instance has no such element, or it is a sequence")
