"""What mutations begin with: real files, and generated ones for what real files lack."""

import io
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.corpus import all_files
from tests.generated import ct

_LARGEST_BYTES: Final = 160_000
_SIDE: Final = 24


@cache
def data_sets() -> tuple[bytes, ...]:
    """Return files of every kind: whatever is small enough to be changed quickly."""
    real = tuple(path.read_bytes() for path in all_files() if path.stat().st_size < _LARGEST_BYTES)
    return (*real, *images(), *compressed())


@cache
def images() -> tuple[bytes, ...]:
    """Return small files with native pixels of every kind, and all that draws them."""
    return tuple(_written(image) for image in _native_images())


@cache
def compressed() -> tuple[bytes, ...]:
    """Return small files with encapsulated pixels in every transfer syntax that is decoded."""
    return tuple(_written(image) for image in _compressed_images())


def _written(image: FileDataset) -> bytes:
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _native_images() -> Iterator[FileDataset]:
    yield ct(size=_SIDE)
    for syntax in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian):
        image = ct(size=_SIDE)
        image.file_meta.TransferSyntaxUID = syntax
        yield image
    yield ct(size=_SIDE, VOILUTFunction="SIGMOID", WindowCenter=[40, 80], WindowWidth=[400, 1])
    yield ct(size=_SIDE, PhotometricInterpretation="MONOCHROME1", VOILUTSequence=[_table()])
    yield ct(size=_SIDE, ModalityLUTSequence=[_table()], PixelPaddingValue=0)
    yield ct(size=_SIDE, NumberOfFrames=2, **_pixels(np.zeros((2, _SIDE, _SIDE), "u2")))
    yield _enhanced()
    yield _colour("RGB", 0)
    yield _colour("YBR_FULL", 1)
    yield _colour("YBR_FULL_422", 0)
    yield _palette()
    yield _segmented_palette()
    bits = np.packbits(np.eye(_SIDE, dtype=np.uint8), bitorder="little")
    yield ct(size=_SIDE, BitsAllocated=1, BitsStored=1, HighBit=0, **_pixels(bits))
    wide = np.arange(_SIDE * _SIDE, dtype="<u4")
    yield ct(size=_SIDE, BitsAllocated=32, BitsStored=32, HighBit=31, **_pixels(wide))
    yield _overlaid(bits.tobytes())


def _overlaid(bits: bytes) -> FileDataset:
    image = ct(size=_SIDE)
    for element, vr, value in (
        (0x0010, "US", _SIDE),
        (0x0011, "US", _SIDE),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", bits),
    ):
        image.add_new(0x60000000 | element, vr, value)
    return image


def _pixels(samples: NDArray[Any]) -> dict[str, Any]:
    return {"PixelData": samples.tobytes() + bytes(samples.nbytes % 2)}


def _table() -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [256, 0, 16])
    item.add_new(0x00283006, "OW", np.arange(256, dtype="<u2").tobytes())
    return item


def _enhanced() -> FileDataset:
    """Return two frames, each with a rescale and a window of its own."""
    groups = []
    for intercept in (-1024, 0):
        values, voi, group = Dataset(), Dataset(), Dataset()
        values.RescaleIntercept, values.RescaleSlope = intercept, 2
        voi.WindowCenter, voi.WindowWidth = 40, 400
        group.PixelValueTransformationSequence = Sequence([values])
        group.FrameVOILUTSequence = Sequence([voi])
        groups.append(group)
    frames = np.zeros((2, _SIDE, _SIDE), "u2")
    return ct(
        size=_SIDE,
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=[groups[0]],
        PerFrameFunctionalGroupsSequence=groups,
        **_pixels(frames),
    )


def _colour(photometric: str, planar: int) -> FileDataset:
    samples = 2 if photometric == "YBR_FULL_422" else 3
    pixels = np.random.default_rng(1).integers(0, 256, (_SIDE, _SIDE, samples), np.uint8)
    return ct(
        size=_SIDE,
        SamplesPerPixel=3,
        PhotometricInterpretation=photometric,
        PlanarConfiguration=planar,
        **_bits(8),
        **_pixels(pixels),
    )


def _bits(bits: int) -> dict[str, int]:
    return {"BitsAllocated": 8 if bits <= 8 else 16, "BitsStored": bits, "HighBit": bits - 1}


def _palette(**values: Any) -> FileDataset:
    pixels = np.random.default_rng(1).integers(0, 256, (_SIDE, _SIDE), np.uint8)
    image = ct(size=_SIDE, PhotometricInterpretation="PALETTE COLOR", **_bits(8), **_pixels(pixels))
    for channel in range(3):
        image.add_new(0x00281101 + channel, "US", [256, 0, 16])
        if not values:
            image.add_new(0x00281201 + channel, "OW", np.arange(256, dtype="<u2").tobytes())
    return image


def _segmented_palette() -> FileDataset:
    """Return a palette of a discrete, a linear and an indirect segment (PS3.3 C.7.9.2)."""
    image = _palette(segmented=True)
    words = np.array([0, 2, 0, 500, 1, 127, 60000, 2, 2, 0, 0], "<u2")
    for channel in range(3):
        image.add_new(0x00281221 + channel, "OW", words.tobytes())
    return image


def _compressed_images() -> Iterator[FileDataset]:
    random = np.random.default_rng(2)
    grey8 = random.integers(0, 256, (_SIDE, _SIDE), np.uint8)
    grey12 = random.integers(0, 4096, (_SIDE, _SIDE), np.uint16)
    rgb = random.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    streams = {
        JPEGBaseline8Bit: (8, imagecodecs.jpeg8_encode),
        JPEGExtended12Bit: (12, partial(imagecodecs.jpeg8_encode, bitspersample=12)),
        JPEGLosslessSV1: (12, partial(imagecodecs.ljpeg_encode, bitspersample=12)),
        JPEGLSLossless: (12, imagecodecs.jpegls_encode),
        JPEG2000Lossless: (12, partial(imagecodecs.jpeg2k_encode, codecformat="j2k")),
        HTJ2K: (12, imagecodecs.htj2k_encode),
        RLELossless: (12, _rle),
    }
    for syntax, (bits, encode) in streams.items():
        grey = encode(grey8 if bits == 8 else grey12)
        yield _encapsulated(syntax, [grey], **_bits(bits))
        yield _encapsulated(syntax, [grey, grey, grey], **_bits(bits))
        if syntax not in {JPEGExtended12Bit, JPEGLosslessSV1}:
            colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
            colours |= {"PlanarConfiguration": 0, **_bits(8)}
            yield _encapsulated(syntax, [encode(rgb)], **colours)


def _encapsulated(syntax: UID, frames: list[bytes], **values: Any) -> FileDataset:
    fragments = 2 if len(frames) > 1 else 1
    image = ct(size=_SIDE, NumberOfFrames=len(frames), **values)
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate(frames, fragments_per_frame=fragments)
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    return image


def _rle(pixels: NDArray[Any]) -> bytes:
    """Return an RLE frame (PS3.5 G): a segment for each byte of each sample, highest first."""
    samples = pixels.reshape(_SIDE * _SIDE, -1)
    width = samples.dtype.itemsize
    planes = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8)
    segments = [
        imagecodecs.packbits_encode(np.ascontiguousarray(planes[:, index]).tobytes())
        for index in range(samples.shape[1] * width)
    ]
    segments = [segment + bytes(len(segment) % 2) for segment in segments]
    starts = np.cumsum([64, *map(len, segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = starts
    return header.tobytes() + b"".join(segments)
