"""Colour to the display: RGB, YCbCr or a palette as RGB of 8 bits (PS3.3 C.7.6.3.1.2)."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Unsupported
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import Rescale, Window
from hilum.imaging.lut import LookupTable
from hilum.imaging.window import to_grey8

# What Cr adds to red, Cb to blue and both to green (ITU-R BT.601, PS3.3 C.7.6.3.1.2), as
# fractions of integers: some sums are exact halves, which binary fractions would miss.
_RED_CR: Final = (1402, 1000)
_BLUE_CB: Final = (1772, 1000)
_GREEN_CB_CR: Final = (-114 * 1772, -299 * 1402, 587 * 1000)
_TILE_PIXELS: Final = 1 << 16


def to_rgb8(
    description: ImageDescription, pixels: NDArray[Any], photometric: str
) -> NDArray[np.uint8]:
    """Return colour samples, or indices of a palette, as RGB.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` of a palette, else ``(rows, columns, 3)``.
    photometric
        Photometric Interpretation of `pixels`.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns, 3)`` uint8.

    Raises
    ------
    Unsupported
        The photometric interpretation is not one this node draws.
    """
    if pixels.ndim == 2 and photometric == "PALETTE COLOR" and description.palette:
        return _through_palette(pixels, description.palette)
    if pixels.ndim == 3 and photometric == "RGB":
        return _eight_bits(description, pixels)
    if pixels.ndim == 3 and photometric == "YBR_FULL":
        return _rgb(_eight_bits(description, pixels))
    raise Unsupported(
        f"Photometric Interpretation (0028,0004) {photometric} "
        f"with {description.samples_per_pixel} samples a pixel is not drawn"
    )


def _eight_bits(description: ImageDescription, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return colour samples on the scale of 8 bits."""
    if description.bits_stored == 8 and pixels.dtype == np.uint8:
        return pixels
    full = Window(1 << (description.bits_stored - 1), 1 << description.bits_stored, "LINEAR")
    return to_grey8(pixels, Rescale(), full, inverse=False)


def _rgb(ybr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return YBR_FULL as RGB, rounded to nearest (PS3.3 C.7.6.3.1.2)."""
    # What lies between takes five times as much as the picture: some rows at a time.
    rgb = np.empty(ybr.shape, np.uint8)
    rows = max(1, _TILE_PIXELS // ybr.shape[1])
    for first in range(0, ybr.shape[0], rows):
        rgb[first : first + rows] = _tile_rgb(ybr[first : first + rows])
    return rgb


def _tile_rgb(ybr: NDArray[np.uint8]) -> NDArray[np.int16]:
    red_of_cr, green_of_cb_cr, blue_of_cb = _chroma_tables()
    luminance, cb, cr = (ybr[..., channel] for channel in range(3))
    rgb = np.empty(ybr.shape, np.int16)
    np.add(luminance, red_of_cr[cr], out=rgb[..., 0])
    np.add(luminance, green_of_cb_cr[cb.astype(np.uint16) << 8 | cr], out=rgb[..., 1])
    np.add(luminance, blue_of_cb[cb], out=rgb[..., 2])
    return np.clip(rgb, 0, 255, out=rgb)


@lru_cache(maxsize=1)
def _chroma_tables() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Return what is added to red by Cr, to green by ``Cb * 256 + Cr``, to blue by Cb."""
    chroma = np.arange(256, dtype=np.int64) - 128
    cb_weight, cr_weight, unit = _GREEN_CB_CR
    green = cb_weight * chroma[:, np.newaxis] + cr_weight * chroma
    return (
        _rounded(_RED_CR[0] * chroma, _RED_CR[1]),
        _rounded(green.reshape(-1), unit),
        _rounded(_BLUE_CB[0] * chroma, _BLUE_CB[1]),
    )


def _rounded(numerator: NDArray[np.int64], denominator: int) -> NDArray[np.int16]:
    """Return the quotient, halves rounded up."""
    return ((numerator + denominator // 2) // denominator).astype(np.int16)


@lru_cache(maxsize=16)
def _palette_table(palette: tuple[LookupTable, ...], dtype: str) -> NDArray[np.uint8]:
    """Return the colour of every bit pattern of `dtype`, ``(patterns, 3)``."""
    bits = 8 * np.dtype(dtype).itemsize
    stored = np.arange(1 << bits, dtype=f"u{bits // 8}").view(dtype).astype(np.float64)
    # Of 16-bit entries the high byte is shown, as the standard's own palettes are made.
    channels = [table.map(stored).astype(np.uint16) >> (table.bits - 8) for table in palette]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _through_palette(pixels: NDArray[Any], palette: tuple[LookupTable, ...]) -> NDArray[np.uint8]:
    if pixels.dtype.itemsize > 2:
        raise Unsupported("PALETTE COLOR of more than 16 bits")
    table = _palette_table(palette, pixels.dtype.str)
    return table.take(pixels.view(f"u{pixels.dtype.itemsize}"), axis=0)
