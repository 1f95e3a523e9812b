"""One frame as a file in Explicit VR Little Endian would have it: samples, nothing else."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from hilum.core.errors import Corrupt, Invalid, NotFound, Unsupported
from hilum.core.instance import PixelData
from hilum.core.levels import tag_of
from hilum.imaging.decode import NATIVE, decode_frame
from hilum.imaging.description import describe
from hilum.imaging.dicom_json import WORD_BYTES
from hilum.imaging.elements import Encoding, read_elements
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, LENGTH_BYTES
from hilum.imaging.frames import frame_size_bits, head_of, read_frame
from hilum.imaging.reader import open_reader
from hilum.imaging.scan import PIXEL_DATA_TAGS

_LAYOUTS: Final = 1024
_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED, _PHOTOMETRIC = map(
    tag_of,
    ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation"),
)
_FLOAT_BITS: Final = {0x7FE00008: 32, 0x7FE00009: 64}


@dataclass(frozen=True, slots=True)
class NativeLayout:
    """How the frames of native pixel data lie behind each other."""

    frame_bits: int
    bits_allocated: int
    pixel_vr: str
    """Of the pixel data element; empty in implicit VR."""


def raw_frame(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_index: int,
) -> bytes:
    """Return one frame uncompressed, little endian.

    Native frames stay as they are but for the order of their bytes, with their own planar
    configuration; compressed ones come colour by pixel, in the colours `decode_frame`
    leaves them in. 1-bit pixels begin at the lowest bit of the first byte, and the last
    byte is filled up with 0.

    Parameters
    ----------
    path
        A Part 10 file that never changes, as those of the store.
    pixel_data, transfer_syntax_uid, data_set_offset
        From the file's `Header`.
    frame_index
        From 0.

    Raises
    ------
    NotFound
        There is no such file or no such frame.
    Invalid, Unsupported
        The header does not describe an image, or one this node does not decode.
    Corrupt
        The frame is damaged.

    Notes
    -----
    Compressed frames may crash the process: see `decode_frame`.

    References
    ----------
    PS3.5 8.1.1, A.2; PS3.18 8.7.3.3
    """
    try:
        if transfer_syntax_uid in NATIVE:
            return _native(path, pixel_data, transfer_syntax_uid, data_set_offset, frame_index)
        with path.open("rb") as file:
            reader = open_reader(file, transfer_syntax_uid, data_set_offset)
            head = head_of(path, pixel_data, transfer_syntax_uid, data_set_offset)
            frame = read_frame(reader, pixel_data, frame_index)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path.name}") from error
    description = describe(head, transfer_syntax_uid)
    samples = decode_frame(description, frame, transfer_syntax_uid)
    if description.bits_allocated == 1:
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


@lru_cache(maxsize=_LAYOUTS)
def native_layout(
    path: Path, pixel_data: PixelData, transfer_syntax_uid: str, data_set_offset: int
) -> NativeLayout:
    """Return how a file's frames lie; its path is its content's, so it never goes stale.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    Invalid, Corrupt
        Its header does not say, or has become shorter.
    """
    head = head_of(path, pixel_data, transfer_syntax_uid, data_set_offset)
    encoding = Encoding(
        explicit=head[4:6] in LENGTH_BYTES,  # whatever the file meta information says
        little_endian=transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
    )
    wanted = {_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED, _PHOTOMETRIC, *PIXEL_DATA_TAGS}
    header = read_elements(head, encoding, frozenset(wanted))
    rows, columns = header.integer(_ROWS), header.integer(_COLUMNS)
    bits = _FLOAT_BITS.get(pixel_data.tag) or header.integer(_ALLOCATED)
    if not rows or not columns or not bits:
        raise Invalid("Rows, Columns or Bits Allocated is missing or 0")
    samples = header.integer(_SAMPLES) or 1
    element = header.get(pixel_data.tag)
    return NativeLayout(
        frame_bits=frame_size_bits(rows, columns, samples, bits, header.text(_PHOTOMETRIC)),
        bits_allocated=bits,
        pixel_vr=element.vr if element else "",
    )


def _native(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_index: int,
) -> bytes:
    layout = native_layout(path, pixel_data, transfer_syntax_uid, data_set_offset)
    with path.open("rb") as file:
        reader = open_reader(file, transfer_syntax_uid, data_set_offset)
        frame = read_frame(reader, pixel_data, frame_index, layout.frame_bits)
    return _turned(frame, layout) if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else frame


def _turned(frame: bytes, layout: NativeLayout) -> bytes:
    """Return a big-endian frame in little endian; a pixel's bytes turn round together."""
    bits = layout.bits_allocated
    word_bytes = bits // 8 if bits > 8 else WORD_BYTES.get(layout.pixel_vr, 1)
    if word_bytes == 1:
        return frame
    if word_bytes not in {2, 4, 8}:
        raise Unsupported(f"big-endian pixels of {bits} bits")
    if len(frame) % word_bytes:
        if bits > 8:
            raise Corrupt("the frame is not a whole number of pixels")
        raise Unsupported(f"{bits}-bit pixels in big-endian words, an odd number of bytes a frame")
    return np.frombuffer(frame, f"u{word_bytes}").byteswap().tobytes()
