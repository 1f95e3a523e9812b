"""What a JPEG XL frame says of itself, read before its codec may touch it (ISO/IEC 18181)."""

import struct
from typing import Final

from hilum.core.errors import Corrupt, Unsupported
from hilum.imaging.codestream import FrameHeader

_CODE_STREAM: Final = b"\xff\x0a"
_CONTAINER: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
#: Boxes of a container that hold the code stream, and bytes in front of it in each.
_BOXES: Final = {b"jxlc": 0, b"jxlp": 4}

#: Width to height, where a header gives but the height.
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_GREY: Final = 1
_COLOUR_SPACES: Final = {0, _GREY}


def jxl_header(data: bytes) -> FrameHeader:
    """Return the image size and the kind of samples of a JPEG XL code stream.

    Parameters
    ----------
    data
        A bare code stream, or one in its container.

    Raises
    ------
    Corrupt
        There is no code stream, or its header is cut off.
    Unsupported
        It has samples in floating point, channels besides grey or colour, an orientation
        of its own, a preview or an animation.
    """
    bits = _Bits(data, _code_stream(data))
    rows, columns = _size(bits)
    if bits.flag():  # everything else is the default: 8 bits, colour
        return FrameHeader(rows, columns, 3, 8)
    if bits.flag():
        _extra_fields(bits)
    if bits.flag():
        raise Unsupported("JPEG XL with samples in floating point")
    precision = bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    bits.flag()  # buffers of 16 bits suffice
    if bits.choice((0, 0), (1, 0), (2, 4), (1, 12)):
        raise Unsupported("JPEG XL with channels besides grey or colour")
    bits.flag()  # encoded as XYB, which the decoder undoes
    if bits.flag():
        return FrameHeader(rows, columns, 3, precision)
    bits.flag()  # an ICC profile follows
    colour_space = bits.choice((0, 0), (1, 0), (2, 4), (18, 6))
    if colour_space not in _COLOUR_SPACES:
        raise Unsupported("JPEG XL in a colour space that is neither grey nor RGB")
    return FrameHeader(rows, columns, 1 if colour_space == _GREY else 3, precision)


def _code_stream(data: bytes) -> int:
    """Return where the code stream begins, behind its signature."""
    if data.startswith(_CODE_STREAM):
        return len(_CODE_STREAM)
    position = 0 if data.startswith(_CONTAINER) else len(data)
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        begin = position + 8
        if size == 1 and begin + 8 <= len(data):
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        if kind in _BOXES:
            begin += _BOXES[kind]
            if data[begin : begin + 2] != _CODE_STREAM:
                break
            return begin + len(_CODE_STREAM)
        if size < 8:
            break
        position += size
    raise Corrupt("the frame is no JPEG XL code stream")


def _size(bits: "_Bits") -> tuple[int, int]:
    small = bits.flag()
    rows = _extent(bits, small=small)
    if ratio := bits.take(3):
        numerator, denominator = _RATIOS[ratio - 1]
        return rows, rows * numerator // denominator
    return rows, _extent(bits, small=small)


def _extent(bits: "_Bits", *, small: bool) -> int:
    if small:
        return 8 * (bits.take(5) + 1)
    return bits.choice((1, 9), (1, 13), (1, 18), (1, 30))


def _extra_fields(bits: "_Bits") -> None:
    if bits.take(3):
        raise Unsupported("JPEG XL with an orientation of its own")
    if bits.flag():
        _size(bits)  # how large it is meant to be shown
    if bits.flag() or bits.flag():
        raise Unsupported("JPEG XL with a preview or an animation")


class _Bits:
    """Reads numbers, lowest bit first."""

    def __init__(self, data: bytes, position: int) -> None:
        # A header takes some 20 bytes at most; what is asked for beyond is not there.
        head = data[position : position + 32]
        self._bits = int.from_bytes(head, "little")
        self._left = 8 * len(head)

    def take(self, count: int) -> int:
        if count > self._left:
            raise Corrupt("the JPEG XL header is cut off")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value

    def flag(self) -> bool:
        return self.take(1) == 1

    def choice(self, *kinds: tuple[int, int]) -> int:
        """Return a number in one of four kinds: an offset, and the bits to add to it."""
        offset, count = kinds[self.take(2)]
        return offset + self.take(count)
