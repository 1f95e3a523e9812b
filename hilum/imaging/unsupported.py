"""The picture that stands where none can be made."""

import numpy as np
from numpy.typing import NDArray

_SIDE = 128
_SHADE = 96


def unsupported_picture() -> NDArray[np.uint8]:
    """Return a grey square, crossed out; ``(128, 128)``."""
    picture = np.full((_SIDE, _SIDE), _SHADE, np.uint8)
    inside = np.arange(_SIDE // 4, 3 * _SIDE // 4)
    for width in range(-2, 3):
        picture[inside, inside + width] = 2 * _SHADE
        picture[inside, _SIDE - 1 - inside + width] = 2 * _SHADE
    return picture
