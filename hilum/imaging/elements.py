"""Numbers, code strings and items out of a data set whose values nobody has checked.

`scan` asks whether a header is sound and hands what is not to pydicom; by the time a
frame is drawn that is settled. Here a header is only mined for the few attributes that
make a picture: bytes that make no sense end the walk, and a faulty value counts as
absent, because real files carry both and show well all the same.
"""

import struct
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hilum.imaging.encoding import ITEM, ITEM_END, LENGTH_BYTES, SEQUENCE_END, UNDEFINED

_INTEGERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i"}
_FLOATS: Final = {"FL": "f", "FD": "d"}

#: Sequences nested deeper than this are an attack, not an image.
_DEEPEST: Final = 32
#: So are more elements side by side.
_MOST: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written (PS3.5 7.1, 7.3)."""

    explicit: bool
    little_endian: bool

    @property
    def order(self) -> str:
        """The byte order as `struct` and numpy write it."""
        return "<" if self.little_endian else ">"


@dataclass(frozen=True, slots=True)
class Element:
    """One element as it lies in the data set."""

    vr: str
    """Empty in implicit VR."""
    data: memoryview
    """The value field; of a sequence of undefined length without its delimiter."""
    encoding: Encoding
    is_sequence: bool = False
    """SQ, or of undefined length, whatever its VR."""


class Elements:
    """Elements of a data set or of a sequence item, by tag."""

    def __init__(self, elements: dict[int, Element]) -> None:
        self._elements = elements

    def __len__(self) -> int:
        """How many there are."""
        return len(self._elements)

    def __iter__(self) -> Iterator[tuple[int, Element]]:
        """Yield all, with their tags, as they lie in the data set."""
        yield from self._elements.items()

    def get(self, tag: int) -> Element | None:
        """Return the element with that tag."""
        return self._elements.get(tag)

    def integer(self, tag: int) -> int | None:
        """Return the first value of a binary integer; US where the encoding does not tell."""
        element = self._elements.get(tag)
        if element is None:
            return None
        code = _INTEGERS.get(element.vr, "H")
        if len(element.data) < struct.calcsize(code):
            return None
        value: int = struct.unpack_from(element.encoding.order + code, element.data)[0]
        return value

    def words(self, tag: int) -> NDArray[np.uint16]:
        """Return the value field as unsigned 16-bit integers, whatever its VR says."""
        element = self._elements.get(tag)
        if element is None:
            return np.empty(0, np.uint16)
        words = np.frombuffer(element.data, element.encoding.order + "u2", len(element.data) // 2)
        return words.astype(np.uint16)

    def decimals(self, tag: int) -> tuple[float, ...]:
        """Return the values of a decimal string (DS), or of floats; none if one is faulty."""
        element = self._elements.get(tag)
        if element is None:
            return ()
        if code := _FLOATS.get(element.vr):
            count = len(element.data) // struct.calcsize(code)
            return struct.unpack_from(f"{element.encoding.order}{count}{code}", element.data)
        try:
            # A comma is no decimal separator in DICOM (PS3.5 6.2), but some equipment writes it.
            return tuple(
                float(part.replace(",", ".")) for part in _text(element).split("\\") if part.strip()
            )
        except ValueError:
            return ()

    def text(self, tag: int) -> str:
        """Return the first value of a code string (CS), upper case, without padding."""
        element = self._elements.get(tag)
        return _text(element).split("\\")[0].strip().upper() if element else ""

    def items(self, tag: int, wanted: AbstractSet[int] | None = None) -> "list[Elements]":
        """Return the items of a sequence; of each, the `wanted` elements."""
        return list(self.each_item(tag, wanted))

    def each_item(self, tag: int, wanted: AbstractSet[int] | None = None) -> "Iterator[Elements]":
        """Yield the same one by one: there may be as many as the sequence has bytes."""
        element = self._elements.get(tag)
        if element is not None:
            yield from _items(element, wanted)


def read_elements(
    data: bytes | memoryview, encoding: Encoding, wanted: AbstractSet[int] | None = None
) -> Elements:
    """Return the elements in `data` with the `wanted` tags, or all.

    The walk ends without complaint where the data do, or where they stop making sense.
    """
    elements, _ = _walk(memoryview(data), 0, encoding, wanted, 0)
    return Elements(elements)


def _text(element: Element) -> str:
    return bytes(element.data).decode("latin-1").rstrip("\0 ")


def _items(element: Element, wanted: AbstractSet[int] | None) -> Iterator[Elements]:
    # Sequences of VR UN are written in implicit VR little endian (PS3.5 6.2.2, note 4).
    encoding = Encoding(False, True) if element.vr == "UN" else element.encoding
    header = struct.Struct(encoding.order + "HHI")
    data, position = element.data, 0
    while position + 8 <= len(data):
        group, number, length = header.unpack_from(data, position)
        position += 8
        if group << 16 | number != ITEM:
            return
        if length == UNDEFINED:
            elements, position = _walk(data, position, encoding, wanted, 0)
            yield Elements(elements)
        else:
            yield read_elements(data[position : position + length], encoding, wanted)
            position += length


def _walk(
    data: memoryview, position: int, encoding: Encoding, wanted: AbstractSet[int] | None, depth: int
) -> tuple[dict[int, Element], int]:
    """Return the elements from `position` to the end of the data or of the item around them."""
    elements: dict[int, Element] = {}
    tag_header = struct.Struct(encoding.order + "HH")
    short_length = struct.Struct(encoding.order + "H")
    long_length = struct.Struct(encoding.order + "I")
    end = len(data)
    while position + 8 <= end and len(elements) < _MOST:
        group, number = tag_header.unpack_from(data, position)
        tag = group << 16 | number
        vr = ""
        if encoding.explicit and group != 0xFFFE:
            letters = bytes(data[position + 4 : position + 6])
            width = LENGTH_BYTES.get(letters, 2)
            vr = letters.decode("latin-1")
            if width == 4:
                if position + 12 > end:
                    break
                (length,) = long_length.unpack_from(data, position + 8)
                position += 12
            else:
                (length,) = short_length.unpack_from(data, position + 6)
                position += 8
        else:
            (length,) = long_length.unpack_from(data, position + 4)
            position += 8
        if tag in {ITEM_END, SEQUENCE_END}:
            break
        following = position + length
        is_sequence = vr == "SQ" or length == UNDEFINED
        if length == UNDEFINED:
            if depth > _DEEPEST:
                break
            inner = Encoding(False, True) if vr == "UN" else encoding
            following = _sequence_end(data, position, inner, depth + 1)
            length = following - 8 - position
        if wanted is None or tag in wanted:
            value = data[position : position + length]
            elements[tag] = Element(vr, value, encoding, is_sequence)
        position = following
    return elements, min(position, end)


def _sequence_end(data: memoryview, position: int, encoding: Encoding, depth: int) -> int:
    """Return the position behind the delimiter of the sequence whose items begin here."""
    header = struct.Struct(encoding.order + "HHI")
    while position + 8 <= len(data):
        group, number, length = header.unpack_from(data, position)
        position += 8
        if group << 16 | number != ITEM:
            return position
        if length == UNDEFINED:
            _, position = _walk(data, position, encoding, frozenset(), depth)
        else:
            position += length
    return len(data) + 8
