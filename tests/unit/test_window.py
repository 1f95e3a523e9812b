"""Windowing against the standard's formulas, written out as the standard has them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import Invalid
from hilum.imaging.grey import Modality, Rescale, Window
from hilum.imaging.lut import LookupTable
from hilum.imaging.window import to_grey8

DTYPES = ["u1", "i1", "u2", "i2"]
IDENTITY = Rescale()
numbers = st.floats(-40000, 40000, allow_nan=False)


def displayed(x: float, window: Window) -> float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, for an output of 0 to 255."""
    c, w = window.center, window.width
    if window.function == "LINEAR":
        if x <= c - 0.5 - (w - 1) / 2:
            return 0.0
        if x > c - 0.5 + (w - 1) / 2:
            return 255.0
        return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    if window.function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0.0
        if x > c + w / 2:
            return 255.0
        return ((x - c) / w + 0.5) * 255
    try:
        return 255 / (1 + math.exp(-4 * (x - c) / w))
    except OverflowError:
        return 0.0


def expected(stored: np.ndarray, modality: Rescale, window: Window, inverse: bool) -> list[int]:
    shades = (
        displayed(modality.slope * float(value) + modality.intercept, window) for value in stored
    )
    return [math.floor((255 - shade if inverse else shade) + 0.5) for shade in shades]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    function = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    least = 1.0 if function == "LINEAR" else 0.01
    width = draw(st.floats(least, 70000) | st.integers(1, 4096).map(float))
    return Window(draw(numbers | st.integers(-1024, 4096).map(float)), width, function)


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    slope=st.sampled_from([1.0, 0.5, 2.0, -1.0, 0.00390625, 1.2345]) | st.floats(0.001, 10),
    intercept=st.sampled_from([0.0, -1024.0, 0.3]) | numbers,
    window=windows(),
    inverse=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_pixel_is_the_standards(
    dtype: str, slope: float, intercept: float, window: Window, inverse: bool, seed: int
) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    stored = random.integers(limits.min, limits.max, (8, 16), dtype=dtype, endpoint=True)
    modality = Rescale(slope, intercept)
    shown = to_grey8(stored, modality, window, inverse=inverse)
    assert shown.shape == stored.shape
    assert shown.dtype == np.uint8
    assert shown.reshape(-1).tolist() == expected(stored.reshape(-1), modality, window, inverse)


@settings(max_examples=50, deadline=None)
@given(window=windows(), inverse=st.booleans(), seed=st.integers(0, 1000))
@pytest.mark.parametrize("dtype", ["i4", "u4", "f4", "f8"])
def test_wide_and_floating_pixels_are_the_standards(
    dtype: str, window: Window, inverse: bool, seed: int
) -> None:
    stored = np.random.default_rng(seed).normal(0, 30000, 100)
    stored = (abs(stored) if dtype[0] == "u" else stored).astype(dtype)
    shown = to_grey8(stored, IDENTITY, window, inverse=inverse)
    assert shown.tolist() == expected(stored, IDENTITY, window, inverse)


@pytest.mark.parametrize("dtype", ["i2", "f8"])
@pytest.mark.parametrize("width", [2, 256, 1500, 4095])
def test_linear_is_exact_where_fractions_can_tell(dtype: str, width: int) -> None:
    """Halves round up: computed in rational numbers, where there is no rounding error."""
    stored = np.arange(-3000, 3000)
    shown = to_grey8(stored.astype(dtype), IDENTITY, Window(40, width), inverse=False)
    for value, shade in zip(stored.tolist(), shown.tolist(), strict=True):
        exact = (Fraction(value) - Fraction(79, 2)) / (width - 1) + Fraction(1, 2)
        exact = min(max(exact, Fraction(0)), Fraction(1)) * 255
        assert abs(Fraction(shade) - exact) <= Fraction(1, 2)


def test_a_window_of_width_1_is_a_threshold() -> None:
    stored = np.array([38, 39, 40, 41], np.int16)
    shown = to_grey8(stored, IDENTITY, Window(40, 1), inverse=False)
    assert shown.tolist() == [0, 0, 255, 255]


def test_images_larger_than_a_tile_have_no_seams() -> None:
    stored = np.arange(300 * 700, dtype=np.uint16).reshape(300, 700)
    shown = to_grey8(stored, IDENTITY, Window(32768, 65536), inverse=False)
    one_by_one = np.floor(stored / 65535 * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(shown, one_by_one)


def test_arrays_that_are_not_contiguous_are_taken_as_they_are() -> None:
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8)
    shown = to_grey8(stored[::2, ::-1], IDENTITY, Window(32, 64), inverse=False)
    whole = to_grey8(stored, IDENTITY, Window(32, 64), inverse=False)
    np.testing.assert_array_equal(shown, whole[::2, ::-1])


def test_floating_pixels_without_a_value_are_black() -> None:
    stored = np.array([np.nan, -np.inf, np.inf, 0.0], np.float32)
    shown = to_grey8(stored, IDENTITY, Window(0, 2, "LINEAR_EXACT"), inverse=False)
    assert shown.tolist() == [0, 0, 255, 128]


def table(first: int, bits: int, entries: list[int]) -> LookupTable:
    return LookupTable(first, bits, np.array(entries, "<u2").tobytes())


@pytest.mark.parametrize("dtype", ["i2", "i4"])
def test_a_voi_lut_holds_its_ends_and_fills_the_scale(dtype: str) -> None:
    lut = table(-1, 12, [0, 819, 4095])
    stored = np.array([-100, -1, 0, 1, 100], dtype)
    assert to_grey8(stored, IDENTITY, lut, inverse=False).tolist() == [0, 0, 51, 255, 255]
    assert to_grey8(stored, IDENTITY, lut, inverse=True).tolist() == [255, 255, 204, 0, 0]


@pytest.mark.parametrize("dtype", ["u1", "i4"])
def test_a_modality_lut_comes_before_the_window(dtype: str) -> None:
    modality: Modality = table(10, 16, [1000, 0, 500])
    stored = np.array([0, 10, 11, 12, 99], dtype)
    shown = to_grey8(stored, modality, Window(500, 1000, "LINEAR_EXACT"), inverse=False)
    assert shown.tolist() == [255, 255, 0, 128, 128]


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [
        (0.0, 0.99, "LINEAR"),
        (0.0, 0.0, "LINEAR_EXACT"),
        (0.0, -5.0, "SIGMOID"),
        (math.nan, 5.0, "LINEAR"),
        (0.0, math.inf, "SIGMOID"),
        (0.0, 5.0, "CUBIC"),
    ],
)
def test_windows_the_formulas_are_not_defined_for(
    center: float, width: float, function: str
) -> None:
    with pytest.raises(Invalid):
        Window(center, width, function)  # type: ignore[arg-type]
