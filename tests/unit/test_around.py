"""Files rewritten around their pixels are what they are when they are rewritten whole."""

import io
from pathlib import Path

import pytest

from hilum.core.errors import HilumError
from hilum.imaging.around import rewrite_around
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from hilum.imaging.header import read_header
from hilum.imaging.transcode import transcode
from tests import corpus

TARGETS = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def whole(path: Path, source: str, target: str) -> bytes:
    out = io.BytesIO()
    with path.open("rb") as file:
        transcode(file, source, target, out)
    return out.getvalue()[: out.tell()]


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, over odd files
def test_every_native_file_comes_out_the_same() -> None:
    compared = 0
    for path in corpus.all_files():
        try:
            with path.open("rb") as file:
                source = read_header(file).transfer_syntax_uid
        except HilumError:
            continue
        for target in TARGETS:
            with path.open("rb") as file:
                found = rewrite_around(file, source, target)
            if found is None:
                continue
            at, size = found.pixels
            pixels = path.read_bytes()[at : at + size]
            assert found.head + pixels + found.tail == whole(path, source, target), path.name
            compared += 1
    assert compared > 20


def test_what_has_other_pixels_is_left_to_the_whole_way() -> None:
    for name in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "test-SR.dcm"):
        path = next(path for path in corpus.pydicom_files() if path.name == name)
        with path.open("rb") as file:
            source = read_header(file).transfer_syntax_uid
            assert rewrite_around(file, source, EXPLICIT_VR_LITTLE_ENDIAN) is None
