"""Frames as arrays for numpy and Matlab: values to compute with, not to look at."""

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hilum.core.errors import Unsupported
from hilum.core.instance import PixelData
from hilum.imaging.colour import to_rgb8
from hilum.imaging.grey import Rescale
from hilum.imaging.picture import decoded

#: Text takes several times as much as the samples.
_MATLAB_SAMPLES: Final = 1 << 24
_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})


def frame_array(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_index: int,
    rescale: bool,
) -> bytes:
    """Return one frame of a file as a ``.npy`` file.

    Parameters
    ----------
    path, pixel_data, transfer_syntax_uid, data_set_offset, frame_index
        As for `hilum.imaging.picture.draw`.
    rescale
        Grey values as float32, through slope and intercept where they are for that: not
        those of a dose, and no table.

    Returns
    -------
    bytes
        An array ``(rows, columns, channels)``: grey as stored or float32, colour as RGB uint8.

    Raises
    ------
    NotFound, Invalid, Unsupported, Corrupt
        As of `draw`.
    """
    description, pixels, photometric = decoded(
        path, pixel_data, transfer_syntax_uid, data_set_offset, frame_index
    )
    array: NDArray[Any]
    if pixels.ndim == 3 or photometric not in _GREY:
        array = to_rgb8(description, pixels, photometric)
    else:
        array = pixels * np.uint8(255) if description.bits_stored == 1 else pixels
        array = array[..., np.newaxis]
        if rescale:
            modality = description.transform(frame_index).modality
            plain = description.is_dose or not isinstance(modality, Rescale)
            values = array.astype(np.float32)
            if not plain and isinstance(modality, Rescale):
                values = values * np.float32(modality.slope) + np.float32(modality.intercept)
            array = values
    file = io.BytesIO()
    npy.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def split(array: bytes) -> tuple[tuple[int, ...], str, memoryview]:
    """Return shape, type and samples of a ``.npy`` file of `frame_array`."""
    file = io.BytesIO(array)
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    return shape, dtype.str, memoryview(array)[file.tell() :]


def header(shape: tuple[int, ...], descr: str) -> bytes:
    """Return what a ``.npy`` file of such an array begins with."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def packed(array: bytes) -> bytes:
    """Return a ``.npy`` file as a ``.npz`` one, its array named ``arr_0``."""
    file = io.BytesIO()
    np.savez_compressed(file, np.load(io.BytesIO(array)))
    return file.getvalue()


def matlab(array: bytes) -> str:
    """Return a ``.npy`` file of a frame as an expression of Matlab and Octave.

    Raises
    ------
    Unsupported
        It would be longer than anybody reads.
    """
    values = np.load(io.BytesIO(array))
    if values.size > _MATLAB_SAMPLES:
        raise Unsupported(f"{values.size} samples are too many for a text")
    rows, columns, channels = values.shape
    if channels == 1:
        lines = [" ".join(map(str, line)) for line in values[..., 0].tolist()]
        return f"double([ {' ; '.join(lines)} ])"
    texts = " ".join(map(str, values.reshape(-1).tolist()))
    return f"double(permute(reshape([ {texts} ], [ {channels} {columns} {rows} ]), [ 3 2 1 ]))"
