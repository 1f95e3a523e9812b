"""Samples as they are stored, in a 16-bit PNG: for programs that measure, not for the eye."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import Unsupported
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import Rescale
from hilum.imaging.png import encode_png

#: A PNG knows no negative samples: -32768 is written as 0.
_SIGNED_OFFSET: Final = 32768
#: What lies between a frame and its PNG takes four times as much again.
_LARGEST_BYTES: Final = 1 << 27


def encode_values(
    description: ImageDescription, pixels: NDArray[Any], frame_index: int, photometric: str
) -> bytes:
    """Return a decoded frame as a 16-bit PNG of its stored values.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)``, from `decode_frame`.
    frame_index
        From 0; chooses among the per-frame transforms.
    photometric
        Of `pixels`, from `decoded_photometric_interpretation`.

    Returns
    -------
    bytes
        A PNG with text chunks: ``Value Offset``, which added to a sample gives the stored
        value; ``Photometric Interpretation``; and, unless the modality LUT is a table,
        ``Rescale Slope`` and ``Rescale Intercept``, which turn stored into modality values.

    Raises
    ------
    Unsupported
        Samples are wider than 16 bits, or floating-point, or more than 64 million.
    """
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
        raise Unsupported(f"a PNG has no room for samples of type {pixels.dtype}")
    if 2 * pixels.size > _LARGEST_BYTES:
        raise Unsupported(f"{pixels.size} samples are too many for a PNG of stored values")
    offset = 0
    if pixels.dtype.kind == "i":
        offset = _SIGNED_OFFSET
        # To turn the highest bit is to add the offset, without room for a carry.
        samples = pixels.astype(np.int16).view(np.uint16) ^ np.uint16(offset)
    else:
        samples = pixels.astype(np.uint16)
    text = {"Value Offset": str(-offset), "Photometric Interpretation": photometric}
    modality = description.transform(frame_index).modality
    if isinstance(modality, Rescale):
        text["Rescale Slope"] = repr(modality.slope)
        text["Rescale Intercept"] = repr(modality.intercept)
    return encode_png(samples, text)
