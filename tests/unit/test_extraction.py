"""Pictures the way Orthanc makes them: what lies beyond images that both servers can draw.

Pixels of real images are held side by side with Orthanc's in ``tests/orthanc``.
"""

import numpy as np
import pytest

from hilum.core.errors import Invalid, Unsupported
from hilum.imaging.extraction import extract
from hilum.imaging.formats import encode
from hilum.imaging.grey import GreyTransform, Rescale, Window
from hilum.imaging.rendering import Extraction, Mode, Unfulfillable
from tests.unit.test_render import PIXELS, colour, grey

MODES: tuple[Mode, ...] = ("preview", "rendered", "uint8", "uint16", "int16")


def made(mode: Mode, pixels: np.ndarray = PIXELS, photometric: str = "MONOCHROME2", **how: float):
    return extract(grey(), pixels, 0, Extraction(mode, **how), photometric)  # type: ignore[arg-type]


def test_a_preview_stretches_and_inverts() -> None:
    assert made("preview").tolist() == [[0, 51, 102], [153, 204, 255]]
    assert made("preview", photometric="MONOCHROME1").tolist() == [[255, 204, 153], [102, 51, 0]]
    flat = np.full((2, 3), 7, np.int16)
    assert not made("preview", flat).any()
    assert (made("preview", flat, "MONOCHROME1") == 255).all()


def test_values_are_cut_off_at_the_ends_of_a_type() -> None:
    assert made("uint8").tolist() == [[0, 0, 100], [200, 255, 255]]
    assert made("uint16").tolist() == [[0, 0, 100], [200, 300, 400]]
    assert made("int16")[0, 0] == 0x10000 - 100
    wide = np.array([[-(1 << 30), 1 << 30]], np.int32)
    assert made("int16", wide).view("<i2").tolist() == [[-32768, 32767]]
    odd = np.array([[np.nan, np.inf, -np.inf, 3.7]], np.float32)
    assert made("uint8", odd).tolist() == [[0, 255, 0, 3]]
    assert made("preview", odd).shape == (1, 4)


def test_a_dose_and_a_table_keep_their_stored_values() -> None:
    windows = (Window(0.5, 1.0),)
    transform = GreyTransform(Rescale(0.01, 0.0), windows)
    pixels = np.array([[0, 50, 100]], np.uint16)
    plain = extract(grey(transforms=(transform,)), pixels, 0, Extraction("rendered"), "MONOCHROME2")
    assert plain.tolist() == [[0, 127, 255]]
    dose = grey(transforms=(transform,), is_dose=True)
    assert extract(dose, pixels, 0, Extraction("rendered"), "MONOCHROME2").tolist() == [
        [0, 255, 255]
    ]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("mode", ["rendered"])
def test_a_picture_has_a_pixel_at_least(mode: Mode, smooth: bool) -> None:
    long = np.zeros((2, 400), np.int16)
    assert made(mode, long, columns=10, smooth=smooth).shape == (1, 10)


def test_numbers_without_measure_do_no_harm() -> None:
    for center, width in ((1e300, 1e300), (-1e300, 1e-300), (0.0, 1e300)):
        assert made("rendered", center=center, width=width).shape == PIXELS.shape


@pytest.mark.parametrize("mode", ["uint8", "uint16", "int16"])
def test_colour_is_not_cut_off_to_grey(mode: Mode) -> None:
    with pytest.raises(Unsupported):
        extract(colour(), np.zeros((2, 3, 3), np.uint8), 0, Extraction(mode), "RGB")


def test_what_no_picture_can_be() -> None:
    with pytest.raises(Invalid):
        Extraction("rendered", columns=1 << 20)
    with pytest.raises(Unsupported):
        made("rendered", columns=60000, rows=60000)
    with pytest.raises(Unfulfillable):
        encode(made("uint16"), "jpeg")
