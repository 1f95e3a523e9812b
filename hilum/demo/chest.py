"""A chest and upper abdomen in CT: what is where on each slice, in Hounsfield units.

Image left is the patient's right. Contrast is in the arteries: the heart, the aorta and
the kidneys are bright.
"""

import numpy as np
import numpy.typing as npt

from hilum.demo.canvas import Picture, coverage, curve, paint_ellipse, paint_tube, smooth_noise

SLICES = 40
SIZE = 512
PIXEL_MM = 0.72
SPACING_MM = 7.5

AIR, LUNG, FAT, WATER, MUSCLE, BLOOD, BONE = -1000, -860, -105, 5, 55, 210, 420
_MM = 1 / PIXEL_MM
_MIDDLE = (SIZE - 1) / 2
_DIAPHRAGM = 0.56  # how far down the slices, 0 to 1, the domes of the diaphragm stand


def volume() -> npt.NDArray[np.int16]:
    """Return the slices from the neck down, ``(40, 512, 512)`` in Hounsfield units."""
    random = np.random.default_rng(4242)
    slices = np.stack([_slice(i / (SLICES - 1)) for i in range(SLICES)])
    _vessels_of_the_lungs(slices, random)
    grain = random.standard_normal((SLICES, SIZE, SIZE), np.float32)
    # Neighbours share noise, as after a reconstruction filter.
    grain += 0.6 * (np.roll(grain, 1, 2) + np.roll(grain, 1, 1))
    mottle = smooth_noise(random, (SIZE, SIZE), 9)
    slices += grain * np.float32(8) + mottle * np.float32(3)
    return np.clip(np.rint(slices), -1024, 3071).astype(np.int16)


def _at(x_mm: float, y_mm: float) -> tuple[float, float]:
    """Return the pixel of a point right of and behind the body's middle."""
    return _MIDDLE + x_mm * _MM, _MIDDLE + y_mm * _MM


def _mm(a: float, b: float) -> tuple[float, float]:
    return a * _MM, b * _MM


def _bump(z: float, low: float, high: float) -> float:
    """Return 0 outside `low` to `high`, rising like a dome to 1 in the middle."""
    t = (z - low) / (high - low)
    return float(np.sqrt(max(0.0, 4 * t * (1 - t))))


def _slice(z: float) -> Picture:
    """Return one slice; `z` runs from 0 at the neck to 1 at the kidneys."""
    picture = np.full((SIZE, SIZE), AIR, np.float32)
    _table(picture)
    _wall(picture, z)
    _abdomen(picture, z)
    _lungs(picture, z, picture.copy())
    _mediastinum(picture, z)
    _spine(picture, z)
    return picture


def _table(picture: Picture) -> None:
    paint_ellipse(picture, _at(0, 56), _mm(178, 62), -780, power=3)
    paint_ellipse(picture, _at(0, 48), _mm(176, 62), AIR, power=3)


def _wall(picture: Picture, z: float) -> None:
    width = 158 + 10 * np.sin(np.pi * z)
    depth = 104 + 8 * z
    paint_ellipse(picture, _at(0, 0), _mm(width, depth), 10, power=2.4)  # skin
    paint_ellipse(picture, _at(0, 0), _mm(width - 2, depth - 2), FAT, power=2.4)
    paint_ellipse(picture, _at(0, -1), _mm(width - 15, depth - 13), MUSCLE, power=2.4)
    for side in (-1, 1):  # the muscles beside the spine, and the arm-pits' fat
        paint_ellipse(picture, _at(side * 31, 82), _mm(23, 16), MUSCLE + 6, angle=-side * 0.15)
        paint_ellipse(picture, _at(side * 116, -36), _mm(22 * (1 - z), 12), FAT, angle=side)
    inner = (width - 26, depth - 24)
    paint_ellipse(picture, _at(0, -1), _mm(*inner), FAT + 20, power=2.4)
    _ribs(picture, z, inner)


def _ribs(picture: Picture, z: float, inner: tuple[float, float]) -> None:
    # A rib runs down and forward: each slice cuts several, further forward the lower it is.
    for rib in range(-3, 11):
        turn = (z * 11 - rib) * 0.42
        if not 0.1 < turn < 2.75:
            continue
        for side in (-1, 1):
            x = side * (inner[0] + 4) * np.sin(turn) ** 0.85
            y = (inner[1] + 4) * np.cos(turn) * 0.98 - 2
            along = np.arctan2(-np.sin(turn) * inner[1], side * np.cos(turn) * inner[0])
            paint_ellipse(picture, _at(x, y), _mm(13, 4.6), BONE + 160, angle=along)
            paint_ellipse(picture, _at(x, y), _mm(10.5, 2.6), BONE - 220, angle=along)
    if z < 0.62:  # breastbone
        paint_ellipse(picture, _at(0, -inner[1] - 1), _mm(19 - 8 * z, 5.5), BONE + 60)
        paint_ellipse(picture, _at(0, -inner[1] - 1), _mm(16 - 8 * z, 3), 130)


def _lungs(picture: Picture, z: float, abdomen: Picture) -> None:
    for side, dome in ((-1, _DIAPHRAGM), (1, _DIAPHRAGM + 0.04)):
        size = min(1.0, float(np.sqrt(max(0.0, z + 0.06) / 0.22)))
        if size <= 0.1:
            continue
        center, radii = _at(side * (66 + 4 * z), 1), _mm(56 * size, 76 * size)
        paint_ellipse(picture, center, radii, LUNG, power=2.3, angle=side * 0.06)
        below = (z - dome) / 0.32  # the dome rises into the lung from below
        if below > 0:
            rise = min(1.12, float(np.sqrt(below)) * 1.14)
            dome_at = _at(side * (62 + 4 * z), -6)
            paint_ellipse(picture, dome_at, _mm(60 * rise, 74 * rise), abdomen, power=2.3)


def _mediastinum(picture: Picture, z: float) -> None:
    if z < _DIAPHRAGM + 0.16:
        paint_ellipse(
            picture, _at(2, -6), _mm(27 - 6 * _bump(z, -0.2, 0.4), 66), FAT + 55, power=2.6
        )
    if z < 0.27:
        paint_ellipse(picture, _at(1, 4), _mm(9, 8.5), MUSCLE)
        paint_ellipse(picture, _at(1, 4), _mm(7.6, 7.2), AIR)  # trachea
    elif z < 0.38:
        apart = 9 + (z - 0.27) * 180
        for side in (-1, 1):  # main bronchi
            paint_ellipse(picture, _at(side * apart, 8), _mm(7.2, 5.6), MUSCLE, angle=side * 0.4)
            paint_ellipse(picture, _at(side * apart, 8), _mm(5.8, 4.4), AIR, angle=side * 0.4)
    paint_ellipse(picture, _at(5, 28), _mm(6.5, 5), MUSCLE - 10)  # oesophagus
    paint_ellipse(picture, _at(5, 27), _mm(2, 1.2), -300)
    _heart_and_vessels(picture, z)


def _heart_and_vessels(picture: Picture, z: float) -> None:
    if z < 0.14:  # the three arteries to the head, and a vein
        for x, y, radius in ((-12, -14, 6), (4, -10, 5), (14, 0, 5), (-22, -22, 7)):
            paint_ellipse(picture, _at(x, y), _mm(radius, radius), BLOOD - 15)
    elif z < 0.20:  # aortic arch, from front right to back left
        paint_ellipse(picture, _at(8, 2), _mm(34, 13), BLOOD, angle=0.85)
    else:
        if z < 0.44:
            paint_ellipse(picture, _at(-9, -20), _mm(15, 15), BLOOD)
            paint_ellipse(picture, _at(-31, -10), _mm(9, 8), BLOOD - 70)
        if 0.27 < z < 0.36:  # pulmonary trunk and its branches
            paint_ellipse(picture, _at(14, -26), _mm(15, 14), BLOOD - 35)
            paint_ellipse(picture, _at(-4, -4), _mm(33, 7.5), BLOOD - 35, angle=-0.2)
        paint_ellipse(picture, _at(23 - 14 * z, 36 + 8 * z), _mm(12.5, 12.5), BLOOD)
    heart = _bump(z, 0.33, 0.84)
    if heart:
        paint_ellipse(picture, _at(20, -22), _mm(60 * heart, 45 * heart), FAT + 15, angle=0.5)
        paint_ellipse(picture, _at(20, -22), _mm(56 * heart, 41 * heart), 92, angle=0.5)
        chambers = (
            (34, -12, 27, 15, 0.62, BLOOD),  # left ventricle
            (8, -39, 26, 14, 0.45, BLOOD - 45),  # right ventricle
            (-22, -24, 15, 20, 0.1, BLOOD - 55),  # right atrium
        )
        for x, y, a, b, angle, value in chambers:
            paint_ellipse(picture, _at(x, y), _mm(a * heart, b * heart), value, angle=angle)
        if z < 0.56:
            paint_ellipse(picture, _at(2, 6), _mm(25 * heart, 13 * heart), BLOOD - 10)


def _abdomen(picture: Picture, z: float) -> None:
    if z < _DIAPHRAGM:
        return
    down = (z - _DIAPHRAGM) / (1 - _DIAPHRAGM)
    grown = min(1.0, float(np.sqrt(down)) * 1.25)
    paint_ellipse(picture, _at(0, -4), _mm(126, 80), FAT + 8, power=2.5)
    # Stomach: a fluid level, and air in front of it.
    center, radii = _at(52, -38), _mm(42 * grown, 30 * grown)
    window, cover = coverage(picture.shape, center, radii, angle=-0.3)
    rows = np.arange(window[0].start, window[0].stop)[:, None]
    filling = np.where(rows < center[1] - 8, np.float32(AIR + 30), np.float32(WATER + 20))
    paint_ellipse(picture, center, (radii[0] + 4, radii[1] + 4), 62, angle=-0.3)
    picture[window] += cover * (filling - picture[window])
    paint_ellipse(picture, _at(-46, -12), _mm(80 * grown, 64 * grown), 118, power=2.3, angle=-0.25)
    for x, y, a, b, angle in (
        (-58, -18, 26, 3.4, 0.5),
        (-40, 4, 20, 3, -0.7),
        (-78, 8, 15, 2.6, 0.1),
    ):
        paint_ellipse(picture, _at(x, y), _mm(a * grown, b), 158, angle=angle + down)
    paint_ellipse(picture, _at(98, 34), _mm(23, 42 * _bump(z, 0.55, 1.05)), 128, angle=0.35)
    gall = _bump(z, 0.80, 1.02)
    paint_ellipse(picture, _at(-42, -46), _mm(15 * gall, 11 * gall), 12)
    paint_ellipse(picture, _at(-16, 22), _mm(12, 9), 148)  # inferior vena cava
    for side in (-1, 1):
        size = _bump(z, 0.77 + 0.03 * (side < 0), 1.25)
        paint_ellipse(picture, _at(side * 57, 48), _mm(27 * size, 21 * size), 205, angle=side * 0.8)
        sinus = _at(side * 49, 44)
        paint_ellipse(picture, sinus, _mm(13 * size, 8 * size), FAT + 40, angle=side * 0.8)
    if z > 0.86:  # pancreas and loops of bowel
        paint_ellipse(picture, _at(14, -8), _mm(44, 9), 96, angle=-0.25)
        for x, y in ((30, -52), (62, -22), (84, -34), (4, -58)):
            paint_ellipse(picture, _at(x, y), _mm(14, 11), 70)
            paint_ellipse(picture, _at(x, y - 2), _mm(8, 6), -420)


def _spine(picture: Picture, z: float) -> None:
    y = 58 + 6 * z
    vertebra = (z * SLICES) % 4.2 > 0.9  # the rest are discs
    width = 17 + 5 * z
    paint_ellipse(picture, _at(0, y), _mm(width, 14), BONE + 120 if vertebra else 95, power=2.5)
    paint_ellipse(picture, _at(0, y), _mm(width - 2.6, 11.6), 215 if vertebra else 80, power=2.5)
    paint_ellipse(picture, _at(0, y + 24), _mm(17, 12), BONE)  # arch
    paint_ellipse(picture, _at(0, y + 21), _mm(10, 8.5), WATER + 15)  # canal
    paint_ellipse(picture, _at(0, y + 21), _mm(5.5, 4.5), 45)  # cord
    paint_ellipse(picture, _at(0, y + 38), _mm(3.6, 12), BONE)
    for side in (-1, 1):
        paint_ellipse(picture, _at(side * 27, y + 23), _mm(14, 4.2), BONE - 20, angle=side * 0.3)


def _vessels_of_the_lungs(slices: npt.NDArray[np.float32], random: np.random.Generator) -> None:
    """Branch vessels out of both hila, tapering, and let each slice cut them."""
    layer = np.zeros((SLICES, SIZE, SIZE), np.float32)
    points: list[npt.NDArray[np.float64]] = []
    for side in (-1, 1):
        hilum = np.array([side * 30.0, 6.0, 0.34 * SLICES])
        for _ in range(110):
            direction = random.normal(size=3) * (26, 40, 0.21 * SLICES)
            end = np.array([side * 68.0, 2.0, 0.33 * SLICES]) + direction
            bend = (hilum + end) / 2 + random.normal(size=3) * (9, 9, 1.2)
            path = curve([tuple(hilum), tuple(bend), tuple(end)], 150)
            points.append(np.column_stack([path, np.linspace(3.4, 0.9, 150)]))
    cloud = np.vstack(points)
    index = np.rint(cloud[:, 2]).astype(int)
    for i in range(SLICES):
        here = cloud[index == i]
        if len(here):
            x_y = _MIDDLE + here[:, :2] * _MM
            paint_tube(layer[i], x_y, here[:, 3] * _MM, here[:, 3] / 3.4 * 0.5 + 0.5)
    air = np.clip((-700 - slices) / 80, 0, 1) * np.clip((slices + 960) / 60, 0, 1)
    slices += air * layer * np.float32(MUSCLE - LUNG)
