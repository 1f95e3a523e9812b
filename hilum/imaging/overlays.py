"""Overlay planes: drawings of one bit a pixel that lie over an image (PS3.3 C.9.2)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hilum.imaging.description import encoding_of
from hilum.imaging.elements import Element, Elements, read_elements

#: The repeating groups 6000, 6002, … 601E.
_GROUPS: Final = tuple(range(0x60000000, 0x60200000, 0x00020000))
_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME, _ALLOCATED, _DATA = (
    0x0010,
    0x0011,
    0x0015,
    0x0050,
    0x0051,
    0x0100,
    0x3000,
)
_WANTED: Final = frozenset(
    group | number
    for group in _GROUPS
    for number in (_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME, _ALLOCATED, _DATA)
)
_WHITE: Final = 255


@dataclass(frozen=True, slots=True)
class Overlay:
    """One plane, for one or several frames."""

    rows: int
    columns: int
    top: int
    """Row of the image that the plane's first row lies on, from 0; may be negative."""
    left: int
    first_frame: int
    """Index of the first frame it lies over, from 0."""
    frames: int | None
    """How many planes there are, for as many frames; None: one, for every frame."""
    bits: bytes
    """Row by row and plane by plane without gaps, the first in the lowest bit."""

    def plane(self, frame_index: int) -> NDArray[np.bool_] | None:
        """Return what lies over a frame, ``(rows, columns)``; None if nothing does."""
        index = 0
        if self.frames is not None:
            index = frame_index - self.first_frame
            if not 0 <= index < self.frames:
                return None
        size = self.rows * self.columns
        first, behind = index * size, (index + 1) * size
        packed = np.frombuffer(self.bits, np.uint8)[first // 8 : (behind + 7) // 8]
        unpacked = np.unpackbits(packed, bitorder="little")[first % 8 :][:size]
        return unpacked.reshape(self.rows, self.columns).astype(np.bool_)


def read_overlays(head: bytes, transfer_syntax_uid: str) -> tuple[Overlay, ...]:
    """Return the overlays in a header that have their data there.

    Parameters
    ----------
    head
        The data set in front of the pixels, as of `describe`.

    Notes
    -----
    What is no proper overlay is left out: the image can be shown without. So are planes in
    unused bits of the pixels, which the standard retired in 2004.
    """
    data_set = memoryview(head)
    header = read_elements(data_set, encoding_of(data_set, transfer_syntax_uid), _WANTED)
    found = (_overlay(header, group) for group in _GROUPS)
    return tuple(overlay for overlay in found if overlay is not None)


def _overlay(header: Elements, group: int) -> Overlay | None:
    data = header.get(group | _DATA)
    rows, columns = header.integer(group | _ROWS), header.integer(group | _COLUMNS)
    if data is None or not rows or not columns:
        return None
    count = header.decimals(group | _FRAMES)
    frames = int(count[0]) if count else None
    if rows * columns * (frames or 1) > 8 * len(data.data):
        return None
    origin = header.words(group | _ORIGIN).view(np.int16).tolist()
    top, left = origin if len(origin) == 2 else (1, 1)
    return Overlay(
        rows=rows,
        columns=columns,
        top=top - 1,
        left=left - 1,
        first_frame=(header.integer(group | _FIRST_FRAME) or 1) - 1,
        frames=frames,
        bits=_in_order(data),
    )


def _in_order(element: Element) -> bytes:
    """Return the bytes of words in the order of their bits (PS3.5 8.1.2)."""
    data = bytes(element.data)
    if element.encoding.little_endian or element.vr == "OB" or len(data) % 2:
        return data
    return np.frombuffer(data, "u2").byteswap().tobytes()


def burnt_in(picture: NDArray[np.uint8], overlay: Overlay, frame_index: int) -> NDArray[np.uint8]:
    """Return a picture with an overlay drawn onto it in white.

    Parameters
    ----------
    picture
        ``(rows, columns)`` or ``(rows, columns, 3)``, of the frame's own size.
    frame_index
        From 0.
    """
    plane = overlay.plane(frame_index)
    if plane is None:
        return picture
    rows, columns = picture.shape[:2]
    top, left = max(overlay.top, 0), max(overlay.left, 0)
    bottom = min(overlay.top + overlay.rows, rows)
    right = min(overlay.left + overlay.columns, columns)
    if top >= bottom or left >= right:
        return picture
    drawn = picture.copy()
    rows_over = slice(top - overlay.top, bottom - overlay.top)
    columns_over = slice(left - overlay.left, right - overlay.left)
    drawn[top:bottom, left:right][plane[rows_over, columns_over]] = _WHITE
    return drawn
