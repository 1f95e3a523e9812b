"""Decoded samples against what other programs made of the same files."""

import hashlib
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

from hilum.imaging.description import ImageDescription
from hilum.imaging.render import render
from tests.corpus import REAL_IMAGES, pydicom_files, rows
from tests.pictures import Rendering, Source, source

ORACLE = {row["file"]: row for row in rows("ORACLE.csv") if row["pixel_dtype"]}

#: 12-bit lossy JPEG: the oracle's decoder and dcmtk's (the standard's reference software
#: underneath) differ by rounding; ours is held to dcmtk's below.
LOSSY_12_BIT = frozenset(
    file
    for file in ORACLE
    if file.endswith(("JPGExtended.dcm", "JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm"))
)


@pytest.mark.parametrize("file", sorted(ORACLE.keys() - LOSSY_12_BIT))
def test_decoded_samples_equal_the_oracle(file: str, tmp_path: Path) -> None:
    row = ORACLE[file]
    found = source(REAL_IMAGES / file, tmp_path)
    assert found is not None
    samples = found.decoded()
    if found.description().photometric_interpretation.startswith("YBR_FULL") or _is_jfif(found):
        # The oracle converted these to RGB, whatever its column's name says.
        samples = _as_rgb(found.description(), samples)
    assert "x".join(map(str, samples.shape)) == row["pixel_shape"]
    stored = samples.astype(np.dtype(row["pixel_dtype"]))
    assert hashlib.sha256(stored.tobytes()).hexdigest() == row["pixel_sha256_pydicom_raw"]


def _is_jfif(found: Source) -> bool:
    """RGB by its header, YCbCr by its code stream: three redacted mammograms."""
    return found.path.name.endswith(("example-mg.dcm", "example.dcm", "example2.dcm"))


def _as_rgb(description: ImageDescription, samples: np.ndarray) -> np.ndarray:
    frames = samples.reshape(-1, *description.shape)
    converted = [render(description, frame, 0, Rendering(), "YBR_FULL") for frame in frames]
    return np.stack(converted).reshape(samples.shape)


#: Frames of an odd number of bytes in words of the wrong order share words.
SHARED_WORDS = "SC_rgb_small_odd_big_endian.dcm"


@pytest.mark.parametrize(
    "path",
    [path for path in pydicom_files() if path.name != SHARED_WORDS],
    ids=lambda path: path.name,
)
def test_decoded_samples_equal_pydicoms(path: Path, tmp_path: Path) -> None:
    found = source(path, tmp_path)
    if found is None:
        pytest.skip("no pixels, or nothing a node would take")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = pixel_array(found.path, raw=True, allow_excess_frames=False)
        except (AttributeError, RuntimeError, ValueError) as error:
            pytest.skip(f"pydicom cannot: {str(error)[:60]}")
    np.testing.assert_array_equal(found.decoded(), expected)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_12_bit_jpeg_equals_dcmtks(name: str, tmp_path: Path) -> None:
    path = next((path for path in pydicom_files() if path.name == name), None)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    native = tmp_path / "native.dcm"
    subprocess.run(["/usr/bin/dcmdjpeg", str(path), str(native)], check=True, timeout=30)
    expected = pydicom.dcmread(native)
    found = source(path, tmp_path)
    assert found is not None
    assert found.decoded().tobytes() == expected.PixelData
