"""Regions, mirroring, sizes and formats of pictures, and the shape of pixels."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hilum.core.errors import Invalid
from hilum.imaging.formats import MEDIA_TYPES, encode
from hilum.imaging.rendering import Format, Rendering, Unfulfillable, Viewport
from hilum.imaging.viewport import fitted
from tests.unit.test_description import described

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 60), dtype=np.uint8)


@pytest.mark.parametrize(
    "values",
    [
        {"columns": 0, "rows": 5},
        {"columns": 5, "rows": 70_000},
        {"columns": 60_000, "rows": 60_000},
        {"columns": 5, "rows": 5, "left": -1.0},
        {"columns": 5, "rows": 5, "width": 0.0},
        {"columns": 5, "rows": 5, "height": float("nan")},
        {"columns": 5, "rows": 5, "top": float("inf")},
    ],
)
def test_a_viewport_that_makes_no_sense_is_invalid(values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Viewport(**values)


def test_a_region_in_its_own_size_is_those_pixels() -> None:
    viewport = Viewport(20, 10, left=30, top=5, width=20, height=10)
    np.testing.assert_array_equal(fitted(PICTURE, viewport, 1.0), PICTURE[5:15, 30:50])
    mirrored = Viewport(20, 10, left=30, top=5, width=-20, height=-10)
    np.testing.assert_array_equal(fitted(PICTURE, mirrored, 1.0), PICTURE[5:15, 30:50][::-1, ::-1])


@pytest.mark.parametrize(
    "region", [{"left": 60}, {"left": 41, "width": 20}, {"top": 1, "height": -40}]
)
def test_a_region_beyond_the_frame_is_refused(region: dict[str, float]) -> None:
    with pytest.raises(Unfulfillable):
        fitted(PICTURE, Viewport(10, 10, **region), 1.0)


def test_a_region_between_pixels_is_drawn() -> None:
    viewport = Viewport(33, 33, left=1.5, top=2.25, width=10.5, height=10.5)
    assert fitted(PICTURE, viewport, 1.0).shape == (33, 33)


@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 300),
    rows=st.integers(1, 300),
    aspect=st.sampled_from([0.25, 0.9, 1.0, 4 / 3, 8.0]),
)
def test_a_picture_fills_its_viewport_and_does_not_overflow(
    columns: int, rows: int, aspect: float
) -> None:
    shown = fitted(PICTURE, Viewport(columns, rows), aspect)
    assert shown.shape[0] <= rows
    assert shown.shape[1] <= columns
    assert shown.shape[0] == rows or shown.shape[1] == columns
    ratio = (40 * aspect) / 60
    assert abs(shown.shape[0] - shown.shape[1] * ratio) <= max(1, ratio)


# PAM is held against Orthanc's own (`tests/orthanc`): Pillow reads none.
@pytest.mark.parametrize("kind", [kind for kind in MEDIA_TYPES if kind != "pam"])
@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3)])
def test_every_format_is_read_by_another_program(kind: Format, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 99, np.uint8)
    image = Image.open(io.BytesIO(encode(picture, kind)))
    assert image.get_format_mimetype() == MEDIA_TYPES[kind]
    mode = "L" if len(shape) == 2 else "RGB"
    assert np.abs(np.asarray(image.convert(mode)).astype(int) - picture).max() <= 2


def test_a_picture_that_is_too_long_for_its_format_is_refused() -> None:
    with pytest.raises(Unfulfillable):
        encode(np.zeros((1, 16384), np.uint8), "webp")
    with pytest.raises(Unfulfillable):
        encode(np.zeros((65536, 1), np.uint8), "jpeg")


@pytest.mark.parametrize(
    "values",
    [
        {"format": "gif"},
        {"quality": 0},
        {"quality": 101},
        {"presentation": "LIN OD"},
        {"values": "stored", "format": "jpeg"},
    ],
)
def test_a_rendering_that_makes_no_sense_is_invalid(values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Rendering(**values)


@pytest.mark.parametrize(
    ("values", "aspect"),
    [
        ({}, 1.0),
        ({"PixelAspectRatio": [4, 3]}, 4 / 3),
        ({"PixelSpacing": [0.5, 0.25]}, 2.0),
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": [4, 3]}, 1.0),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": [0.5, 0]}, 1.0),
        ({"PixelSpacing": [1000, 1]}, 1.0),
        ({"PixelAspectRatio": [4]}, 1.0),
    ],
)
def test_the_shape_of_pixels_is_the_headers(values: dict[str, Any], aspect: float) -> None:
    assert described(**values).pixel_aspect == pytest.approx(aspect)


def test_the_shape_of_an_enhanced_images_pixels_is_in_its_shared_groups() -> None:
    measures = Dataset()
    measures.PixelSpacing = [0.3, 0.1]
    group = Dataset()
    group.PixelMeasuresSequence = Sequence([measures])
    shared = described(SharedFunctionalGroupsSequence=Sequence([group]))
    assert shared.pixel_aspect == pytest.approx(3)
