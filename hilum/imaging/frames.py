"""One frame's bytes, by one positioned read (PS3.5 8, A.4)."""

import struct
from pathlib import Path
from typing import Final, NamedTuple

from hilum.core.errors import Corrupt, NotFound, Unsupported
from hilum.core.instance import PixelData
from hilum.imaging.encoding import IMPLICIT_HEADER, ITEM
from hilum.imaging.reader import Reader, open_reader

_OFFSET_BYTES: Final = 8

#: A larger frame is no image anybody looks at whole, but what a bomb would announce.
FRAME_LIMIT_BYTES: Final = 1 << 28
#: A header is some kilobytes; what claims more in front of its pixels is no image.
_HEAD_LIMIT_BYTES: Final = 64 << 20


class FrameRange(NamedTuple):
    """The bytes a frame lies in."""

    offset: int
    length: int
    skipped_bits: int
    """Bits of the first byte that belong to the frame before: 1-bit pixels only."""


def frame_size_bits(
    rows: int, columns: int, samples_per_pixel: int, bits_allocated: int, photometric: str
) -> int:
    """Return the bits of one native frame, padding between frames being unknown to DICOM.

    YBR_FULL_422 has two samples a pixel, whatever Samples per Pixel says (PS3.3 C.7.6.3.1.2).
    """
    samples = 2 if photometric == "YBR_FULL_422" and samples_per_pixel == 3 else samples_per_pixel
    return rows * columns * samples * bits_allocated


def frame_range(pixel_data: PixelData, frame_index: int, frame_bits: int = 0) -> FrameRange:
    """Return where a frame lies in the file.

    Parameters
    ----------
    frame_index
        From 0.
    frame_bits
        Of one native frame, from `frame_size_bits`; without effect on encapsulated ones.

    Raises
    ------
    NotFound
        There is no such frame.
    Corrupt
        The pixel data is too short for it.
    """
    if not 0 <= frame_index < pixel_data.frame_count:
        raise NotFound(f"no frame {frame_index + 1}; there are {pixel_data.frame_count}")
    if pixel_data.frame_offsets:
        first, following = struct.unpack_from(
            "<2Q", pixel_data.frame_offsets, frame_index * _OFFSET_BYTES
        )
        return FrameRange(first, following - first, 0)
    first_bit = frame_index * frame_bits
    first = first_bit // 8
    following = (first_bit + frame_bits + 7) // 8
    if following > pixel_data.length:
        raise Corrupt(f"the pixel data ends {following - pixel_data.length} bytes early")
    return FrameRange(pixel_data.offset + first, following - first, first_bit % 8)


def read_head(reader: Reader, data_set_offset: int, pixel_data: PixelData) -> bytes:
    """Return the data set in front of the pixels: what `describe` reads.

    The bytes end with the pixel data element's own tag, VR and length.

    Raises
    ------
    Corrupt
        The file is shorter than it was.
    """
    size = pixel_data.offset - data_set_offset
    head = reader.read_at(data_set_offset, size)
    if len(head) != size:
        raise Corrupt(f"the header ends {size - len(head)} bytes early")
    return head


def head_of(
    path: Path, pixel_data: PixelData, transfer_syntax_uid: str, data_set_offset: int
) -> bytes:
    """Return `read_head` of a file, if that is not more than any image has there.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    Unsupported
        It is more.
    Corrupt
        The file is shorter than it was.
    """
    if pixel_data.offset > _HEAD_LIMIT_BYTES:
        raise Unsupported(f"there are {pixel_data.offset} bytes in front of the pixels")
    with path.open("rb") as file:
        reader = open_reader(file, transfer_syntax_uid, data_set_offset)
        return read_head(reader, data_set_offset, pixel_data)


def read_frame(
    reader: Reader, pixel_data: PixelData, frame_index: int, frame_bits: int = 0
) -> bytes:
    """Return one frame as it is stored.

    Parameters
    ----------
    reader
        From `open_reader`, which sees to deflated data sets.
    frame_index
        From 0.
    frame_bits
        Of one native frame, from `frame_size_bits`; without effect on encapsulated ones.

    Returns
    -------
    bytes
        Encapsulated: the code stream, fragments joined. Native: ``frame_bits`` in the
        file's own byte order; 1-bit pixels begin at bit 0 of the first byte even where
        frames are not a whole number of bytes, and unused bits at the end are 0.

    Raises
    ------
    NotFound
        There is no such frame.
    Corrupt
        The file is shorter than it was, or its items are not where they were.
    Unsupported
        The frame has more than `FRAME_LIMIT_BYTES`; nothing of it is read then.
    """
    place = frame_range(pixel_data, frame_index, frame_bits)
    if place.length > FRAME_LIMIT_BYTES:
        raise Unsupported(f"a frame of {place.length} bytes is larger than this node reads")
    data = reader.read_at(place.offset, place.length)
    if len(data) != place.length:
        raise Corrupt(f"frame {frame_index + 1} ends {place.length - len(data)} bytes early")
    if pixel_data.frame_offsets:
        return _joined(data)
    return _aligned(data, place.skipped_bits, frame_bits) if frame_bits % 8 else data


def _joined(data: bytes) -> bytes:
    """Return the values of consecutive items, joined."""
    fragments = []
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise Corrupt("a fragment of pixel data is cut short")
        group, element, length = IMPLICIT_HEADER.unpack_from(data, position)
        position += 8
        if group << 16 | element != ITEM or position + length > len(data):
            raise Corrupt("the pixel data's items are damaged")
        fragments.append(data[position : position + length])
        position += length
    return b"".join(fragments) if len(fragments) != 1 else fragments[0]


def _aligned(data: bytes, skipped_bits: int, frame_bits: int) -> bytes:
    """Return a frame of 1-bit pixels, the first in the lowest bit (PS3.5 8.1.1)."""
    bits = int.from_bytes(data, "little") >> skipped_bits
    bits &= (1 << frame_bits) - 1
    return bits.to_bytes((frame_bits + 7) // 8, "little")
