"""Files compressed by the node, read back by programs that have nothing to do with it."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pydicom.encaps
import pytest
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from hilum.core.errors import HilumError, NoPixelData, Unsupported
from hilum.imaging.compress import compress, compress_file, compress_frame
from hilum.imaging.decode import DECODABLE
from hilum.imaging.encode import (
    ENCODED,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    can_encode,
)
from hilum.imaging.header import read_header
from tests import corpus

FILES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_implicit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "image_dfl.dcm",
)


def file(name: str) -> Path:
    return next(path for path in corpus.pydicom_files() if path.name == name)


def syntax_of(path: Path) -> str:
    with path.open("rb") as opened:
        return read_header(opened).transfer_syntax_uid


def read_back(path: Path, folder: Path) -> NDArray[np.generic]:
    """Return the samples as dcmtk decompresses them, or OpenJPEG what dcmtk does not know."""
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    programs = {RLE_LOSSLESS: "dcmdrle", JPEG_LS_LOSSLESS: "dcmdjpls"}
    if syntax not in programs:
        return pixel_array(path, decoding_plugin="pylibjpeg")
    target = folder / "native.dcm"
    subprocess.run([f"/usr/bin/{programs[syntax]}", path, target], check=True)
    return pixel_array(target, raw=True)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, over odd files
@pytest.mark.parametrize("target", ENCODED)
@pytest.mark.parametrize("name", FILES)
def test_others_read_the_same_samples(name: str, target: str, tmp_path: Path) -> None:
    source, compressed = file(name), tmp_path / "compressed.dcm"
    if syntax_of(source) == target:
        pytest.skip("it is in this transfer syntax")
    compress_file(source, syntax_of(source), target, compressed)
    before = pydicom.dcmread(source)
    after = pydicom.dcmread(compressed)
    expected = pixel_array(before, raw=True)
    found = read_back(compressed, tmp_path)
    assert found.dtype.itemsize == expected.dtype.itemsize
    assert np.array_equal(found, expected)
    assert after.file_meta.TransferSyntaxUID == target
    transformed = target in {JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS} and expected.shape[-1] == 3
    if transformed:
        assert after.PhotometricInterpretation == "YBR_RCT"
        after.PhotometricInterpretation = before.PhotometricInterpretation
    for data_set in (before, after):
        del data_set["PixelData"]
        # Left as it was but for what says how pixels are written.
        data_set.pop("PlanarConfiguration", None)
    assert after == before


def test_a_frame_alone_is_the_frame_of_the_file() -> None:
    source = file("SC_rgb_rle_16bit_2frame.dcm")
    out = io.BytesIO()
    with source.open("rb") as opened:
        header = read_header(opened)
        compress(opened, header.transfer_syntax_uid, JPEG_LS_LOSSLESS, out)
    out.seek(0)
    frames = pydicom.encaps.generate_frames(pydicom.dcmread(out).PixelData, number_of_frames=2)
    assert header.pixel_data is not None
    for index, frame in enumerate(frames):
        alone = compress_frame(
            source,
            header.pixel_data,
            header.transfer_syntax_uid,
            header.data_set_offset,
            index,
            JPEG_LS_LOSSLESS,
        )
        assert alone == frame


def test_what_has_no_place_in_a_code_stream_is_refused() -> None:
    for name in ("liver_1frame.dcm", "rtdose.dcm"):  # bits, and 32-bit integers
        with file(name).open("rb") as opened, pytest.raises(Unsupported):
            compress(opened, syntax_of(file(name)), JPEG_2000_LOSSLESS, io.BytesIO())
    with file("test-SR.dcm").open("rb") as opened, pytest.raises(NoPixelData):
        compress(opened, syntax_of(file("test-SR.dcm")), RLE_LOSSLESS, io.BytesIO())
    assert not can_encode("1.2.840.10008.1.2.4.100", RLE_LOSSLESS)  # MPEG-2
    assert not can_encode(RLE_LOSSLESS, "1.2.840.10008.1.2.4.50")
    with pytest.raises(Unsupported):
        compress(io.BytesIO(), RLE_LOSSLESS, "1.2.840.10008.1.2.4.50", io.BytesIO())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_file_is_compressed_or_refused() -> None:
    for path in corpus.pydicom_files():
        try:
            source = syntax_of(path)
            if source in DECODABLE:
                with path.open("rb") as opened:
                    compress(opened, source, RLE_LOSSLESS, io.BytesIO())
        except HilumError:
            continue
