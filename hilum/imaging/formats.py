"""Pictures as files: PNG and PAM by our own writers, JPEG and WebP by Pillow's."""

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
    "pam": "image/x-portable-arbitrarymap",
}
#: Longest side that a format's header can say.
_LONGEST_SIDES: Final[dict[Format, int]] = {
    "jpeg": 65500,
    "png": 2**31 - 1,
    "webp": 16383,
    "pam": 2**31 - 1,
}
#: Where a loss is hard to see: JPEG halves the size of a PNG here, and WebP again.
_QUALITY: Final = 90


def encode(
    picture: NDArray[np.uint8] | NDArray[np.uint16], kind: Format, quality: int | None = None
) -> bytes:
    """Return `picture` as a file.

    Parameters
    ----------
    picture
        ``(rows, columns)`` grey or ``(rows, columns, 3)`` RGB, uint8; of PNG and PAM uint16 too.
    quality
        Of JPEG and WebP, 1 to 100; 90 if not said.

    Raises
    ------
    Unfulfillable
        The format cannot be that large, or has no 16-bit samples.
    """
    longest = max(picture.shape[:2])
    if longest > _LONGEST_SIDES[kind]:
        raise Unfulfillable(f"a side of {longest} pixels is too long for {MEDIA_TYPES[kind]}")
    if kind == "png":
        return encode_png(picture)
    if kind == "pam":
        return _pam(picture)
    if picture.itemsize > 1:
        raise Unfulfillable(f"16-bit samples do not go into {MEDIA_TYPES[kind]}")
    file = io.BytesIO()
    image = Image.fromarray(picture)
    if kind == "jpeg":
        # Colour in full resolution: what is red in a Doppler image has sharp edges.
        image.save(file, "JPEG", quality=quality or _QUALITY, subsampling=0)
    else:
        # More effort takes three times as long, and makes files that are no smaller.
        image.save(file, "WEBP", quality=quality or _QUALITY, method=1)
    return file.getvalue()


def _pam(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return a Portable Arbitrary Map: samples as they are, the higher byte first."""
    rows, columns = picture.shape[:2]
    depth, kind = (1, "GRAYSCALE") if picture.ndim == 2 else (3, "RGB")
    head = (
        f"P7\nWIDTH {columns}\nHEIGHT {rows}\nDEPTH {depth}\n"
        f"MAXVAL {(1 << 8 * picture.itemsize) - 1}\nTUPLTYPE {kind}\nENDHDR\n"
    )
    return head.encode() + picture.astype(picture.dtype.newbyteorder(">")).tobytes()
