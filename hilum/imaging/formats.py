"""Pictures as files: PNG by our own writer, JPEG and WebP by Pillow's."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.imaging.png import encode_png
from hilum.imaging.rendering import Format, Unfulfillable

#: Media type of each format (PS3.18 8.7.4).
MEDIA_TYPES: Final[dict[Format, str]] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
#: Longest side that a format's header can say.
_LONGEST_SIDES: Final[dict[Format, int]] = {"jpeg": 65500, "png": 2**31 - 1, "webp": 16383}
#: Where a loss is hard to see: JPEG halves the size of a PNG here, and WebP again.
_QUALITY: Final = 90


def encode(picture: NDArray[np.uint8], kind: Format, quality: int | None = None) -> bytes:
    """Return `picture` as a file.

    Parameters
    ----------
    picture
        ``(rows, columns)`` grey or ``(rows, columns, 3)`` RGB, uint8.
    quality
        Of JPEG and WebP, 1 to 100; 90 if not said.

    Raises
    ------
    Unfulfillable
        The format cannot be that large.
    """
    longest = max(picture.shape[:2])
    if longest > _LONGEST_SIDES[kind]:
        raise Unfulfillable(f"a side of {longest} pixels is too long for {MEDIA_TYPES[kind]}")
    if kind == "png":
        return encode_png(picture)
    file = io.BytesIO()
    image = Image.fromarray(picture)
    if kind == "jpeg":
        # Colour in full resolution: what is red in a Doppler image has sharp edges.
        image.save(file, "JPEG", quality=quality or _QUALITY, subsampling=0)
    else:
        # More effort takes three times as long, and makes files that are no smaller.
        image.save(file, "WEBP", quality=quality or _QUALITY, method=1)
    return file.getvalue()
