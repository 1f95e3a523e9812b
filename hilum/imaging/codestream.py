"""What a compressed frame says of itself, read before any codec may touch it.

Codecs are C fed by strangers. A frame whose own header does not agree with the data set
is refused here, so that a codec never allocates for, or writes beyond, what the data set
announces.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hilum.core.errors import Corrupt, Unsupported
from hilum.imaging.description import ImageDescription

#: SOF markers of the JPEG processes (ISO/IEC 10918-1 table B.1) and of JPEG-LS (14495-1).
SOF_BASELINE: Final = 0xC0
SOF_EXTENDED: Final = 0xC1
SOF_PROGRESSIVE: Final = 0xC2
SOF_LOSSLESS: Final = 0xC3
SOF_JPEG_LS: Final = 0xF7
#: Hierarchical and arithmetic coding: never in DICOM's current edition, and in no decoder.
_SOF_OTHER: Final = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_JFIF_SEGMENT: Final = 0xE0
_ADOBE_SEGMENT: Final = 0xEE

_J2K_START: Final = b"\xff\x4f\xff\x51"
_J2K_COD: Final = 0xFF52
_J2K_SOT: Final = 0xFF90

_RLE_HEADER: Final = struct.Struct("<16I")
#: A PackBits run of 2 bytes stands for 128 at most (PS3.5 G.3.1).
_RLE_LARGEST_RATIO: Final = 64


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The size and the kind of samples of a compressed frame."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False

    def check(self, description: ImageDescription) -> None:
        """Refuse a frame that is not what the data set announces.

        Raises
        ------
        Corrupt
            Rows, columns or samples differ, or samples have more bits than allocated.
        """
        found = (self.rows, self.columns, self.samples)
        announced = (description.rows, description.columns, description.samples_per_pixel)
        if found != announced:
            raise Corrupt(
                "the compressed frame has {}×{} pixels of {} samples, "
                "the data set says {}×{} of {}".format(*found, *announced)
            )
        if not 1 <= self.precision <= max(description.bits_allocated, 8):
            raise Corrupt(
                f"the compressed frame has samples of {self.precision} bits, "
                f"the data set allocates {description.bits_allocated}"
            )


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The frame header of a JPEG or JPEG-LS code stream, and its colour markers."""

    process: int
    """The SOF marker's second byte."""
    frame: FrameHeader
    jfif: bool
    adobe_transform: int | None


@dataclass(frozen=True, slots=True)
class J2kHeader:
    """The main header of a JPEG 2000 or HTJ2K code stream (ISO/IEC 15444-1 annex A)."""

    offset: int
    """Where the code stream begins; not 0 if a JP2 file was stored (against PS3.5 A.4.4)."""
    frame: FrameHeader
    colour_transformed: bool
    """The decoder turns the first three components into RGB by itself."""


def jpeg_header(data: bytes) -> JpegHeader:
    """Return the header of a JPEG code stream.

    Raises
    ------
    Corrupt
        There is none, or the code stream is cut short.
    Unsupported
        The process is arithmetic or hierarchical, or the number of rows comes later.
    """
    if data[:2] != _SOI:
        raise Corrupt("the frame is no JPEG code stream: it does not begin with SOI")
    jfif, adobe_transform = False, None
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position + 4 : position + 2 + length]
        if marker in _SOF_OTHER:
            raise Unsupported(f"JPEG process SOF{marker - SOF_BASELINE} is not supported")
        if SOF_BASELINE <= marker <= SOF_LOSSLESS or marker == SOF_JPEG_LS:
            # libjpeg paints what is missing grey and says nothing. In entropy-coded data
            # FF is followed by 00 or RST, so that these two bytes mean the end.
            if data.find(_EOI, position) < 0:
                raise Corrupt("the JPEG code stream is cut short: it has no EOI")
            return JpegHeader(marker, _jpeg_frame(segment), jfif, adobe_transform)
        if marker == _JFIF_SEGMENT and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _ADOBE_SEGMENT and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe_transform = segment[11]
        elif marker == _SOS or length < 2:
            break
        position += 2 + length
    raise Corrupt("the JPEG code stream has no frame header")


def _jpeg_frame(segment: bytes) -> FrameHeader:
    if len(segment) < 6:
        raise Corrupt("the JPEG frame header is cut off")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    if len(segment) < 6 + 3 * samples:
        raise Corrupt("the JPEG frame header is cut off")
    if rows == 0:
        raise Unsupported("a JPEG code stream that gives its number of rows later (DNL)")
    return FrameHeader(rows, columns, samples, precision)


def j2k_header(data: bytes) -> J2kHeader:
    """Return the main header of a JPEG 2000 code stream.

    Raises
    ------
    Corrupt
        There is none, or it is impossible.
    Unsupported
        Components are subsampled, or differ in precision.
    """
    offset = data.find(_J2K_START)
    if offset < 0:
        raise Corrupt("the frame is no JPEG 2000 code stream: it has no SOC and SIZ")
    position = offset + 2
    try:
        frame = _siz(data, position + 4)
        marker = 0
        while marker != _J2K_SOT:
            marker, length = struct.unpack_from(">HH", data, position)
            if marker == _J2K_COD:
                return J2kHeader(offset, frame, data[position + 8] == 1 and frame.samples >= 3)
            position += 2 + length
    except (struct.error, IndexError) as error:
        raise Corrupt("the JPEG 2000 main header is cut off") from error
    raise Corrupt("the JPEG 2000 main header has no coding style")


def _siz(data: bytes, position: int) -> FrameHeader:
    """Return the image and component sizes of a SIZ segment (15444-1 A.5.1)."""
    _, x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0, samples = struct.unpack_from(
        ">H8IH", data, position
    )
    if not samples or not tile_x or not tile_y or x <= x0 or y <= y0:
        raise Corrupt("the JPEG 2000 image has no area")
    if tile_x0 > x0 or tile_y0 > y0 or tile_x0 + tile_x <= x0 or tile_y0 + tile_y <= y0:
        raise Corrupt("the JPEG 2000 tiles do not cover the image")
    components = struct.unpack_from(f">{3 * samples}B", data, position + 36)
    if set(components[1::3]) | set(components[2::3]) != {1}:
        raise Unsupported("JPEG 2000 with subsampled components")
    if len(set(components[::3])) != 1:
        raise Unsupported("JPEG 2000 with components of different precision")
    depth = components[0]
    return FrameHeader(y - y0, x - x0, samples, (depth & 0x7F) + 1, bool(depth & 0x80))


def rle_segments(data: bytes, count: int, segment_bytes: int) -> list[bytes]:
    """Return the segments of an RLE frame (PS3.5 G.5), still packed.

    Parameters
    ----------
    count
        Segments there must be: bytes of a sample times samples.
    segment_bytes
        Bytes that each unpacks to.

    Raises
    ------
    Corrupt
        The segment table is impossible, or a segment too short for what it stands for.
    """
    if len(data) < _RLE_HEADER.size:
        raise Corrupt("the RLE frame is shorter than its header")
    found, *offsets = _RLE_HEADER.unpack_from(data)
    if found != count:
        raise Corrupt(f"the RLE frame has {found} segments, the data set needs {count}")
    bounds = [*offsets[:count], len(data)]
    if bounds[0] != _RLE_HEADER.size or any(a >= b for a, b in pairwise(bounds)):
        raise Corrupt("the RLE segment table is damaged")
    segments = [data[begin:end] for begin, end in pairwise(bounds)]
    if any(len(segment) * _RLE_LARGEST_RATIO < segment_bytes for segment in segments):
        raise Corrupt("an RLE segment is too short for the pixels it stands for")
    return segments
