"""PNG files, read back by another program's decoder."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hilum.imaging import png
from hilum.imaging.png import encode_png


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    colour=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_pillow_reads_what_was_written(rows: int, columns: int, colour: bool, seed: int) -> None:
    shape = (rows, columns, 3) if colour else (rows, columns)
    picture = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    read = Image.open(io.BytesIO(encode_png(picture)))
    assert read.mode == ("RGB" if colour else "L")
    np.testing.assert_array_equal(np.asarray(read), picture)


def test_every_chunk_has_its_checksum() -> None:
    data = encode_png(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, kinds = 8, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunk = data[position + 4 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        assert zlib.crc32(chunk).to_bytes(4, "big") == checksum
        kinds.append(chunk[:4])
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_pictures_that_are_not_contiguous() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)[::2, ::-2]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture)


def test_the_standard_library_writes_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    monkeypatch.setattr(png, "compress", zlib.compress)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture)
