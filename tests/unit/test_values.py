"""Stored values as a PNG: every value there is, read back by another program."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hilum.core.errors import Unsupported
from hilum.imaging.grey import GreyTransform, Rescale
from hilum.imaging.values import encode_values
from tests.unit.test_render import colour, grey


def read(png: bytes) -> tuple[np.ndarray, dict[str, str]]:
    image = Image.open(io.BytesIO(png))
    return np.asarray(image), image.text  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_every_stored_value_comes_back(dtype: str) -> None:
    bits = 8 * np.dtype(dtype).itemsize
    stored = np.arange(1 << bits, dtype=f"u{bits // 8}").view(dtype).reshape(1 << bits // 2, -1)
    description = grey(transforms=(GreyTransform(Rescale(0.1, -1024)),))
    samples, text = read(encode_values(description, stored, 0, "MONOCHROME2"))
    np.testing.assert_array_equal(samples.astype(int) + int(text["Value Offset"]), stored)
    assert float(text["Rescale Slope"]) == 0.1
    assert float(text["Rescale Intercept"]) == -1024
    assert text["Photometric Interpretation"] == "MONOCHROME2"


def test_each_frame_has_its_own_rescale() -> None:
    transforms = (GreyTransform(Rescale(1, 0)), GreyTransform(Rescale(2, 5)))
    _, text = read(
        encode_values(grey(transforms=transforms), np.zeros((2, 3), "u2"), 1, "MONOCHROME2")
    )
    assert (float(text["Rescale Slope"]), float(text["Rescale Intercept"])) == (2, 5)


def test_colour_is_written_in_its_own_samples() -> None:
    png = encode_values(colour(), np.full((2, 3, 3), 200, np.uint8), 0, "YBR_FULL")
    # Pillow knows no 16-bit colour: bit depth 16, colour type 2.
    assert png[24:26] == bytes([16, 2])


@pytest.mark.parametrize("dtype", ["u4", "i4", "f4", "f8"])
def test_wider_samples_are_refused(dtype: str) -> None:
    pixels: Any = np.zeros((2, 3), dtype)
    with pytest.raises(Unsupported):
        encode_values(grey(), pixels, 0, "MONOCHROME2")
