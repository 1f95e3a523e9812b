"""From samples to pictures: colour, choice of window, size."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, pixel_array

from hilum.core.errors import Invalid, NotFound, Unsupported
from hilum.imaging.description import ImageDescription
from hilum.imaging.grey import GreyTransform, Rescale, Window
from hilum.imaging.lut import LookupTable
from hilum.imaging.render import Rendering, render
from tests.corpus import all_files, pydicom_files
from tests.pictures import source


def grey(**values: Any) -> ImageDescription:
    given = {
        "rows": 2,
        "columns": 3,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 16,
        "bits_stored": 16,
        "high_bit": 15,
        "signed": True,
        "planar_configuration": 0,
        "pixel_tag": 0x7FE00010,
        "pixel_vr": "OW",
        "transforms": (GreyTransform(),),
    }
    return ImageDescription(**{**given, **values})


def colour(**values: Any) -> ImageDescription:
    given = {
        "samples_per_pixel": 3,
        "photometric_interpretation": "RGB",
        "bits_allocated": 8,
        "bits_stored": 8,
        "high_bit": 7,
        "signed": False,
    }
    return grey(**{**given, **values})


PIXELS = np.array([[-100, 0, 100], [200, 300, 400]], np.int16)


@pytest.mark.parametrize(
    "values",
    [
        {"center": 40.0},
        {"width": 400.0},
        {"center": 40.0, "width": 0.0},
        {"center": 40.0, "width": 0.5, "function": "LINEAR"},
        {"center": float("nan"), "width": 400.0},
        {"function": "CUBIC"},
        {"size": 0},
        {"size": 100_000},
        {"window_index": -1},
    ],
)
def test_a_rendering_that_makes_no_sense_is_invalid(values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Rendering(**values)


def test_a_narrow_window_is_invalid_where_the_file_says_linear() -> None:
    narrow = Rendering(center=40, width=0.5)
    with pytest.raises(Invalid):
        render(grey(), PIXELS, 0, narrow)
    sigmoid = grey(transforms=(GreyTransform(function="SIGMOID"),))
    assert render(sigmoid, PIXELS, 0, narrow).max() == 255


def test_the_files_window_is_used_unless_another_is_asked_for() -> None:
    windows = (Window(150, 301), Window(0, 101))
    description = grey(transforms=(GreyTransform(windows=windows),))
    first = render(description, PIXELS, 0, Rendering())
    np.testing.assert_array_equal(
        first, render(description, PIXELS, 0, Rendering(center=150, width=301))
    )
    second = render(description, PIXELS, 0, Rendering(window_index=1))
    np.testing.assert_array_equal(
        second, render(description, PIXELS, 0, Rendering(center=0, width=101))
    )
    assert (first != second).any()
    with pytest.raises(Invalid, match="there are 2"):
        render(description, PIXELS, 0, Rendering(window_index=2))


def test_each_frame_has_its_own_transform() -> None:
    transforms = (GreyTransform(Rescale(1, 0)), GreyTransform(Rescale(1, 100)))
    description = grey(transforms=transforms)
    window = Rendering(center=150, width=301)
    second = render(description, PIXELS, 1, window)
    np.testing.assert_array_equal(second, render(description, PIXELS + 100, 0, window))


def test_without_a_window_the_range_is_that_of_the_image_not_of_its_padding() -> None:
    pixels = np.array([[-2000, 0, 100], [-2000, 50, 200]], np.int16)
    shown = render(grey(padding=(-2000, -2000)), pixels, 0, Rendering())
    assert shown.tolist() == [[0, 0, 128], [0, 64, 255]]


def test_a_frame_of_one_value_and_a_frame_of_nothing_but_padding_are_drawn() -> None:
    same = np.full((2, 3), 7, np.int16)
    assert render(grey(), same, 0, Rendering()).shape == (2, 3)
    assert render(grey(padding=(7, 7)), same, 0, Rendering()).shape == (2, 3)


def test_8_bit_pixels_without_a_window_are_shown_as_they_are() -> None:
    pixels = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    description = grey(bits_allocated=8, bits_stored=8, high_bit=7, signed=False)
    np.testing.assert_array_equal(render(description, pixels, 0, Rendering()), pixels)


def test_a_window_of_width_1_over_fractions_is_no_threshold() -> None:
    description = grey(transforms=(GreyTransform(windows=(Window(0.5, 1.0),)),))
    fractions = np.array([[0.0, 0.25, 1.0]], np.float32)
    assert render(description, fractions, 0, Rendering()).tolist() == [[0, 64, 255]]
    whole = np.array([[0, 1, 2]], np.int16)
    assert render(description, whole, 0, Rendering()).tolist() == [[0, 255, 255]]


def test_inversion_is_monochrome1s_and_undoes_it() -> None:
    window = {"center": 150.0, "width": 301.0}
    upright = render(grey(), PIXELS, 0, Rendering(**window))
    negative = grey(photometric_interpretation="MONOCHROME1")
    inverted = render(negative, PIXELS, 0, Rendering(**window))
    np.testing.assert_array_equal(
        inverted, render(grey(), PIXELS, 0, Rendering(**window, invert=True))
    )
    np.testing.assert_array_equal(
        upright, render(negative, PIXELS, 0, Rendering(**window, invert=True))
    )
    assert inverted[0].tolist() == [255, 255, 170]


@pytest.mark.parametrize(
    ("photometric", "samples"),
    [("RGB", 1), ("HSV", 3), ("YBR_PARTIAL_420", 3), ("MONOCHROME2", 3), ("PALETTE COLOR", 3)],
)
def test_other_photometric_interpretations_are_unsupported(photometric: str, samples: int) -> None:
    description = colour(photometric_interpretation=photometric, samples_per_pixel=samples)
    pixels = np.zeros(description.shape, np.uint8)
    with pytest.raises(Unsupported, match=photometric):
        render(description, pixels, 0, Rendering())


def test_colour_is_untouched_by_windows_and_inverted_on_demand() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    shown = render(colour(), pixels, 0, Rendering(center=5, width=5))
    np.testing.assert_array_equal(shown, pixels)
    np.testing.assert_array_equal(render(colour(), pixels, 0, Rendering(invert=True)), 255 - pixels)


def test_16_bit_colour_is_scaled_to_8() -> None:
    description = colour(bits_allocated=16, bits_stored=16, high_bit=15)
    pixels = np.array([0, 128, 129, 257, 65407, 65535], np.uint16).reshape(1, 2, 3)
    shown = render(description, pixels, 0, Rendering())
    assert shown.reshape(-1).tolist() == [0, 0, 1, 1, 255, 255]


def test_all_of_ybr_full_is_converted_as_the_standard_says() -> None:
    """Every 5th chroma pair with every luminance, in rational numbers (C.7.6.3.1.2)."""
    levels = np.arange(0, 256, 5)
    y, cb, cr = np.meshgrid(np.arange(256), levels, levels, indexing="ij")
    ybr = np.stack([y, cb, cr], axis=-1).reshape(256, -1, 3)
    shown = render(
        colour(photometric_interpretation="YBR_FULL"), ybr.astype(np.uint8), 0, Rendering()
    )
    y, cb, cr = (ybr[..., channel].astype(np.int64) for channel in range(3))
    unit = 587_000_000
    red = unit * y + 1402 * 587_000 * (cr - 128)
    green = unit * y - 114 * 1772 * 1000 * (cb - 128) - 299 * 1402 * 1000 * (cr - 128)
    blue = unit * y + 1772 * 587_000 * (cb - 128)
    rounded = (2 * np.stack([red, green, blue], axis=-1) + unit) // (2 * unit)
    np.testing.assert_array_equal(shown, rounded.clip(0, 255))


def files_of(photometric: str) -> list[Path]:
    found = []
    for path in all_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if header.get("PhotometricInterpretation") == photometric and header.file_meta.get(
                "TransferSyntaxUID"
            ):
                found.append(path)
    return found


def test_palettes_are_applied_as_pydicom_applies_them(tmp_path: Path) -> None:
    paths = files_of("PALETTE COLOR")
    assert paths
    for path in paths:
        found = source(path, tmp_path)
        assert found is not None, path
        data_set = pydicom.dcmread(path)
        expected = apply_color_lut(pixel_array(data_set, index=0), data_set)
        if expected.dtype == np.uint16 and expected.max() > 255:
            expected = expected >> 8
        np.testing.assert_array_equal(found.picture(), expected[..., :3], str(path))


@pytest.mark.parametrize("dtype", ["u1", "i2"])
def test_a_palette_holds_its_ends(dtype: str) -> None:
    tables = tuple(
        LookupTable(2, 8, np.array(row, "<u2").tobytes()) for row in ([1, 2], [3, 4], [5, 6])
    )
    description = grey(photometric_interpretation="PALETTE COLOR", palette=tables)
    shown = render(description, np.array([[0, 2, 3], [4, 5, 99]], dtype), 0, Rendering())
    assert shown.tolist() == [[[1, 3, 5], [1, 3, 5], [2, 4, 6]], [[2, 4, 6]] * 3]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((400, 200), 100, (100, 50)),
        ((200, 400, 3), 100, (50, 100, 3)),
        ((100, 100), 500, (100, 100)),
        ((1000, 1), 10, (10, 1)),
    ],
)
def test_size_bounds_the_longest_side(
    shape: tuple[int, ...], size: int, expected: tuple[int, ...]
) -> None:
    pixels: NDArray[np.uint8] = np.full(shape, 77, np.uint8)
    description = colour() if len(shape) == 3 else grey(bits_stored=8, signed=False)
    shown = render(description, pixels, 0, Rendering(size=size))
    assert shown.shape == expected
    assert set(shown.reshape(-1).tolist()) == {77}


def test_a_frame_or_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    path = next(path for path in pydicom_files() if path.name == "CT_small.dcm")
    found = source(path, tmp_path)
    assert found is not None
    with pytest.raises(NotFound):
        found.picture(1)
    gone = type(found)(tmp_path / "gone", found.header, found.pixel_data)
    with pytest.raises(NotFound):
        gone.picture()
