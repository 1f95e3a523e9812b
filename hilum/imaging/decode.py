"""Stored bytes of one frame to an array of its samples, as stored: no colour conversion.

Whatever `decode_frame` is fed, it returns an array of exactly the announced shape and
type, or raises a domain error. The codecs behind it are C: compressed frames belong into
a process that may die (`hilum.imaging.workers`).
"""

import zlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode as openjpeg_decode
from pydicom.config import IGNORE
from pydicom.uid import UID

from hilum.core.errors import Corrupt, Unsupported
from hilum.imaging.codestream import (
    SOF_JPEG_LS,
    SOF_LOSSLESS,
    JpegHeader,
    j2k_header,
    jpeg_header,
    rle_segments,
)
from hilum.imaging.description import PIXEL_DATA, ImageDescription
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from hilum.imaging.jpegxl import jxl_header

Samples: TypeAlias = NDArray[Any]

DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"

#: Transfer syntaxes whose frames are the samples themselves.
NATIVE: Final = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
    }
)
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
#: Native frames as items, each by itself or each deflated.
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
#: JPEG baseline, extended, progressive, lossless, and JPEG-LS: told apart by the frame's
#: own header, since files whose transfer syntax names the wrong one are common.
JPEG: Final = frozenset(
    f"1.2.840.10008.1.2.4.{suffix}" for suffix in ("50", "51", "53", "55", "57", "70", "80", "81")
)
#: JPEG 2000, of Part 2 what has the components of one frame; and HTJ2K.
J2K: Final = frozenset(f"1.2.840.10008.1.2.4.{suffix}" for suffix in ("90", "91", "92", "93"))
HTJ2K: Final = frozenset(f"1.2.840.10008.1.2.4.{suffix}" for suffix in ("201", "202", "203"))
_JPEG_XL_LOSSLESS: Final = "1.2.840.10008.1.2.4.110"
JPEG_XL: Final = frozenset(
    {_JPEG_XL_LOSSLESS, "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"}
)
DECODABLE: Final = (
    NATIVE
    | {RLE_LOSSLESS, ENCAPSULATED_UNCOMPRESSED, DEFLATED_IMAGE_FRAME}
    | JPEG
    | J2K
    | HTJ2K
    | JPEG_XL
)

#: Bytes that an RLE segment may stand for beyond twice its pixels.
_RLE_PADDING: Final = 1024
#: Two halve the wait for a picture; more only help where processors stand idle.
_J2K_THREADS: Final = 2

#: A larger frame is no image anybody looks at whole, but what a bomb would announce.
FRAME_LIMIT_BYTES: Final = 1 << 28

_CODEC_ERRORS: Final = (
    RuntimeError,  # the base of imagecodecs' errors, and openjpeg's
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
)


def decode_frame(description: ImageDescription, frame: bytes, transfer_syntax_uid: str) -> Samples:
    """Return the samples of one frame.

    Parameters
    ----------
    description
        From `describe`.
    frame
        As stored, fragments joined; 1-bit pixels begin at the lowest bit of byte 0
        (`hilum.imaging.frames.read_frame`).
    transfer_syntax_uid
        How the frame is stored.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` or ``(rows, columns, samples)`` of ``description.dtype``,
        contiguous, colour by pixel, perhaps read-only. Colours are as stored but for
        JPEG 2000's own component transform, which its decoder undoes;
        `decoded_photometric_interpretation` names them.

    Raises
    ------
    Unsupported
        The transfer syntax, or this use of it, is not one this node decodes.
    Corrupt
        The frame is damaged, or is not what the data set announces.

    Notes
    -----
    Releases the GIL while a codec works. May crash the process on hostile input: call it
    for compressed frames in a helper process.

    References
    ----------
    PS3.5 8.1, 8.2, A.4, G; PS3.3 C.7.6.3
    """
    size = int(np.prod(description.shape, dtype=np.int64)) * description.dtype.itemsize
    if size > FRAME_LIMIT_BYTES:
        raise Unsupported(f"a frame of {size} bytes is larger than this node draws")
    if transfer_syntax_uid in NATIVE:
        return _native(description, frame, transfer_syntax_uid)
    if description.pixel_tag != PIXEL_DATA:
        raise Corrupt("floating-point pixels cannot be compressed (PS3.5 A.4)")
    decoder = _decoder(transfer_syntax_uid)
    try:
        samples = decoder(description, frame)
    except _CODEC_ERRORS as error:
        raise Corrupt(f"the frame cannot be decoded: {error}") from error
    except MemoryError as error:
        raise Unsupported("the frame needs more memory to decode than allowed") from error
    return np.ascontiguousarray(_fitted(description, samples))


def decoded_photometric_interpretation(
    description: ImageDescription, frame: bytes, transfer_syntax_uid: str
) -> str:
    """Return the Photometric Interpretation of what `decode_frame` makes of this frame.

    The code stream's own word counts where it has one: JPEG 2000 says whether its
    components were transformed, which its decoder undoes; JPEG may say that they are
    YCbCr though the attribute says RGB. And 4:2:2 subsampling is always undone.

    Raises
    ------
    Corrupt, Unsupported
        As of `decode_frame`, for the frame's header.
    """
    stored = description.photometric_interpretation
    if description.samples_per_pixel == 3:
        if transfer_syntax_uid in J2K | HTJ2K:
            transformed = j2k_header(frame).colour_transformed
            stored = "RGB" if transformed or stored in {"YBR_RCT", "YBR_ICT"} else stored
        elif transfer_syntax_uid in JPEG_XL:
            # Its decoder delivers RGB, of a JPEG packed anew too; but lossless YCbCr is
            # handed through by encoders that were told nothing.
            kept = transfer_syntax_uid == _JPEG_XL_LOSSLESS and stored == "YBR_FULL"
            stored = stored if kept else "RGB"
        elif transfer_syntax_uid in JPEG and stored == "RGB" and _says_ycbcr(jpeg_header(frame)):
            stored = "YBR_FULL"
    return "YBR_FULL" if stored == "YBR_FULL_422" else stored


def _decoder(transfer_syntax_uid: str) -> "Callable[[ImageDescription, bytes], Samples]":
    if transfer_syntax_uid == RLE_LOSSLESS:
        return _rle
    if transfer_syntax_uid in JPEG:
        return _jpeg
    if transfer_syntax_uid in J2K | HTJ2K:
        return _j2k
    if transfer_syntax_uid in JPEG_XL:
        return _jpeg_xl
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        return _deflated
    if transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED:
        return _little_endian
    # What a file calls its transfer syntax need not be a UID; pydicom would log that.
    name = UID(transfer_syntax_uid, validation_mode=IGNORE).name
    raise Unsupported(f"frames in {name} ({transfer_syntax_uid}) are not decoded by this node")


def _native(description: ImageDescription, frame: bytes, transfer_syntax_uid: str) -> Samples:
    """Return samples that are stored as they are (PS3.5 8.1.1, 8.2)."""
    dtype = description.dtype
    big_endian = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    pixels = description.rows * description.columns
    subsampled = description.photometric_interpretation == "YBR_FULL_422"
    count = pixels * (2 if subsampled else description.samples_per_pixel)
    if description.bits_allocated == 1:
        return _unpacked(description, frame)
    if subsampled and pixels % 2:
        raise Unsupported("chroma shared by two pixels, of which there is an odd number")
    if len(frame) < count * dtype.itemsize:
        missing = count * dtype.itemsize - len(frame)
        raise Corrupt(f"the frame ends {missing} bytes early")
    if big_endian and dtype.itemsize == 1 and description.pixel_vr == "OW":
        if count % 2:
            raise Unsupported("8-bit pixels in big-endian words, an odd number of them a frame")
        samples = np.frombuffer(frame, "u2", count // 2).byteswap().view(dtype)
    else:
        samples = np.frombuffer(frame, dtype.newbyteorder(">" if big_endian else "<"), count)
        samples = samples.astype(dtype, copy=False)
    if subsampled:
        # By pixel, whatever Planar Configuration says: planes would differ in size.
        samples = _upsampled(samples)
    elif description.samples_per_pixel > 1 and description.planar_configuration == 1:
        planes = samples.reshape(description.samples_per_pixel, pixels)
        samples = np.ascontiguousarray(planes.T)
    samples = samples.reshape(description.shape)
    return samples if samples.dtype.kind == "f" else _significant(description, samples)


def _unpacked(description: ImageDescription, frame: bytes) -> Samples:
    """Return 1-bit samples as bytes (PS3.5 8.1.1: the first pixel in the lowest bit)."""
    count = description.rows * description.columns * description.samples_per_pixel
    if len(frame) * 8 < count:
        raise Corrupt(f"the frame ends {(count + 7) // 8 - len(frame)} bytes early")
    packed = np.frombuffer(frame, np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").reshape(description.shape)


def _upsampled(samples: Samples) -> Samples:
    """Return YBR_FULL_422 as YBR_FULL: two luminances share their chroma (C.7.6.3.1.2)."""
    quads = samples[: samples.size // 4 * 4].reshape(-1, 4)
    full = np.empty((len(quads), 2, 3), samples.dtype)
    full[:, :, 0] = quads[:, :2]
    full[:, :, 1:] = quads[:, np.newaxis, 2:]
    return full.reshape(-1)


def _rle(description: ImageDescription, frame: bytes) -> Samples:
    """Return the samples of an RLE frame (PS3.5 G): byte planes, highest byte first."""
    pixels = description.rows * description.columns
    samples = description.samples_per_pixel
    if description.bits_allocated == 1:
        packed = (pixels * samples + 7) // 8
        (segment,) = rle_segments(frame, 1, packed)
        return _unpacked(description, _unpack(segment, packed))
    width = description.dtype.itemsize
    planes = np.empty((pixels, samples, width), np.uint8)
    for index, segment in enumerate(rle_segments(frame, samples * width, pixels)):
        plane = _unpack(segment, pixels)
        if len(plane) < pixels:
            raise Corrupt(f"an RLE segment ends {pixels - len(plane)} pixels early")
        sample, byte = divmod(index, width)
        planes[:, sample, width - 1 - byte] = np.frombuffer(plane, np.uint8, pixels)
    little = planes.reshape(-1).view(description.dtype.newbyteorder("<"))
    decoded = little.astype(description.dtype, copy=False).reshape(description.shape)
    return _significant(description, decoded)


def _unpack(segment: bytes, size: int) -> bytes:
    """Return what a segment stands for: more than `size` may be padding, much more is a bomb."""
    return bytes(imagecodecs.packbits_decode(segment, out=2 * size + _RLE_PADDING))


def _jpeg(description: ImageDescription, frame: bytes) -> Samples:
    """Return the samples of a JPEG or JPEG-LS frame."""
    header = jpeg_header(frame)
    header.frame.check(description)
    if header.process == SOF_JPEG_LS:
        samples = imagecodecs.jpegls_decode(frame)
    elif header.frame.samples == 1:
        samples = imagecodecs.jpeg8_decode(frame)
    else:
        # Whatever libjpeg would guess about colours, the components come out untouched.
        samples = imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")
    # Neither standard knows signed samples: they are stored modulo 2**precision.
    return _sign_extended(description, samples, header.frame.precision)


def _says_ycbcr(header: JpegHeader) -> bool:
    """Return whether a code stream says that its three components are Y, Cb and Cr."""
    if header.process in {SOF_JPEG_LS, SOF_LOSSLESS}:
        return False
    if header.adobe_transform is not None:
        return header.adobe_transform == 1
    return header.jfif


def _j2k(description: ImageDescription, frame: bytes) -> Samples:
    """Return the samples of a JPEG 2000 or HTJ2K frame."""
    header = j2k_header(frame)
    header.frame.check(description)
    stream = frame[header.offset :]
    # OpenJPEG for HTJ2K too: OpenJPH, half as fast again, makes wrong pixels of a stream
    # that is cut short, without a word, and can run for minutes on a damaged one.
    try:
        samples = imagecodecs.jpeg2k_decode(stream, numthreads=_J2K_THREADS)
    except imagecodecs.Jpeg2kError:
        samples = openjpeg_decode(stream)
    if header.frame.signed == description.signed:
        return samples
    return _sign_extended(description, samples, header.frame.precision)


def _jpeg_xl(description: ImageDescription, frame: bytes) -> Samples:
    """Return the samples of a JPEG XL frame."""
    header = jxl_header(frame)
    header.check(description)
    samples = imagecodecs.jpegxl_decode(frame, numthreads=1)
    # As in JPEG: there are no signed samples.
    return _sign_extended(description, samples, header.precision)


def _deflated(description: ImageDescription, frame: bytes) -> Samples:
    """Return the samples of a frame that is deflated by itself (PS3.5 A.4.13)."""
    size = (description.frame_bits + 7) // 8
    inflation = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflation.decompress(frame, size)
    except zlib.error as error:
        raise Corrupt(f"the frame cannot be inflated: {error}") from error
    return _little_endian(description, inflated)


def _little_endian(description: ImageDescription, frame: bytes) -> Samples:
    return _native(description, frame, EXPLICIT_VR_LITTLE_ENDIAN)


def _sign_extended(description: ImageDescription, samples: Samples, bits: int) -> Samples:
    """Return samples of which `bits` bits count as the data set has them, signed or not."""
    width = samples.dtype.itemsize
    target = np.dtype(f"{'i' if description.signed else 'u'}{width}")
    shift = 8 * width - bits
    samples = samples.view(target)
    return samples if shift <= 0 else np.right_shift(np.left_shift(samples, shift), shift)


def _significant(description: ImageDescription, samples: Samples) -> Samples:
    """Return the stored bits alone: what lies beside them may be anything (PS3.5 8.1.1)."""
    above = description.bits_allocated - 1 - description.high_bit
    beside = description.bits_allocated - description.bits_stored
    lowest = -(1 << (description.bits_stored - 1)) if description.signed else 0
    span = (1 << description.bits_stored) - 1
    # Nearly always there is nothing beside them; to look costs a tenth of a copy.
    if above == beside and lowest <= samples.min() and samples.max() <= lowest + span:
        return samples
    return np.right_shift(np.left_shift(samples, above), beside)


def _fitted(description: ImageDescription, samples: Samples) -> Samples:
    """Return a codec's answer in the announced shape and type."""
    if samples.size != np.prod(description.shape):
        raise Corrupt(f"the decoder returned {samples.shape} instead of {description.shape}")
    return samples.reshape(description.shape).astype(description.dtype, copy=False)
