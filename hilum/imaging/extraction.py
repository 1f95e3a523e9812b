"""Samples to a picture the way Orthanc makes one, for clients that are used to it.

No VOI LUT and no padding: ``preview`` stretches whatever range a frame has, ``rendered`` is
a ramp over the window, the other modes cut samples off at the ends of a type. Rounding is
Orthanc's too, so that a client that compares pictures finds them equal.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Unsupported
from hilum.imaging.colour import to_rgb8
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import Rescale
from hilum.imaging.rendering import Extraction
from hilum.imaging.window import look_up

Picture: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_LARGEST_PIXELS: Final = 1 << 26
#: Where the steps of a wider type would need a table of their own.
_TABLE_BYTES: Final = 2
_SMALLEST_SLOPE: Final = 0.0001
#: A row and a column of Pascal's triangle: a Gaussian of 5 x 5.
_KERNEL: Final = (1.0, 4.0, 6.0, 4.0, 1.0)


def extract(
    description: ImageDescription,
    pixels: NDArray[Any],
    frame_index: int,
    extraction: Extraction,
    photometric: str,
) -> Picture:
    """Return a decoded frame as a picture.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)``, from `decode_frame`.
    frame_index
        From 0; chooses among the per-frame transforms.
    photometric
        Of `pixels`, from `decoded_photometric_interpretation`.

    Returns
    -------
    numpy.ndarray
        uint8, or uint16 (``int16``: two's complement); ``(rows, columns)`` grey or
        ``(rows, columns, 3)`` RGB.

    Raises
    ------
    Unsupported
        Colours were asked for as grey values, or are of a kind this node does not draw; or
        the picture would be larger than this node makes.
    """
    grey = pixels.ndim == 2 and photometric in _GREY
    if grey and description.bits_stored == 1:
        pixels = pixels * np.uint8(255)
    if extraction.mode in {"uint8", "uint16", "int16"}:
        if not grey:
            raise Unsupported("colours are not cut off to grey values")
        return _clipped(pixels, np.dtype(extraction.mode))
    inverse = photometric == "MONOCHROME1"
    if not grey:
        picture = to_rgb8(description, pixels, photometric)
    elif extraction.mode == "preview":
        picture = _stretched(pixels, inverse=inverse)
    else:
        picture = _windowed(description, pixels, frame_index, extraction)
    if extraction.mode == "rendered":
        picture = _fitted(picture, extraction)
        # Behind the resizing: a blur rounds down, and dark is not what bright is.
        return np.invert(picture) if grey and inverse else picture
    return picture


def _clipped(pixels: NDArray[Any], target: np.dtype[Any]) -> Picture:
    limits = np.iinfo(target)
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels)
    cut: NDArray[Any] = np.clip(pixels, limits.min, limits.max).astype(target)
    clipped: Picture = cut.view(f"u{target.itemsize}")
    return clipped


def _stretched(pixels: NDArray[Any], *, inverse: bool) -> NDArray[np.uint8]:
    """Return grey values with the darkest black and the brightest white, or the reverse."""
    values = np.nan_to_num(pixels) if pixels.dtype.kind == "f" else pixels
    low, high = float(values.min()), float(values.max())
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.float32(255) / np.float32(high - low) if high > low else np.float32(0)
        offset = np.float32(-low) * scale

    def shades(stored: NDArray[Any]) -> NDArray[np.uint8]:
        exact = stored.astype(np.float32) * scale + offset
        grey = _bytes(np.floor(exact.astype(np.float64) + 0.5))
        return np.invert(grey) if inverse else grey

    return _mapped(values, shades)


def _windowed(
    description: ImageDescription, pixels: NDArray[Any], frame_index: int, extraction: Extraction
) -> NDArray[np.uint8]:
    """Return grey values on a ramp from black, where the window begins, to white."""
    transform = description.transform(frame_index)
    # A dose keeps its stored values: its scaling makes gray, not shades.
    plain = description.is_dose or not isinstance(transform.modality, Rescale)
    modality = Rescale() if plain else transform.modality
    assert isinstance(modality, Rescale)
    if transform.windows:
        center, width = transform.windows[0].center, transform.windows[0].width
    else:
        width = float(1 << description.bits_stored)
        center = width / 2.0
    if extraction.center is not None:
        center = extraction.center
    if extraction.width is not None:
        width = extraction.width
    width = max(width, 1.0)
    slope = modality.slope if abs(modality.slope) > _SMALLEST_SLOPE else _SMALLEST_SLOPE
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.float32(255.0 * slope / width)
        offset = np.float32((modality.intercept - center + width / 2.0) / slope) * scale

    def shades(stored: NDArray[Any]) -> NDArray[np.uint8]:
        return _bytes(np.floor(stored.astype(np.float32) * scale + offset))

    return _mapped(pixels, shades)


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return whole numbers cut off at 0 and 255; what is none is 0."""
    grey: NDArray[np.uint8] = np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)
    return grey


def _mapped(
    pixels: NDArray[Any], shades: Callable[[NDArray[Any]], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the shade of each sample: by a table where there are no more than 65536."""
    with np.errstate(over="ignore", invalid="ignore"):
        if pixels.dtype.kind == "f" or pixels.dtype.itemsize > _TABLE_BYTES:
            return np.stack([shades(row) for row in pixels])
        patterns = np.arange(1 << 8 * pixels.dtype.itemsize, dtype=f"u{pixels.dtype.itemsize}")
        return look_up(shades(patterns.view(pixels.dtype)), pixels)


def _fitted(picture: NDArray[np.uint8], extraction: Extraction) -> NDArray[np.uint8]:
    """Return the picture in the box it is wanted in, by the nearest pixels, not distorted."""
    rows, columns = picture.shape[:2]
    ratios = [
        np.float32(wanted) / np.float32(side)
        for wanted, side in ((extraction.columns, columns), (extraction.rows, rows))
        if wanted
    ]
    if not ratios:
        return picture
    target_columns, target_rows = (
        max(1, int(np.floor(min(ratios) * side + 0.5))) for side in (columns, rows)
    )
    if (target_rows, target_columns) == (rows, columns):
        return picture
    if target_rows * target_columns > _LARGEST_PIXELS:
        raise Unsupported(f"a picture may have {_LARGEST_PIXELS} pixels at most")
    if extraction.smooth and (target_columns < columns or target_rows < rows):
        picture = _blurred(picture)
    across, down = _nearest(columns, target_columns), _nearest(rows, target_rows)
    return np.ascontiguousarray(picture[down][:, across])


def _nearest(source: int, target: int) -> NDArray[np.intp]:
    scale = np.float32(source) / np.float32(max(target, 1))
    places = np.floor((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale)
    nearest: NDArray[np.intp] = np.minimum(places.astype(np.intp), source - 1)
    return nearest


def _blurred(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture through a Gaussian; what is beyond an edge is as the edge is."""
    exact = picture.astype(np.float32)
    for axis in (1, 0):
        padding = [(2, 2) if each == axis else (0, 0) for each in range(picture.ndim)]
        padded = np.pad(exact, padding, mode="edge")
        length = picture.shape[axis]
        exact = np.zeros_like(exact)
        for place, weight in enumerate(_KERNEL):
            exact += np.float32(weight) * padded.take(range(place, place + length), axis=axis)
    return (exact / np.float32(256)).astype(np.uint8)
