"""Pictures of real files, pixel by pixel as other programs draw them."""

import hashlib
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from hilum.core.errors import Corrupt, Invalid, Unsupported
from hilum.imaging.grey import Rescale, Window
from hilum.imaging.render import Rendering
from hilum.imaging.window import displayed, modality_values
from tests.corpus import REAL_IMAGES, all_files, pydicom_files, rows
from tests.generated import ct, save
from tests.pictures import source

RENDER_ORACLE = {row["file"]: row for row in rows("RENDER_ORACLE.csv")}


@pytest.mark.parametrize("file", sorted(RENDER_ORACLE))
def test_every_pixel_equals_the_oracle(file: str, tmp_path: Path) -> None:
    row = RENDER_ORACLE[file]
    found = source(REAL_IMAGES / file, tmp_path)
    assert found is not None
    rendering = Rendering(center=float(row["window_center"]), width=float(row["window_width"]))
    picture = found.picture(int(row["frame"]) - 1, rendering)
    assert "x".join(map(str, picture.shape)) == row["shape"]
    assert hashlib.sha256(picture.tobytes()).hexdigest() == row["sha256_gray8"]


def test_every_file_with_pixels_gives_a_picture_or_a_clear_refusal(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    refused = {}
    for path in all_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = source(path, tmp_path)
        if found is None:
            outcomes["no pixels, or no instance"] += 1
            continue
        try:
            for rendering in (Rendering(), Rendering(size=64, invert=True)):
                picture = found.picture(found.pixel_data.frame_count - 1, rendering)
                assert picture.dtype == np.uint8
            outcomes["drawn"] += 1
        except (Corrupt, Invalid) as error:
            outcomes[type(error).__name__] += 1
            refused[path.name] = str(error)
    print(dict(outcomes), *(f"{name}: {reason}" for name, reason in refused.items()), sep="\n")  # noqa: T201
    # The files that are refused are broken: neither pydicom nor dcmtk decodes them.
    assert outcomes["drawn"] >= 50
    assert {_plain(name) for name in refused} <= {
        "example3.dcm",  # pixels overwritten by a redaction that knew nothing of JPEG
        "JPEG2000-embedded-sequence-delimiter.dcm",  # a delimiter in the code stream's header
        "nested_priv_SQ.dcm",  # pixel data without an image pixel module
        "SC_rgb_small_odd_big_endian.dcm",  # frames that share words
    }


def _plain(name: str) -> str:
    """Return a name without the digest that the real images have in front of theirs."""
    digest, underscore, rest = name.partition("_")
    return rest if underscore and len(digest) == 8 and digest.isalnum() else name


def drawn_by_dcmtk(path: Path, *options: str) -> NDArray[np.uint8]:
    target = path.with_suffix(".pgm")
    command = ["/usr/bin/dcmj2pnm", *options, "+op", "+F", "1", str(path), str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return np.asarray(Image.open(target))


def ramp(**values: Any) -> FileDataset:
    """A 12-bit image of every value there is."""
    pixels = np.arange(4096, dtype="<u2").reshape(64, 64)
    return ct(PixelData=pixels.tobytes(), **values)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("width", [50, 400, 3000])
def test_sigmoid_is_dcmtks(width: int, photometric: str, tmp_path: Path) -> None:
    values = {
        "WindowCenter": 300,
        "WindowWidth": width,
        "VOILUTFunction": "SIGMOID",
        "PhotometricInterpretation": photometric,
    }
    path = save(ramp(**values), tmp_path / "sigmoid.dcm")
    found = source(path, tmp_path)
    assert found is not None
    _same_but_for_rounding(found.picture(), drawn_by_dcmtk(path, "+Wi", "1"))


def voi_lut() -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [1000, -200, 10])
    table = (np.sqrt(np.arange(1000) / 999) * 1023).round().astype(int)
    item.add_new("LUTData", "US", table.tolist())
    return item


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_voi_lut_is_dcmtks(photometric: str, tmp_path: Path) -> None:
    data_set = ramp(VOILUTSequence=Sequence([voi_lut()]), PhotometricInterpretation=photometric)
    del data_set.WindowCenter, data_set.WindowWidth
    path = save(data_set, tmp_path / "voi.dcm")
    found = source(path, tmp_path)
    assert found is not None
    _same_but_for_rounding(found.picture(), drawn_by_dcmtk(path, "+Wl", "1"))


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_real_files_with_lookup_tables_are_dcmtks(name: str, tmp_path: Path) -> None:
    path = next((path for path in all_files() if path.name.endswith(name)), None)
    if path is None:
        pytest.skip(f"{name} is not in this clone")
    found = source(path, tmp_path)
    assert found is not None
    copy = tmp_path / name
    copy.write_bytes(path.read_bytes())
    if found.description().transform(0).voi_luts:
        expected = drawn_by_dcmtk(copy, "+Wl", "1")
    else:
        expected = drawn_by_dcmtk(copy, "+Wm")
    _same_but_for_rounding(found.picture(), expected)


def _same_but_for_rounding(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """dcmtk floors where the rule rounds: one grey level at most lies between them."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("path", pydicom_files(), ids=lambda path: path.name)
def test_windows_of_pydicoms_files_are_the_standards(path: Path, tmp_path: Path) -> None:
    """For clones without the real images: the same rule, over pydicom's decoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        if not str(data_set.get("PhotometricInterpretation")).startswith("MONOCHROME"):
            return
        if "NumberOfFrames" in data_set or "PixelData" not in data_set:
            return
        try:
            stored = data_set.pixel_array
        except (AttributeError, RuntimeError, ValueError):
            return
    found = source(path, tmp_path)
    if found is None:
        return
    window = Window(40.5, 401.25)
    slope = data_set.get("RescaleSlope", data_set.get("DoseGridScaling", 1))
    rescale = Rescale(float(slope), float(data_set.get("RescaleIntercept", 0)))
    shades = displayed(modality_values(stored, rescale), window)
    if data_set.PhotometricInterpretation == "MONOCHROME1":
        shades = 255 - shades
    picture = found.picture(0, Rendering(center=window.center, width=window.width))
    np.testing.assert_array_equal(picture, np.floor(shades + 0.5))


def test_what_is_no_picture_is_unsupported_not_wrong(tmp_path: Path) -> None:
    path = save(ramp(PhotometricInterpretation="HSV"), tmp_path / "hsv.dcm")
    found = source(path, tmp_path)
    assert found is not None
    with pytest.raises(Unsupported):
        found.picture()
