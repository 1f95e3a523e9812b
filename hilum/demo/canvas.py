"""Painting into arrays: soft-edged ellipses, tubes along curves, smooth noise.

Coordinates are pixels, x to the right and y down, the first pixel's centre at (0, 0).
Everything changes the given float32 array in place and touches only the window it needs.
"""

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


def paint_ellipse(
    picture: Picture,
    center: tuple[float, float],
    radii: tuple[float, float],
    value: float | Picture,
    *,
    angle: float = 0.0,
    power: float = 2.0,
) -> None:
    """Cover an ellipse with `value`, its edge softened over about a pixel.

    Parameters
    ----------
    picture
        ``(rows, columns)``.
    center, radii
        As x, y in pixels. An ellipse without extent paints nothing.
    value
        A number, or a picture of the same shape to take the values from.
    angle
        Of the first radius against the x axis, in radians, clockwise on the screen.
    power
        2 for an ellipse, more for a shape with fuller corners.
    """
    window, cover = coverage(picture.shape, center, radii, angle=angle, power=power)
    source = value[window] if isinstance(value, np.ndarray) else np.float32(value)
    picture[window] += cover * (source - picture[window])


def coverage(
    shape: tuple[int, ...],
    center: tuple[float, float],
    radii: tuple[float, float],
    *,
    angle: float = 0.0,
    power: float = 2.0,
) -> tuple[tuple[slice, slice], Picture]:
    """Return the window an ellipse lies in and how much of each pixel it covers, 0 to 1."""
    a, b = radii
    reach = max(a, b) + 2
    window = (_span(center[1], reach, shape[0]), _span(center[0], reach, shape[1]))
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - center[1]
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - center[0]
    if min(a, b) < 0.5:
        return window, np.zeros((y.shape[0], x.shape[1]), np.float32)
    if angle:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y = x * cosine + y * sine, y * cosine - x * sine
    if power == 2:
        distance = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    else:
        distance = (np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power)
    # Times the smaller radius: about pixels, which is where softness is measured.
    cover = np.clip((1 - distance) * np.float32(min(a, b)) + np.float32(0.5), 0, 1)
    return window, cover.astype(np.float32, copy=False)


def paint_tube(
    picture: Picture, points: Points, radii: Points | float, weights: Points | float = 1.0
) -> None:
    """Raise pixels along a curve to the depth of a round tube seen from the side.

    Parameters
    ----------
    picture
        ``(rows, columns)``; every pixel becomes the larger of itself and the tube.
    points
        ``(n, 2)`` as x, y, dense enough to touch each other.
    radii
        Of the tube at each point, in pixels.
    weights
        What the tube's middle is worth at each point.

    Notes
    -----
    A point whose tube would reach over the picture's edge is left out.
    """
    count = len(points)
    radius = np.broadcast_to(np.asarray(radii, np.float32), count)
    weight = np.broadcast_to(np.asarray(weights, np.float32), count)
    shown = (weight > 0.004) & (radius > 0.2)
    reaches = np.where(shown, np.ceil(radius + 0.5), 0).astype(int)
    # Points of one size together: most are small, and a patch costs its square. Of a wide
    # tube every few points will do: their circles differ by less than can be seen.
    for reach in np.unique(reaches[shown]):
        chosen = np.flatnonzero(reaches == reach)[:: max(1, round(reach / 2.5))]
        _stamp(picture, points[chosen], radius[chosen], weight[chosen], int(reach))


def _stamp(picture: Picture, points: Points, radius: Picture, weight: Picture, reach: int) -> None:
    offsets = np.arange(-reach, reach + 1)
    corner = np.rint(points).astype(np.int32)
    inside = (
        (corner >= reach) & (corner < (picture.shape[1] - reach, picture.shape[0] - reach))
    ).all(1)
    corner, radius, weight = corner[inside], radius[inside], weight[inside]
    away = (corner - points[inside]).astype(np.float32)
    across = (away[:, 0, None] + offsets) ** 2
    down = (away[:, 1, None] + offsets) ** 2
    depth = (
        1 - (across[:, None, :] + down[:, :, None]) / (radius[:, None, None] + np.float32(0.5)) ** 2
    )
    value = weight[:, None, None] * np.sqrt(np.maximum(depth, 0))
    address = (corner[:, 1, None, None] + offsets[:, None]) * picture.shape[1] + (
        corner[:, 0, None, None] + offsets
    )
    np.maximum.at(picture.reshape(-1), address.ravel(), value.ravel())


def smooth_noise(
    random: np.random.Generator, shape: tuple[int, ...], wavelength: float, octaves: float = 1.0
) -> Picture:
    """Return noise of mean 0 and deviation 1 whose features are about `wavelength` pixels.

    Parameters
    ----------
    shape
        Of the result; every axis counts in the same pixels.
    octaves
        Width of the band of wavelengths: narrow bands meander like folds, wide ones
        mottle.
    """
    spectrum = np.fft.rfftn(random.standard_normal(shape, np.float32))
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squared = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    frequency = np.sqrt(np.maximum(squared, 1e-12))
    band = np.exp(-0.5 * (np.log2(frequency * wavelength) / octaves) ** 2)
    noise = np.fft.irfftn(spectrum * band, s=shape, axes=tuple(range(len(shape))))
    noise -= noise.mean()
    result: Picture = (noise / noise.std()).astype(np.float32)
    return result


def curve(knots: list[tuple[float, ...]], count: int) -> Points:
    """Return `count` points of a smooth curve through `knots` (Catmull-Rom).

    Parameters
    ----------
    knots
        At least two points of any one dimension.
    """
    known = np.asarray(knots, np.float64)
    padded = np.vstack([2 * known[0] - known[1], known, 2 * known[-1] - known[-2]])
    position = np.linspace(0, len(known) - 1, count)
    index = np.minimum(position.astype(int), len(known) - 2)
    t = (position - index)[:, None]
    p0, p1, p2, p3 = (padded[index + k] for k in range(4))
    result: Points = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return result


def enlarge(picture: Picture, factor: int) -> Picture:
    """Return `picture` with `factor` times the rows and columns, interpolated."""
    for axis in (0, 1):
        size = picture.shape[axis]
        position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        below = np.minimum(position.astype(int), size - 2)
        part = (position - below).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        low, high = np.take(picture, below, axis), np.take(picture, below + 1, axis)
        picture = low + part * (high - low)
    return picture


def _span(middle: float, reach: float, size: int) -> slice:
    low = min(max(int(np.floor(middle - reach)), 0), size)
    return slice(low, max(low, min(int(np.ceil(middle + reach)) + 1, size)))
