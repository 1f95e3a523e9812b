"""Lookup tables of the standard: modality, VOI and palette colour tables.

A table is a value: hashable, so that what is computed from it can be cached, and cheap
to hand to another process.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Invalid
from hilum.imaging.elements import Element

#: Kinds of segment of a segmented palette (PS3.3 C.7.9.2.1).
_DISCRETE: Final = 0
_LINEAR: Final = 1
_INDIRECT: Final = 2

#: Entries of the longest table a descriptor can announce.
_MOST_ENTRIES: Final = 65536


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The three values of a LUT Descriptor (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5)."""

    count: int
    """Entries of the table; 65,536 where the attribute says 0."""
    first: int
    """The input value that maps to the first entry; below it, it maps there too."""
    bits: int
    """Bits of an entry, as announced."""

    @classmethod
    def parse(cls, words: NDArray[np.uint16], *, signed: bool, what: str) -> "Descriptor":
        """Make a descriptor of its three values, read as unsigned 16-bit integers.

        Parameters
        ----------
        signed
            The table's input may be negative, so that the second value is signed.
        what
            Name of the table, for the message.

        Raises
        ------
        Invalid
            There are not three values, or the number of bits is no possible one.
        """
        if words.size != 3:
            raise Invalid(f"{what} LUT Descriptor has {words.size} values instead of 3")
        count, first, bits = words.tolist()
        if not 1 <= bits <= 16:
            raise Invalid(f"{what} LUT Descriptor announces entries of {bits} bits")
        if signed and first >= 32768:
            first -= 65536
        return cls(count or _MOST_ENTRIES, first, bits)


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table from integers to unsigned integers of up to 16 bits."""

    first: int
    bits: int
    """Bits that an entry may use: ``2**bits - 1`` is full scale."""
    entries: bytes
    """Little-endian unsigned 16-bit integers, one at least."""

    @classmethod
    def from_values(cls, descriptor: Descriptor, values: NDArray[np.uint16]) -> "LookupTable":
        """Make a table of its entries, believing them where the descriptor errs.

        Raises
        ------
        Invalid
            There are no entries.
        """
        if not values.size:
            raise Invalid("a lookup table has no entries")
        # Descriptors that announce fewer bits than the entries use are common (PS3.3
        # C.11.2.1.1 allows 8 to 16); clipping such a table would ruin the picture.
        bits = max(descriptor.bits, int(values.max()).bit_length())
        return cls(descriptor.first, bits, values.astype("<u2").tobytes())

    def values(self) -> NDArray[np.uint16]:
        """Return the entries, ``(count,)`` uint16."""
        return np.frombuffer(self.entries, "<u2")

    def map(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the entry of each input; inputs outside take the first or last entry."""
        table = self.values()
        positions = np.rint(np.nan_to_num(inputs) - self.first)
        return table[np.clip(positions, 0, table.size - 1).astype(np.intp)].astype(np.float64)


def unpack(element: Element | None, descriptor: Descriptor) -> NDArray[np.uint16]:
    """Return the entries in LUT Data, at most as many as announced; none without data.

    Entries are 16-bit words; of an 8-bit table they may be bytes instead, told by the
    length of the data (PS3.3 C.7.6.3.1.6, PS3.5 Annex A on OW in big endian).
    """
    if element is None:
        return np.empty(0, np.uint16)
    count, size = descriptor.count, len(element.data)
    if descriptor.bits <= 8 and size in {count, count + count % 2}:
        return _bytes(element)[:count]
    return np.frombuffer(element.data, element.encoding.order + "u2", size // 2)[:count]


def _bytes(element: Element) -> NDArray[np.uint16]:
    """Return the bytes in the words of an OW element, in order (PS3.5 6.2)."""
    packed = np.frombuffer(element.data, np.uint8).astype(np.uint16)
    if element.encoding.little_endian or packed.size % 2:
        return packed
    return packed.reshape(-1, 2)[:, ::-1].reshape(-1)


def unpack_segments(element: Element | None, descriptor: Descriptor) -> NDArray[np.uint16]:
    """Return the entries that Segmented Palette data stand for (PS3.3 C.7.9.2).

    Raises
    ------
    Invalid
        A segment is of unknown kind, refers to what is not there, or is cut off.
    """
    if element is None:
        return np.empty(0, np.uint16)
    wide = descriptor.bits > 8
    order = element.encoding.order
    words = np.frombuffer(element.data, order + "u2", len(element.data) // 2)
    segments = words if wide else _bytes(element)
    return _Segments(segments.tolist(), descriptor.count, wide=wide).expand()


class _Segments:
    """The segments of one table, being expanded."""

    def __init__(self, words: list[int], count: int, *, wide: bool) -> None:
        self._words = words
        self._count = count
        self._wide = wide
        self._starts: list[int] = []
        self._entries: list[int] = []

    def expand(self) -> NDArray[np.uint16]:
        """Return as many entries as announced; what follows them is padding."""
        position = 0
        try:
            while position + 1 < len(self._words) and len(self._entries) < self._count:
                self._starts.append(position)
                position = self._segment(position)
        except (IndexError, ValueError) as error:
            raise Invalid("a segmented palette is cut off or refers to nothing") from error
        return np.array(self._entries[: self._count], np.uint16)

    def _segment(self, position: int) -> int:
        """Append the entries of the segment at `position`; return where the next begins."""
        opcode, length = self._words[position : position + 2]
        position += 2
        if opcode == _DISCRETE:
            self._entries += self._words[position : position + length]
            return position + length
        if opcode == _LINEAR:
            begin, rise = self._entries[-1], self._words[position] - self._entries[-1]
            self._entries += [begin + round(rise * i / length) for i in range(1, length + 1)]
            return position + 1
        if opcode == _INDIRECT:
            offset, position = self._offset(position)
            first = self._starts.index(offset)
            for start in self._starts[first : first + length]:
                # A copy of a copy is forbidden; obeying one could go round for ever.
                if self._words[start] == _INDIRECT:
                    raise Invalid("an indirect palette segment refers to another one")
                if len(self._entries) < self._count:
                    self._segment(start)
            return position
        raise Invalid(f"a segmented palette has a segment of unknown kind {opcode}")

    def _offset(self, position: int) -> tuple[int, int]:
        """Return the index a byte offset in the data means, and where the next segment begins."""
        if self._wide:
            low, high = self._words[position : position + 2]
            return (low | high << 16) // 2, position + 2
        return int.from_bytes(bytes(self._words[position : position + 4]), "little"), position + 4
