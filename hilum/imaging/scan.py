"""The fast way through a header: little-endian elements up to the pixel data.

One loop over raw bytes remembers the value fields of the wanted tags and steps over
everything else; no object is made for an element. Anything out of the ordinary raises
`Unusual`, and `careful_scan` takes over.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hilum.core.instance import Attributes
from hilum.imaging.encoding import (
    HEADER_BYTES,
    IMPLICIT_HEADER,
    LENGTH_BYTES,
    LONG_LENGTH,
    SHORT_HEADER,
    UNDEFINED,
    Unusual,
    Window,
    skip_sequence,
)
from hilum.imaging.reader import Reader

#: A longer value is no index value: it would bloat every document and every answer.
VALUE_LIMIT_BYTES: Final = 64 << 10

PIXEL_DATA: Final = 0x7FE00010
PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
SPECIFIC_CHARACTER_SET: Final = 0x00080005


class RawValue(NamedTuple):
    """The value field of one element, as it lies in the file."""

    vr: str
    """Empty where the encoding does not tell."""
    raw: bytes
    """Little endian; a sequence of undefined length comes without its delimiter."""
    explicit: bool = True
    items: list[Attributes] | None = None
    """The items of a sequence, where they were read already."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The pixel data element: its tag, where its value begins, how long it says it is."""

    tag: int
    offset: int
    length: int


@dataclass(slots=True)
class Scanned:
    """What a scan found."""

    values: dict[int, RawValue] = field(default_factory=dict)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Offset and length of the value of Extended Offset Table (7FE0,0001)."""
    pixel_element: PixelElement | None = None


# One loop, because a call an element would double its time.
def scan(  # noqa: C901, PLR0912, PLR0915
    reader: Reader, start: int, wanted: AbstractSet[int], *, explicit: bool
) -> Scanned:
    """Return the wanted elements of a little-endian data set, up to its pixel data.

    Parameters
    ----------
    start
        Offset of the data set's first element.
    wanted
        Tags whose values to bring; longer ones than `VALUE_LIMIT_BYTES` are left.

    Raises
    ------
    Unusual
        There is anything this scanner does not take for granted: tags out of order, an
        unknown VR, an undefined length of no sequence, a length past the end.
    """
    found = Scanned()
    values = found.values
    window = Window(reader, start)
    position, last = 0, 0x0003FFFF
    short_header, implicit_header = SHORT_HEADER.unpack_from, IMPLICIT_HEADER.unpack_from
    long_length, length_bytes = LONG_LENGTH.unpack_from, LENGTH_BYTES.get
    buffer, end = window.buffer, window.end
    last_header = end - HEADER_BYTES
    vr = b""
    while True:
        if position > last_header:
            if window.final:
                if position == end:
                    return found
                if position + 8 > end:
                    raise Unusual("bytes behind the last element")
            else:
                window.move(position)
                position, buffer, end = 0, window.buffer, window.end
                last_header = end - HEADER_BYTES
                continue
        if explicit:
            group, element, vr, length = short_header(buffer, position)
            value = position + 8
            width = length_bytes(vr)
            if width == 4:
                (length,) = long_length(buffer, value)
                value += 4
            elif width is None:
                raise Unusual("an unknown VR")
        else:
            group, element, length = implicit_header(buffer, position)
            value = position + 8
        tag = group << 16 | element
        if tag <= last:
            raise Unusual("tags out of order")
        if group >= 0x7FE0 and tag in PIXEL_DATA_TAGS:
            found.pixel_element = PixelElement(tag, window.base + value, length)
            return found
        if length == UNDEFINED:
            if explicit and vr != b"SQ":
                raise Unusual("an undefined length of no sequence")
            first = window.base + value
            position = skip_sequence(window, value, explicit=explicit)
            buffer, end = window.buffer, window.end
            last_header = end - HEADER_BYTES
            length = window.base + position - 8 - first
            if tag in wanted and length <= VALUE_LIMIT_BYTES:
                values[tag] = RawValue("SQ", reader.read_at(first, length), explicit=explicit)
            last = tag
            continue
        following = value + length
        if tag in wanted and length <= VALUE_LIMIT_BYTES:
            if following > end:
                if window.final:
                    raise Unusual("a value runs past the end of the file")
                window.move(position, following - position + HEADER_BYTES)
                position, buffer, end = 0, window.buffer, window.end
                last_header = end - HEADER_BYTES
                continue
            values[tag] = RawValue(vr.decode(), buffer[value:following], explicit)
        elif tag == EXTENDED_OFFSET_TABLE:
            found.places[tag] = (window.base + value, length)
        last = tag
        position = following
