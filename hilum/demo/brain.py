"""A head in MR: which tissue is where, and how bright it is under T1 and T2 weighting.

The folds of the cortex are level sets of band-limited noise: they meander as folds do.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hilum.demo.canvas import Picture, paint_ellipse, smooth_noise

SLICES = 22
SIZE = 256
PIXEL_MM = 0.94
SPACING_MM = 6.0

Weighting = Literal["T1", "T2"]

#: Brightness by tissue. Water is dark in T1 and bright in T2; that is most of the story.
_BRIGHTNESS: Final[dict[Weighting, dict[str, float]]] = {
    "T1": {"fat": 900, "bone": 60, "water": 150, "grey": 450, "white": 700, "lesion": 330,
           "nucleus": 560},
    "T2": {"fat": 640, "bone": 40, "water": 1080, "grey": 600, "white": 390, "lesion": 870,
           "nucleus": 470},
}  # fmt: skip
_MIDDLE = (SIZE - 1) / 2


@dataclass(frozen=True)
class _Head:
    """One slice while it is painted; positions in pixels off the picture's middle."""

    picture: Picture
    brightness: dict[str, float]

    def paint(
        self,
        center: tuple[float, float],
        radii: tuple[float, float],
        tissue: str,
        *,
        angle: float = 0.0,
        power: float = 2.0,
    ) -> None:
        """Cover an ellipse with a tissue."""
        middle = (_MIDDLE + center[0], _MIDDLE + center[1])
        value = self.brightness[tissue]
        paint_ellipse(self.picture, middle, radii, value, angle=angle, power=power)


def volume(weighting: Weighting) -> npt.NDArray[np.uint16]:
    """Return the slices from the skull base up, ``(22, 256, 256)``, 12 bits."""
    random = np.random.default_rng(1946)
    # A slice is thick against its pixels: fold every slice anew, but alike at its neighbours.
    folds = smooth_noise(random, (SLICES * 2, SIZE, SIZE), 17, 0.35)[::2]
    warp = smooth_noise(random, (SIZE, SIZE), 60)
    brightness = _BRIGHTNESS[weighting]
    slices = np.stack(
        [_slice(0.13 + 0.85 * i / (SLICES - 1), folds[i], warp, brightness) for i in range(SLICES)]
    )
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32)
    slices *= 1 + 0.13 * (x * x + y * y) - 0.05 * y  # nearer to the coil is brighter
    noise = np.random.default_rng(len(weighting) + ord(weighting[1]))
    real = slices + noise.standard_normal(slices.shape, np.float32) * np.float32(13)
    imaginary = noise.standard_normal(slices.shape, np.float32) * np.float32(13)
    # Magnitude images have Rician noise: the air is never quite black.
    magnitude: Picture = np.rint(np.hypot(real, imaginary))
    return np.minimum(magnitude, 4095).astype(np.uint16)


def _slice(z: float, folds: Picture, warp: Picture, brightness: dict[str, float]) -> Picture:
    """Return one slice; `z` runs from 0 at the skull base to 1 at the vertex."""
    wide = np.sqrt(max(0.0, 1 - ((z - 0.22) / 0.86) ** 2))
    head = _Head(np.zeros((SIZE, SIZE), np.float32), brightness)
    a, b = 86 * wide + 6, 107 * wide + 6
    head.paint((0, 0), (a, b), "fat", power=2.15)
    head.paint((0, 0), (a - 4.5, b - 4.5), "bone", power=2.15)
    brain_a, brain_b = a - 10, b - 10
    head.paint((0, 2), (brain_a + 2.5, brain_b + 2.0), "water", power=2.15)
    _cortex(head, z, (brain_a, brain_b), folds, warp)
    _ventricles(head, z)
    if z < 0.3:
        _below_the_tent(head, z, folds)
    if 0.4 < z < 0.75:  # a few old lesions beside the ventricles
        for x, y, radius in ((-29, -20, 3.4), (31, 14, 4.2), (27, -27, 2.6)):
            size = radius * (1 - abs(z - 0.56) * 4)
            head.paint((x, y), (size, size * 0.8), "lesion", angle=0.6)
    return head.picture


def _cortex(
    head: _Head, z: float, radii: tuple[float, float], folds: Picture, warp: Picture
) -> None:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    x -= np.float32(_MIDDLE)
    y -= np.float32(_MIDDLE + 2)
    power = 2.15
    outside = (np.abs(x / radii[0]) ** power + np.abs(y / radii[1]) ** power) ** (1 / power)
    depth = (1 - outside) * min(radii)  # pixels below the brain's surface
    if z > 0.12:  # the cleft between the halves is surface, too; the callosum closes it
        closed = np.clip(34 - np.abs(y + 4), 0, 20) if 0.45 < z < 0.72 else np.float32(0)
        depth = np.minimum(depth, np.abs(x + warp * 0.7) * 1.15 - 0.6 + closed)
    inside = np.clip(depth + 0.5, 0, 1)
    # Deeper down fewer folds arrive, and they are narrower.
    furrow = np.abs(folds) - np.clip(0.34 - depth / 62, -1, 0.3)
    mantle = np.abs(folds) - np.clip(1.2 - (depth + warp * 1.6) / 26, -1, 1.0)
    white = np.clip(np.minimum(mantle * 5.5, (depth - 5.5) * 0.8) + 0.5, 0, 1)
    tissue = head.brightness["grey"] + white * (head.brightness["white"] - head.brightness["grey"])
    wet = np.clip(0.5 - furrow * 7, 0, 1)
    tissue += wet * (head.brightness["water"] - tissue) * 0.85
    np.add(head.picture, inside * (tissue.astype(np.float32) - head.picture), out=head.picture)


def _ventricles(head: _Head, z: float) -> None:
    if 0.33 < z < 0.74:
        size = float(np.sqrt(1 - ((z - 0.535) / 0.205) ** 2))
        for side in (-1, 1):
            if z < 0.6:  # deep nuclei around them
                head.paint((side * 22, -10), (6.5 * size, 15 * size), "nucleus", angle=side * 0.25)
                head.paint((side * 13, 12), (9.5 * size, 13 * size), "nucleus", angle=-side * 0.3)
            head.paint((side * 9.5, -19), (4.2 * size, 15 * size), "water", angle=-side * 0.33)
            head.paint((side * 10, 12), (3.4 * size, 17 * size), "water", angle=side * 0.12)
            head.paint((side * 19, 33), (5 * size, 13 * size), "water", angle=-side * 0.5)
        head.paint((0, -8), (0.9, 17 * size), "white")  # septum
    if 0.2 < z < 0.5:
        head.paint((0, 6), (2.3, 11), "water")  # third ventricle
        head.paint((0, 37), (10, 7), "water")  # quadrigeminal cistern
        head.paint((0, 30), (8, 7), "white")


def _below_the_tent(head: _Head, z: float, folds: Picture) -> None:
    shrink = 1 - max(0.0, z - 0.2) * 5  # the tent closes above it
    head.paint((0, 50), (60 * shrink, 40 * shrink), "water", power=2.2)
    before = head.picture.copy()
    for side in (-1, 1):
        head.paint((side * 28, 54), (28 * shrink, 32 * shrink), "grey", angle=side * 0.35)
        head.paint((side * 23, 49), (14 * shrink, 13 * shrink), "white", angle=side * 0.35)
    head.paint((0, 56), (9 * shrink, 27 * shrink), "grey")
    # The folds of the cerebellum are fine and run across: stripe what was just painted.
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    turn = np.hypot(x - _MIDDLE, (y - _MIDDLE - 26) * 1.1)
    stripes = np.clip(np.sin(turn * 1.25 + folds * 0.9) - 0.45, 0, 1) * (head.picture != before)
    np.add(
        head.picture,
        stripes * np.float32(0.5 * (head.brightness["water"] - head.brightness["grey"])),
        out=head.picture,
    )
    head.paint((0, 20), (17, 14), "white", power=2.3)  # pons
    head.paint((0, 35), (7 - 12 * z, 4.5), "water")  # fourth ventricle
    head.paint((0, 4), (2.2, 2.2), "bone")  # flow in the basilar artery is dark
