"""A chest in projection radiography: two views through one set of three-dimensional shapes.

What a detector sees is the way through each tissue times its density. The way through an
ellipsoid is known in closed form; ribs, collar bones and lung vessels are tubes along
curves in space, laid on the plane of the view.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hilum.demo.canvas import Picture, Points, curve, enlarge, paint_tube, smooth_noise

ROWS, COLUMNS = 1536, 1280
PIXEL_MM = 0.25

View = Literal["PA", "LL"]

# Drawn at half the size: no edge in here is sharper than a detector would blur it.
_H, _W = ROWS // 2, COLUMNS // 2
_STEP = PIXEL_MM * 2
_RISE = 40  # pixels the middle of the lungs stands above the picture's

#: x to the patient's left, y to the back, z to the feet: middle, then radii, in mm; then
#: density against what is around it.
_SOFT: Final = (
    ((0, 0, 100), (150, 98, 268), 1.0),  # trunk
    ((0, 8, -190), (52, 54, 150), 0.8),  # neck
    ((74, -20, 104), (24, 30, 18), -0.7),  # air in the stomach
    ((26, -24, 62), (60, 44, 48), 0.75),  # heart
    ((-12, -20, 54), (38, 40, 44), 0.5),
    ((20, 14, -50), (16, 24, 20), 0.6),  # aortic arch
    ((0, -10, -30), (22, 40, 76), 0.3),
)
#: The same of the lungs, and how high the diaphragm stands under each, in mm.
_LUNGS: Final = (
    ((-66, 2, -14), (56, 76, 134), -0.86, 66),
    ((66, 2, -10), (54, 76, 136), -0.86, 80),
)


def view(projection: View) -> npt.NDArray[np.uint16]:
    """Return one view, ``(1536, 1280)``, 12 bits, bright where much is in the way."""
    flat = _soft_tissue(projection) + _bones(projection) + _lung_markings(projection)
    flat = _blur(flat)
    random = np.random.default_rng(1895)
    picture = enlarge(flat, 2)
    # The logarithm of what arrives, as a film shows it; less arrives, more noise.
    picture = 3350 * (1 - np.exp(-np.maximum(picture, 0) / 125)) + 90
    picture += random.standard_normal(picture.shape, np.float32) * (6 + picture * 0.006)
    picture += enlarge(smooth_noise(random, (_H, _W), 14), 2) * 9
    return np.clip(np.rint(picture), 0, 4095).astype(np.uint16)


def _plane(points: Points, projection: View) -> Points:
    """Return where points in space fall on the view, in its pixels."""
    across = points[:, 0] if projection == "PA" else points[:, 1]
    return np.column_stack([_W / 2 + across / _STEP, _H / 2 - _RISE + points[:, 2] / _STEP])


def _soft_tissue(projection: View) -> Picture:
    row = (np.arange(_H, dtype=np.float32)[:, None] - _H / 2 + _RISE) * np.float32(_STEP)
    column = (np.arange(_W, dtype=np.float32)[None, :] - _W / 2) * np.float32(_STEP)

    def through(
        middle: tuple[float, float, float], radii: tuple[float, float, float], density: float
    ) -> Picture:
        (x, y, z), (a, b, c) = middle, radii
        across, wide, deep = (x, a, b) if projection == "PA" else (y, b, a)
        height = ((row - z) / c) ** 2
        if c > 200:  # a trunk is no ellipsoid: its sides are straight
            height = height**3
        rest = 1 - ((column - across) / wide) ** 2 - height
        return np.sqrt(np.maximum(rest, 0)) * np.float32(2 * deep * density)

    way = np.zeros((_H, _W), np.float32)
    for middle, radii, density in _SOFT:
        way += through(middle, radii, density)
    for middle, radii, density, dome in _LUNGS:
        # The diaphragm rises into the lung: it stands highest in its middle.
        slope = (column - (middle[0] * 0.8 if projection == "PA" else -8)) / radii[0]
        edge = dome + 17 * slope**2 * (1.0 if projection == "PA" else 0.9)
        above = 1 / (1 + np.exp(np.clip((row - edge) / 1.6, -30, 30)))
        way += through(middle, radii, density) * above.astype(np.float32)
    return way * np.float32(1 if projection == "PA" else 0.72)


def _bones(projection: View) -> Picture:
    total = np.zeros((_H, _W), np.float32)

    def add(points: Points, radius_mm: float, weight: float) -> None:
        layer = np.zeros_like(total)
        paint_tube(layer, _plane(points, projection), radius_mm / _STEP, weight)
        # The shell of a bone is dense, its middle is not: edges stand out.
        core = np.zeros_like(total)
        paint_tube(core, _plane(points, projection), radius_mm * 0.7 / _STEP, weight * 0.5)
        np.add(total, layer - core * 0.8, out=total)

    for side in (-1, 1):
        for rib in range(10):
            wide = 88 + 50 * np.sin(min(1.0, (rib + 1) / 7) * np.pi / 2)
            top = -128 + rib * 26
            turn = np.linspace(0.12, 2.55 - 0.06 * rib, 240)
            around = np.column_stack(
                [
                    side * (wide * np.sin(turn) ** 0.8),
                    84 * np.cos(turn) + 2,
                    top + 30 * turn - 12 * np.sin(turn),
                ]
            )
            add(around, 6.2, 17)
        collar = curve(
            [(side * 14, -66, -112), (side * 60, -58, -124), (side * 132, -8, -142)], 200
        )
        add(collar, 6.5, 24)
        blade = curve([(side * 92, 84, -110), (side * 104, 88, -40), (side * 88, 90, 20)], 160)
        add(blade, 4, 12)
    for level in range(17):  # the spine: blocks with gaps
        z = -210 + level * 27.5
        block = np.column_stack([np.zeros(40), np.full(40, 58.0), np.linspace(z - 8, z + 8, 40)])
        add(block, 16, 30)
        add(curve([(-20, 72, z), (20, 72, z)], 40), 3.5, 10)
    add(curve([(0, -88, -100), (0, -96, 10)], 150), 9 if projection == "PA" else 5, 12)
    airway = np.zeros_like(total)
    tube = curve([(2, 2, -230), (2, 6, -100), (0, 12, -44)], 200)
    paint_tube(airway, _plane(tube, projection), 8.5 / _STEP, 15)
    return total - airway


def _lung_markings(projection: View) -> Picture:
    random = np.random.default_rng(7)
    markings = np.zeros((_H, _W), np.float32)
    for side in (-1, 1):
        hilum = np.array([side * 30.0, 10.0, -12.0])
        for _ in range(95):
            end = np.array([side * 66.0, 2.0, -14.0]) + random.normal(size=3) * (22, 32, 58)
            bend = (hilum + end) / 2 + random.normal(size=3) * 9
            path = curve([tuple(hilum), tuple(bend), tuple(end)], 170)
            thickness = np.linspace(3.6, 0.5, 170)
            layer_points = _plane(path, projection)
            paint_tube(markings, layer_points, thickness / _STEP, thickness * 5.2)
    return markings


def _blur(picture: Picture) -> Picture:
    for _ in range(2):
        padded = np.pad(picture, 1, mode="edge")
        rows = 2 * padded[1:-1] + padded[:-2] + padded[2:]
        picture = (2 * rows[:, 1:-1] + rows[:, :-2] + rows[:, 2:]) * np.float32(1 / 16)
    return picture
