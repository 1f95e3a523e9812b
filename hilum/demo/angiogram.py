"""A left coronary artery filling with contrast: sixty frames of a beating heart.

The tree is grown once, in space; each frame moves it with the heartbeat, lets the contrast
run along it, and lays it over a still background.
"""

import numpy as np
import numpy.typing as npt

from hilum.demo.canvas import Picture, Points, curve, enlarge, paint_tube, smooth_noise

FRAMES = 60
SIZE = 512
FRAMES_PER_SECOND = 15
_BEAT_FRAMES = 12.5

# Knots of the larger branches as x, y in pixels, radius where each begins, and when the
# contrast arrives at its beginning and its end, in frames.
_BRANCHES: tuple[tuple[list[tuple[float, ...]], float, float, float], ...] = (
    ([(196, 150), (218, 158), (238, 170)], 6.5, 11, 13),
    ([(238, 170), (282, 196), (312, 250), (342, 318), (372, 392)], 5.4, 13, 24),
    ([(238, 170), (232, 222), (214, 276), (204, 330), (216, 392)], 5.0, 13, 23),
    ([(286, 200), (330, 214), (372, 246), (402, 292)], 3.6, 16, 23),
    ([(312, 250), (352, 276), (386, 322), (404, 366)], 3.1, 18, 25),
    ([(330, 290), (318, 336), (322, 388)], 2.4, 20, 26),
    ([(231, 226), (262, 262), (284, 314), (288, 372)], 3.3, 16, 24),
    ([(216, 272), (180, 306), (164, 356)], 2.8, 18, 25),
    ([(204, 330), (236, 362), (252, 410)], 2.4, 20, 26),
    ([(282, 198), (284, 232), (276, 262)], 2.2, 16, 21),
)
_NARROWED = 1


def frames() -> npt.NDArray[np.uint8]:
    """Return the run, ``(60, 512, 512)``, vessels dark on grey, round as the intensifier."""
    random = np.random.default_rng(1958)
    points, radii, arrival = _tree(random)
    catheter = curve([(60, -12), (96, 66), (148, 96), (182, 128), (196, 150)], 260)
    background = _background(random)
    grain = random.standard_normal((8, SIZE + 64, SIZE + 64), np.float32)
    grain += np.roll(grain, 1, 2)
    run = np.empty((FRAMES, SIZE, SIZE), np.uint8)
    for number in range(FRAMES):
        vessels = np.zeros((SIZE, SIZE), np.float32)
        filled = _contrast(number, arrival)
        moved = _beating(points, number)
        paint_tube(vessels, moved, radii * (0.85 + 0.15 * filled), filled)
        stain = enlarge(_myocardium(number), 8)
        tip = _beating(catheter, number, np.linspace(0, 1, len(catheter)) ** 3)
        wire = np.zeros_like(vessels)
        paint_tube(wire, tip, 3.2, 0.34)
        dark = 1 - np.exp(-(vessels * 1.05 + wire + stain))
        frame = background * (1 - np.float32(0.74) * dark)
        down, right = random.integers(0, 64, 2)
        speckle = grain[number % len(grain), down : down + SIZE, right : right + SIZE]
        frame += speckle * np.sqrt(np.maximum(frame, 0)) * np.float32(0.34)
        run[number] = np.clip(np.rint(frame), 0, 255)
    return run


def _tree(random: np.random.Generator) -> tuple[Points, Points, Points]:
    """Return the points of all branches, with radius and arrival; twigs grow at random."""
    points, radii, arrivals = [], [], []
    for number, (knots, radius, begins, ends) in enumerate(_BRANCHES):
        length = int(np.hypot(*np.diff(np.array(knots), axis=0).T).sum())
        path = curve(knots, length)
        taper = np.linspace(radius, radius * 0.42, length)
        if number == _NARROWED:  # so that there is something to find
            taper *= 1 - 0.62 * np.exp(-(((np.arange(length) - 92) / 9) ** 2))
        when = np.linspace(begins, ends, length)
        points.append(path)
        radii.append(taper)
        arrivals.append(when)
        for at in range(30, length - 10, 26):
            heading = path[at] - path[at - 5]
            turn = random.choice((-1, 1)) * random.uniform(0.5, 1.1)
            cosine, sine = np.cos(turn), np.sin(turn)
            heading = np.array([[cosine, -sine], [sine, cosine]]) @ heading
            reach = random.uniform(28, 62)
            heading *= reach / np.hypot(*heading)
            bow = np.array([-heading[1], heading[0]]) * random.uniform(-0.25, 0.25)
            end = path[at] + heading
            twig = curve(
                [tuple(path[at]), tuple((path[at] + end) / 2 + bow), tuple(end)], int(reach)
            )
            points.append(twig)
            radii.append(np.linspace(taper[at] * 0.55, 0.7, int(reach)))
            arrivals.append(np.linspace(when[at], when[at] + 4, int(reach)))
    return np.vstack(points), np.concatenate(radii), np.concatenate(arrivals)


def _contrast(frame: int, arrival: Points) -> Points:
    """Return how full each point is, 0 to 1: in quickly, out slowly."""
    since = frame - arrival
    fills = np.clip(since / 2.5, 0, 1)
    washes = np.exp(-np.clip(since - 17, 0, None) / 7.5)
    filled: Points = fills * washes
    return filled


def _beating(points: Points, frame: int, share: Points | float = 1.0) -> Points:
    """Return the points where heartbeat and breath have moved them, by their share of it."""
    phase = 2 * np.pi * frame / _BEAT_FRAMES
    squeeze = 0.034 * (1 - np.cos(phase)) + 0.012 * np.sin(2 * phase)
    breath = np.array([1.5, 4.0]) * np.sin(2 * np.pi * frame / 75)
    from_middle = points - (272, 250)
    twist = 0.022 * np.sin(phase) * from_middle[:, ::-1] * (-1, 1)
    weight = np.reshape(np.broadcast_to(share, len(points)), (-1, 1))
    moved: Points = points + weight * (twist - squeeze * from_middle + breath)
    return moved


def _myocardium(frame: int) -> Picture:
    """Return the blush of the heart's muscle when contrast leaves the arteries, an eighth size."""
    y, x = np.mgrid[0 : SIZE // 8, 0 : SIZE // 8].astype(np.float32) * 8
    place = np.exp(-(((x - 292) / 105) ** 2) - ((y - 300) / 95) ** 2)
    strength = 0.2 * float(np.exp(-(((frame - 42) / 11) ** 2)))
    blush: Picture = place * np.float32(strength)
    return blush


def _background(random: np.random.Generator) -> Picture:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    picture = np.full((SIZE, SIZE), 182, np.float32)
    heart = ((x - 285) / 175) ** 2 + ((y - 285) / 165) ** 2
    picture -= 38 * _edge((1 - heart) * 7)
    picture -= 46 * _edge((y - 452 - (x - 256) ** 2 / 1900) / 5)  # diaphragm
    picture -= 22 * _edge((70 - np.abs(x - 76)) / 7)  # spine
    for rib in range(6):
        ribs = np.zeros_like(picture)
        top = 30 + rib * 82
        paint_tube(ribs, curve([(-10, top + 50), (200, top), (522, top + 70)], 560), 13, 9)
        picture -= ribs
    picture += (
        smooth_noise(random, (SIZE, SIZE), 70) * 2.4 + smooth_noise(random, (SIZE, SIZE), 9) * 1.4
    )
    intensifier = np.hypot(x - 255.5, y - 255.5)
    picture *= np.clip((262 - intensifier) / 5, 0, 1)
    return picture


def _edge(distance: Picture) -> Picture:
    """Return 0 far outside and 1 far inside an edge."""
    edge: Picture = np.float32(0.5) + np.float32(0.5) * np.tanh(distance / 2)
    return edge
