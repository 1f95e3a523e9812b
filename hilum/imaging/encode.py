"""Samples of one frame to a code stream, without loss: for clients that ask for one.

References
----------
PS3.5 8.2, G; PS3.3 C.7.6.3.1.2
"""

import struct
from collections.abc import Callable
from typing import Final

import imagecodecs
import numpy as np

from hilum.core.errors import Unsupported
from hilum.imaging.decode import DECODABLE, RLE_LOSSLESS, Samples
from hilum.imaging.description import PIXEL_DATA, ImageDescription

JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"

_RLE_SEGMENTS: Final = 15
_RLE_HEADER: Final = struct.Struct("<16I")


def can_encode(source_uid: str, target_uid: str) -> bool:
    """Return whether frames stored in one syntax may be compressed anew in the other.

    It may still fail for a single instance: its pixels may be bits, or no integers.
    """
    return source_uid in DECODABLE and target_uid in _ENCODERS


def encode_frame(
    description: ImageDescription, samples: Samples, photometric: str, target_uid: str
) -> bytes:
    """Return the code stream of one frame, an even number of bytes.

    Parameters
    ----------
    samples
        From `hilum.imaging.decode.decode_frame`.
    photometric
        Of the samples.
    target_uid
        One of `ENCODED`.

    Raises
    ------
    Unsupported
        There is no such encoder, or pixels of this kind have no place in the code stream.
    """
    if target_uid not in _ENCODERS:
        raise Unsupported(f"transfer syntax {target_uid} is not written by this node")
    if description.pixel_tag != PIXEL_DATA or description.bits_allocated not in {8, 16}:
        raise Unsupported(f"pixels of {description.bits_allocated} bits are not compressed")
    try:
        stream = _ENCODERS[target_uid](description, np.ascontiguousarray(samples), photometric)
    except (RuntimeError, ValueError, TypeError) as error:
        raise Unsupported(f"the frame cannot be compressed: {error}") from error
    return stream + bytes(len(stream) % 2)


def encoded_photometric(photometric: str, target_uid: str) -> str:
    """Return the Photometric Interpretation of samples that `encode_frame` compressed."""
    transformed = target_uid in {JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS} and photometric == "RGB"
    return "YBR_RCT" if transformed else photometric


def _rle(description: ImageDescription, samples: Samples, _photometric: str) -> bytes:
    """Byte planes, the highest of each sample first, each row by itself (PS3.5 G.3)."""
    width = samples.dtype.itemsize
    # Rows, columns, samples, bytes from the lowest on.
    little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    shape = (description.rows, description.columns, description.samples_per_pixel, width)
    octets = little.view(np.uint8).reshape(shape)
    segments = []
    for sample in range(description.samples_per_pixel):
        for byte in reversed(range(width)):
            plane = np.ascontiguousarray(octets[:, :, sample, byte])
            segment = bytes(imagecodecs.packbits_encode(plane, axis=-1))
            segments.append(segment + bytes(len(segment) % 2))
    if len(segments) > _RLE_SEGMENTS:
        raise Unsupported(f"{len(segments)} bytes a pixel are too many for RLE")
    offsets = [_RLE_HEADER.size]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    offsets += [0] * (_RLE_SEGMENTS - len(offsets))
    return _RLE_HEADER.pack(len(segments), *offsets) + b"".join(segments)


def _jpeg_ls(_description: ImageDescription, samples: Samples, _photometric: str) -> bytes:
    # JPEG-LS knows no sign: samples are stored modulo 2 ** 16 (or 8).
    unsigned = samples.view(f"u{samples.dtype.itemsize}")
    # The codec's own guess is too small for noise.
    return bytes(imagecodecs.jpegls_encode(unsigned, out=2 * unsigned.nbytes + 1024))


def _jpeg_2000(description: ImageDescription, samples: Samples, photometric: str) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            codecformat="J2K",
            reversible=True,
            mct=photometric == "RGB",
            bitspersample=description.bits_stored,
        )
    )


def _htj2k(_description: ImageDescription, samples: Samples, photometric: str) -> bytes:
    if samples.ndim == 3 and photometric != "RGB":
        # The encoder transforms three components in any case, which of YCbCr has no name.
        raise Unsupported(f"{photometric} has no place in HTJ2K")
    return bytes(imagecodecs.htj2k_encode(samples, level=0, reversible=True))


_ENCODERS: Final[dict[str, Callable[[ImageDescription, Samples, str], bytes]]] = {
    RLE_LOSSLESS: _rle,
    JPEG_LS_LOSSLESS: _jpeg_ls,
    JPEG_2000_LOSSLESS: _jpeg_2000,
    HTJ2K_LOSSLESS: _htj2k,
}
#: The transfer syntaxes that there are encoders for.
ENCODED: Final = tuple(_ENCODERS)
