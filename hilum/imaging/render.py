"""Samples to a picture: grey through modality and VOI LUT, colour as RGB, 8 bits a channel.

The order is the standard's: modality LUT, VOI LUT, then the inversion of MONOCHROME1
(PS3.3 C.11.1, C.11.2, C.7.6.3.1.2); colour goes through none of these.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Invalid, Unsupported
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import GreyTransform, Rescale, Voi, Window
from hilum.imaging.lut import LookupTable
from hilum.imaging.rendering import Rendering, Unfulfillable
from hilum.imaging.viewport import fitted, reduced
from hilum.imaging.window import modality_values, to_grey8

__all__ = ["Rendering", "render"]

# What Cr adds to red, Cb to blue and both to green (ITU-R BT.601, PS3.3 C.7.6.3.1.2), as
# fractions of integers: some sums are exact halves, which binary fractions would miss.
_RED_CR: Final = (1402, 1000)
_BLUE_CB: Final = (1772, 1000)
_GREEN_CB_CR: Final = (-114 * 1772, -299 * 1402, 587 * 1000)


def render(
    description: ImageDescription,
    pixels: NDArray[Any],
    frame_index: int,
    rendering: Rendering,
    photometric_interpretation: str | None = None,
) -> NDArray[np.uint8]:
    """Return a decoded frame as a picture.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)``, from `decode_frame`.
    frame_index
        From 0; chooses among the per-frame transforms.
    photometric_interpretation
        Of `pixels`, from `decoded_photometric_interpretation`; else the attribute.

    Returns
    -------
    numpy.ndarray
        uint8, ``(rows, columns)`` grey or ``(rows, columns, 3)`` RGB.

    Raises
    ------
    Unfulfillable
        The window or region asked for is not there, or the window is impossible with the
        file's VOI LUT function.
    Unsupported
        The photometric interpretation is not one this node draws.
    """
    photometric = photometric_interpretation or description.photometric_interpretation
    if pixels.ndim == 2 and photometric in {"MONOCHROME1", "MONOCHROME2"}:
        transform = description.transform(frame_index)
        voi = _voi(description, pixels, transform, rendering)
        inverse = (photometric == "MONOCHROME1") != rendering.invert
        picture = to_grey8(pixels, transform.modality, voi, inverse=inverse)
    else:
        picture = _colour(description, pixels, photometric)
        if rendering.invert:
            picture = 255 - picture
    if rendering.viewport is not None:
        picture = fitted(picture, rendering.viewport, description.pixel_aspect)
    return picture if rendering.size is None else reduced(picture, rendering.size)


def _voi(
    description: ImageDescription,
    pixels: NDArray[Any],
    transform: GreyTransform,
    rendering: Rendering,
) -> Voi:
    """Return what is asked for, else the file's window, its LUT, or the frame's own range."""
    if rendering.center is not None and rendering.width is not None:
        function = rendering.function or transform.function
        try:
            return Window(rendering.center, rendering.width, function)
        except Invalid as error:
            raise Unfulfillable(str(error)) from error
    choices: tuple[Voi, ...] = transform.windows or transform.voi_luts
    if rendering.window_index >= max(len(choices), 1):
        raise Unfulfillable(
            f"there is no window {rendering.window_index}; there are {len(choices)}"
        )
    if choices:
        chosen = choices[rendering.window_index]
        if rendering.function is not None and isinstance(chosen, Window):
            return replace(chosen, function=rendering.function)
        return chosen
    return _full_range(description, pixels, transform)


def _full_range(
    description: ImageDescription, pixels: NDArray[Any], transform: GreyTransform
) -> Window:
    """Return a window from the darkest to the brightest value that is no padding."""
    if (
        description.bits_stored <= 8
        and not description.signed
        and transform.modality == Rescale()
        and not description.is_label_map
    ):
        # Ready for display; a stretch of its own for each frame would make cines flicker.
        low, high = 0.0, float((1 << description.bits_stored) - 1)
    else:
        low, high = _extremes(description, pixels, transform)
    return Window((low + high + 1.0) / 2.0, high - low + 1.0, "LINEAR")


def _extremes(
    description: ImageDescription, pixels: NDArray[Any], transform: GreyTransform
) -> tuple[float, float]:
    values = pixels
    if description.padding is not None:
        first, last = description.padding
        image = values[(values < first) | (values > last)]
        values = image if image.size else values
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0
    stored = np.array([values.min(), values.max()])
    if isinstance(transform.modality, Rescale):
        ends = modality_values(stored, transform.modality)
    else:
        ends = modality_values(values, transform.modality)
    return float(ends.min()), float(ends.max())


def _colour(
    description: ImageDescription, pixels: NDArray[Any], photometric: str
) -> NDArray[np.uint8]:
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
    red_of_cr, green_of_cb_cr, blue_of_cb = _chroma_tables()
    luminance, cb, cr = (ybr[..., channel] for channel in range(3))
    rgb = np.empty(ybr.shape, np.int16)
    np.add(luminance, red_of_cr[cr], out=rgb[..., 0])
    np.add(luminance, green_of_cb_cr[cb.astype(np.uint16) << 8 | cr], out=rgb[..., 1])
    np.add(luminance, blue_of_cb[cb], out=rgb[..., 2])
    return np.clip(rgb, 0, 255, out=rgb).astype(np.uint8)


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
