"""Overlay planes: where they lie, which frames they lie over, and what is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.overlays import get_overlay_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.imaging.overlays import Overlay, burnt_in, read_overlays
from tests.corpus import pydicom_files
from tests.pictures import source

ENCODINGS = {
    ImplicitVRLittleEndian: (True, True),
    ExplicitVRLittleEndian: (False, True),
    ExplicitVRBigEndian: (False, False),
}
PLANE = np.random.default_rng(1).integers(0, 2, (5, 7)).astype(np.uint8)


def packed(plane: NDArray[np.uint8]) -> bytes:
    data = np.packbits(plane.reshape(-1), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def header(group: int = 0x6000, syntax: str = ExplicitVRLittleEndian, **values: Any) -> bytes:
    plane = {"rows": 5, "columns": 7, "origin": [1, 1], "data": packed(PLANE), **values}
    data_set = Dataset()
    data_set.Rows = 8
    data_set.add_new((group, 0x10), "US", plane["rows"])
    data_set.add_new((group, 0x11), "US", plane["columns"])
    if "frames" in plane:
        data_set.add_new((group, 0x15), "IS", plane["frames"])
        data_set.add_new((group, 0x51), "US", plane["first"])
    data_set.add_new((group, 0x50), "SS", plane["origin"])
    data_set.add_new((group, 0x100), "US", 1)
    data = plane["data"]
    implicit, little = ENCODINGS[syntax]
    if not little:
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    data_set.add_new((group, 0x3000), "OW", data)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, data_set)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", ENCODINGS)
@pytest.mark.parametrize("group", [0x6000, 0x6002, 0x601E])
def test_a_plane_is_read_in_every_encoding(syntax: str, group: int) -> None:
    (overlay,) = read_overlays(header(group, syntax), syntax)
    np.testing.assert_array_equal(overlay.plane(3), PLANE)


def test_planes_of_several_frames_follow_each_other_without_a_gap() -> None:
    planes = np.random.default_rng(2).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    data = header(frames=3, first=2, data=packed(planes))
    (overlay,) = read_overlays(data, ExplicitVRLittleEndian)
    assert overlay.plane(0) is None
    for index in range(3):
        np.testing.assert_array_equal(overlay.plane(index + 1), planes[index])
    assert overlay.plane(4) is None


@pytest.mark.parametrize(
    "values",
    [{"data": b"\1\2"}, {"rows": 0}, {"rows": 65535, "columns": 65535}, {"frames": 9, "first": 1}],
)
def test_what_is_no_proper_plane_is_left_out(values: dict[str, Any]) -> None:
    assert read_overlays(header(**values), ExplicitVRLittleEndian) == ()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (2, 3), (-2, -3), (6, 6), (-5, 0), (8, 8)])
@pytest.mark.parametrize("samples", [(), (3,)])
def test_a_plane_is_cut_where_the_image_ends(top: int, left: int, samples: tuple[int, ...]) -> None:
    picture = np.full((8, 8, *samples), 7, np.uint8)
    overlay = Overlay(5, 7, top, left, 0, None, packed(PLANE))
    shown = burnt_in(picture, overlay, 0)
    for row in range(8):
        for column in range(8):
            inside = 0 <= row - top < 5 and 0 <= column - left < 7
            white = inside and PLANE[row - top, column - left]
            assert (shown[row, column] == (255 if white else 7)).all()
    assert (picture == 7).all()


def test_planes_of_a_real_file_are_pydicoms(tmp_path: Path) -> None:
    path = next(path for path in pydicom_files() if path.name == "examples_overlay.dcm")
    found = source(path, tmp_path)
    assert found is not None
    head = path.read_bytes()[found.header.data_set_offset : found.pixel_data.offset]
    (overlay,) = read_overlays(head, found.transfer_syntax_uid)
    expected = get_overlay_array(pydicom.dcmread(path), 0x6000)
    np.testing.assert_array_equal(overlay.plane(0), expected)
