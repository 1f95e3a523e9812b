"""Samples to a picture: grey through modality and VOI LUT, colour as RGB, 8 bits a channel.

The order is the standard's: modality LUT, VOI LUT, then the inversion of MONOCHROME1
(PS3.3 C.11.1, C.11.2, C.7.6.3.1.2); colour goes through none of these.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Invalid
from hilum.imaging.colour import to_rgb8
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import Function, GreyTransform, Rescale, Voi, Window
from hilum.imaging.overlays import Overlay, burnt_in
from hilum.imaging.rendering import Rendering, Shape, Unfulfillable
from hilum.imaging.viewport import fitted, reduced
from hilum.imaging.window import modality_values, to_grey8

__all__ = ["Rendering", "render"]

#: What a photometric interpretation says where no Presentation LUT Shape is asked for.
_SHAPES: Final[dict[str, Shape]] = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def render(
    description: ImageDescription,
    pixels: NDArray[Any],
    frame_index: int,
    rendering: Rendering,
    photometric_interpretation: str | None = None,
    overlays: Sequence[Overlay] = (),
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
    overlays
        To be burnt in, white.

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
    if pixels.ndim == 2 and photometric in _SHAPES:
        transform = description.transform(frame_index)
        voi = _voi(description, pixels, transform, rendering)
        # The shape takes the place of the photometric interpretation (PS3.3 C.11.6.1.2).
        shape = rendering.presentation or _SHAPES[photometric]
        inverse = (shape == "INVERSE") != rendering.invert
        picture = to_grey8(pixels, transform.modality, voi, inverse=inverse)
    else:
        picture = to_rgb8(description, pixels, photometric)
        if rendering.invert:
            picture = 255 - picture
    for overlay in overlays:
        picture = burnt_in(picture, overlay, frame_index)
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
        if isinstance(chosen, Window):
            return replace(chosen, function=rendering.function or _function(chosen, pixels))
        return chosen
    return _full_range(description, pixels, transform)


def _function(window: Window, pixels: NDArray[Any]) -> Function:
    """Return how a file's own window is meant.

    LINEAR counts integers: of width 1 it is a threshold (PS3.3 C.11.2.1.2.1). Nobody means
    that for floating-point values from 0 to 1, yet parametric maps come with it.
    """
    if pixels.dtype.kind == "f" and window.function == "LINEAR" and window.width <= 1:
        return "LINEAR_EXACT"
    return window.function


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
