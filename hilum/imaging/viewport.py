"""A picture cut out, mirrored and brought to the size it is wanted in."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.imaging.rendering import Unfulfillable, Viewport

_RESAMPLING: Final = Image.Resampling.BICUBIC
#: Whole-number reduction first, which halves the work and is as good.
_REDUCING_GAP: Final = 2.0


def reduced(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the picture with its longest side no longer than `size` pixels."""
    rows, columns = picture.shape[:2]
    longest = max(rows, columns)
    if longest <= size:
        return picture
    scale = size / longest
    whole = (0.0, 0.0, float(columns), float(rows))
    return _resampled(picture, whole, columns * scale, rows * scale)


def fitted(
    picture: NDArray[np.uint8], viewport: Viewport, pixel_aspect: float
) -> NDArray[np.uint8]:
    """Return the part of a picture that `viewport` shows, as large as fits into it.

    Parameters
    ----------
    pixel_aspect
        Height of a pixel of `picture`, divided by its width. Pixels returned are square.

    Raises
    ------
    Unfulfillable
        The region lies outside the picture, wholly or in part.

    References
    ----------
    PS3.18 8.3.5.1.3
    """
    rows, columns = picture.shape[:2]
    left, right, mirrored = _span(viewport.left, viewport.width, columns, "columns")
    top, bottom, upside_down = _span(viewport.top, viewport.height, rows, "rows")
    width, height = right - left, (bottom - top) * pixel_aspect
    scale = min(viewport.columns / width, viewport.rows / height)
    shown = _resampled(picture, (left, top, right, bottom), width * scale, height * scale)
    if mirrored:
        shown = shown[:, ::-1]
    return np.ascontiguousarray(shown[::-1] if upside_down else shown)


def _span(begin: float, extent: float | None, limit: int, what: str) -> tuple[float, float, bool]:
    """Return where a region begins and ends along one side, and whether it is reversed."""
    end = limit if extent is None else begin + abs(extent)
    if begin >= limit or end > limit:
        raise Unfulfillable(f"the region goes beyond the frame, which has {limit} {what}")
    return begin, end, extent is not None and extent < 0


def _resampled(
    picture: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    width: float,
    height: float,
) -> NDArray[np.uint8]:
    # What lies beyond the region must not shine in: it is cut away before, not after.
    left, top = math.floor(box[0]), math.floor(box[1])
    part = picture[top : math.ceil(box[3]), left : math.ceil(box[2])]
    target = (max(1, round(width)), max(1, round(height)))
    within = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    if within == (0, 0, *target):
        return part
    image = Image.fromarray(np.ascontiguousarray(part))
    return np.asarray(image.resize(target, _RESAMPLING, within, reducing_gap=_REDUCING_GAP))
