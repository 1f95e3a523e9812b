"""Grey values to the display: modality LUT, VOI LUT, 8 bits (PS3.3 C.11.1, C.11.2).

Stored values of up to 16 bits go through a table with an entry for each bit pattern,
computed once in float64: every pixel is exact, at the price of one look-up. Wider and
floating-point values are computed one by one, by the same formulas.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hilum.imaging.grey import Modality, Rescale, Voi, Window

#: Pixels taken at a time: their 8-byte indices then stay in the processor's cache.
_TILE_PIXELS: Final = 1 << 14
_TABLES: Final = 128


def to_grey8(
    stored: NDArray[Any], modality: Modality, voi: Voi, *, inverse: bool
) -> NDArray[np.uint8]:
    """Return stored values as shown.

    Parameters
    ----------
    stored
        Any shape; integers as stored, or floating-point pixels.
    modality
        Stored to modality values.
    voi
        A window, or a VOI LUT, over modality values.
    inverse
        The lowest value is shown white (MONOCHROME1).

    Returns
    -------
    numpy.ndarray
        uint8 of the same shape: ``floor(y + 0.5)`` of the exact value, 0 black.
    """
    if stored.dtype.kind == "f" or stored.dtype.itemsize > 2:
        return _by_arithmetic(stored, modality, voi, inverse=inverse)
    table = _table(stored.dtype.str, modality, voi, inverse)
    return look_up(table, stored)


def modality_values(stored: NDArray[Any], modality: Modality) -> NDArray[np.float64]:
    """Return stored values through the modality LUT (PS3.3 C.11.1)."""
    values = stored.astype(np.float64)
    if isinstance(modality, Rescale):
        return modality.slope * values + modality.intercept
    return modality.map(values)


def displayed(values: NDArray[np.float64], voi: Voi) -> NDArray[np.float64]:
    """Return modality values on the scale 0 to 255, not rounded (PS3.3 C.11.2.1)."""
    if not isinstance(voi, Window):
        return voi.map(values) * (255.0 / ((1 << voi.bits) - 1))
    center, width = voi.center, voi.width
    if voi.function == "SIGMOID":
        # Beyond ±700 the exponential overflows where the result is 0 or 255 anyway.
        exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return 255.0 / (1.0 + np.exp(exponent))
    if voi.function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    low, high = center - width / 2.0, center + width / 2.0
    # A window of width 1 (LINEAR) is a threshold; nothing lies between its ends.
    slanted = ((values - center) / (width or 1.0) + 0.5) * 255.0
    return np.where(values <= low, 0.0, np.where(values > high, 255.0, slanted))


def _shown(
    stored: NDArray[Any], modality: Modality, voi: Voi, *, inverse: bool
) -> NDArray[np.uint8]:
    # Floating-point pixels may be NaN, shown black, or too large for the arithmetic.
    with np.errstate(over="ignore", invalid="ignore"):
        shades = displayed(modality_values(stored, modality), voi)
        if inverse:
            shades = 255.0 - shades
        return np.nan_to_num(np.floor(shades + 0.5)).astype(np.uint8)


@lru_cache(maxsize=_TABLES)
def _table(dtype: str, modality: Modality, voi: Voi, inverse: bool) -> NDArray[np.uint8]:
    """Return the shade of every bit pattern of `dtype`, read as unsigned."""
    bits = 8 * np.dtype(dtype).itemsize
    patterns = np.arange(1 << bits, dtype=f"u{bits // 8}")
    table = _shown(patterns.view(dtype), modality, voi, inverse=inverse)
    table.flags.writeable = False
    return table


def look_up(table: NDArray[np.uint8], stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the entry of `table` for each bit pattern of `stored`, which has 8 or 16 bits."""
    patterns = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}").reshape(-1)
    shown = np.empty(patterns.size, np.uint8)
    indices = np.empty(_TILE_PIXELS, np.intp)
    for begin in range(0, patterns.size, _TILE_PIXELS):
        tile = patterns[begin : begin + _TILE_PIXELS]
        indices[: tile.size] = tile
        table.take(indices[: tile.size], out=shown[begin : begin + tile.size], mode="clip")
    return shown.reshape(stored.shape)


def _by_arithmetic(
    stored: NDArray[Any], modality: Modality, voi: Voi, *, inverse: bool
) -> NDArray[np.uint8]:
    values = np.ascontiguousarray(stored).reshape(-1)
    shown = np.empty(values.size, np.uint8)
    for begin in range(0, values.size, _TILE_PIXELS):
        tile = values[begin : begin + _TILE_PIXELS]
        shown[begin : begin + _TILE_PIXELS] = _shown(tile, modality, voi, inverse=inverse)
    return shown.reshape(stored.shape)
