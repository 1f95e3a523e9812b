"""The encoding of data elements (PS3.5 7): headers, lengths, and the way past a sequence."""

import struct
from itertools import product
from typing import Final

from hilum.imaging.reader import Reader

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

#: Group, element, VR, 16-bit length; group, element, 32-bit length; a 32-bit length.
SHORT_HEADER: Final = struct.Struct("<HH2sH")
IMPLICIT_HEADER: Final = struct.Struct("<HHI")
LONG_LENGTH: Final = struct.Struct("<I")

#: Bytes of the length field of the standard's VRs in an explicit encoding (PS3.5 7.1.2): of
#: those that are written.
STANDARD_LENGTH_BYTES: Final = {
    **dict.fromkeys(
        b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(b" "), 2
    ),
    **dict.fromkeys(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split(b" "), 4),
}
_CAPITALS: Final = range(ord("A"), ord("Z") + 1)

#: Letters that are no VR of the standard. Those of later editions are capitals, with a length
#: field as that of UN (PS3.5 6.2, note 2). Question marks or blanks, with a short one, are old
#: programs' word for what they do not know; dcmtk reads both likewise.
UNKNOWN_VRS: Final = frozenset(
    {bytes(letters) for letters in product(_CAPITALS, repeat=2)} | {b"??", b"  "}
) - frozenset(STANDARD_LENGTH_BYTES)

#: The same of all that are read.
LENGTH_BYTES: Final = {
    **{letters: 4 if letters.isalpha() else 2 for letters in UNKNOWN_VRS},
    **STANDARD_LENGTH_BYTES,
}

_WINDOW_BYTES: Final = 16 << 10
#: Longest element header; a window's last bytes may hold less than one.
HEADER_BYTES: Final = 12


class Unusual(Exception):
    """Bytes the fast way does not handle; the careful way may. Never leaves `imaging`."""


class BytesReader:
    """A `Reader` of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return self._data[offset : offset + length]


class Window:
    """A stretch of a file in memory, moved along by the one who reads it.

    Behind the last byte of a file lie `HEADER_BYTES` zeros, so that a header can always
    be unpacked; `end` says where the file's own bytes end.
    """

    __slots__ = ("_reader", "base", "buffer", "end", "final")

    def __init__(self, reader: Reader, start: int) -> None:
        self._reader = reader
        self.base = start
        self.move(0)

    def move(self, position: int, needed: int = 0) -> None:
        """Let the window begin at `position` of the present one, with `needed` bytes or more."""
        self.base += position
        size = max(_WINDOW_BYTES, needed)
        data = self._reader.read_at(self.base, size)
        self.end = len(data)
        self.final = self.end < size
        if self.final and not self.end and self.base > self._reader.size:
            raise Unusual("a value runs past the end of the file")
        self.buffer = data + bytes(HEADER_BYTES) if self.final else data


def skip_sequence(window: Window, position: int, *, explicit: bool) -> int:
    """Return the position behind a sequence of undefined length, its delimiter included.

    Parameters
    ----------
    window
        May be moved; the result is a position in it as it is then.
    position
        Of the sequence's first item.

    Raises
    ------
    Unusual
        What lies there are not items up to a delimiter.
    """
    inside_item = [False]
    while inside_item:
        if position > window.end - HEADER_BYTES:
            if not window.final:
                window.move(position)
                position = 0
            elif position + 8 > window.end:
                raise Unusual("a sequence runs past the end of the file")
        group, element, length = IMPLICIT_HEADER.unpack_from(window.buffer, position)
        tag = group << 16 | element
        position += 8
        if tag in {SEQUENCE_END, ITEM_END}:
            if inside_item.pop() is (tag == SEQUENCE_END):
                raise Unusual("a delimiter where none should be")
            continue
        if inside_item[-1]:
            if explicit:
                position, length = _explicit_length(window.buffer, position)
        elif tag != ITEM:
            raise Unusual("no item where one should be")
        if length == UNDEFINED:
            inside_item.append(not inside_item[-1])
        else:
            position += length
    return position


def _explicit_length(buffer: bytes, position: int) -> tuple[int, int]:
    """Return where an element's value begins, and its length; `position` is 8 bytes into it."""
    vr = buffer[position - 4 : position - 2]
    width = LENGTH_BYTES.get(vr)
    if width == 2:
        return position, buffer[position - 2] | buffer[position - 1] << 8
    if width is None:
        raise Unusual("an unknown VR")
    (length,) = LONG_LENGTH.unpack_from(buffer, position)
    if length == UNDEFINED and vr != b"SQ":
        raise Unusual("an undefined length of no sequence")
    return position + 4, length
