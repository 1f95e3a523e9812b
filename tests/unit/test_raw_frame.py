"""Frames without compression, and where stored ones lie in their files."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pack_bits
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
)

from hilum.core.errors import Corrupt, Invalid, NotFound
from hilum.core.instance import Header
from hilum.imaging.extents import Extent, stored_extents
from hilum.imaging.header import read_header
from hilum.imaging.raw_frame import raw_frame
from tests.data_sets import encapsulated, encoded, minimal, native, part10


def image(**attributes: object) -> bytes:
    """Return the elements in front of the pixels of a 3 × 3 image."""
    return encoded(minimal(**{**_SMALL, **attributes}))


_SMALL = {
    "Rows": 3,
    "Columns": 3,
    "SamplesPerPixel": 1,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
    "PhotometricInterpretation": "MONOCHROME2",
}


def written(path: Path, content: bytes) -> Header:
    path.write_bytes(content)
    with path.open("rb") as file:
        return read_header(file)


def frame(path: Path, header: Header, index: int) -> bytes:
    assert header.pixel_data is not None
    return raw_frame(
        path, header.pixel_data, header.transfer_syntax_uid, header.data_set_offset, index
    )


def extents(path: Path, header: Header, *indices: int) -> list[tuple[Extent, ...]] | None:
    assert header.pixel_data is not None
    return stored_extents(
        path, header.pixel_data, header.transfer_syntax_uid, header.data_set_offset, indices
    )


def test_each_frame_of_bits_begins_with_a_byte_of_its_own(tmp_path: Path) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (5, 9), dtype=np.uint8)
    head = image(BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=5)
    header = written(tmp_path / "bits", part10(head + native(pack_bits(bits.reshape(-1)))))
    for index in range(5):
        expected = pack_bits(bits[index], pad=False)
        assert frame(tmp_path / "bits", header, index) == expected
    assert extents(tmp_path / "bits", header, 0) is None


@pytest.mark.parametrize(
    ("bits", "vr", "word"), [(8, "OB", 1), (8, "OW", 2), (16, "OW", 2), (32, "OW", 4)]
)
def test_big_endian_pixels_turn_round(tmp_path: Path, bits: int, vr: str, word: int) -> None:
    data_set = minimal(**{**_SMALL, "Rows": 2, "Columns": 4, "BitsAllocated": bits})
    data_set.BitsStored, data_set.HighBit = bits, bits - 1
    content = bytes(range(bits))  # eight pixels
    body = encoded(data_set, little_endian=False)
    pixels = struct.pack(">HH2sHI", 0x7FE0, 0x0010, vr.encode(), 0, len(content)) + content
    header = written(tmp_path / "big", part10(body + pixels, ExplicitVRBigEndian))
    expected = np.frombuffer(content, f">u{word}").astype(f"<u{word}").tobytes()
    assert frame(tmp_path / "big", header, 0) == expected
    assert extents(tmp_path / "big", header, 0) is None


def test_native_frames_lie_behind_each_other(tmp_path: Path) -> None:
    pixels = bytes(range(28))  # three frames of nine, and a byte of padding
    content = part10(image(NumberOfFrames=3) + native(pixels, b"OB"))
    header = written(tmp_path / "native", content)
    found = extents(tmp_path / "native", header, 2, 0)
    assert found is not None
    assert [content[at : at + size] for ((at, size),) in found] == [pixels[18:27], pixels[:9]]
    with pytest.raises(NotFound):
        extents(tmp_path / "native", header, 3)


def test_fragments_lie_where_pydicom_finds_them(tmp_path: Path) -> None:
    fragments = [b"\xff\xd8\xff" + bytes([n]) * (2 * n + 1) for n in range(4)]
    pixels = encapsulated(*fragments, table=struct.pack("<2I", 0, 8 + 4 + 8 + 6))
    content = part10(image(NumberOfFrames=2) + pixels, JPEGBaseline8Bit)
    header = written(tmp_path / "fragments", content)
    found = extents(tmp_path / "fragments", header, 0, 1)
    assert found is not None
    joined = [b"".join(content[at : at + size] for at, size in each) for each in found]
    value = pixels[12:]
    assert joined == list(generate_frames(value, number_of_frames=2))


def test_items_that_were_moved_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    content = bytearray(part10(image() + encapsulated(b"frame!"), JPEGBaseline8Bit))
    header = written(path, bytes(content))
    at = content.rindex(b"\xfe\xff\x00\xe0")
    for position, value in ((at + 4, b"\xff\xff\xff\x7f"), (at, b"\0\0\0\0")):
        damaged = bytearray(content)
        damaged[position : position + 4] = value
        path.write_bytes(damaged)
        with pytest.raises(Corrupt):
            extents(path, header, 0)
    path.write_bytes(content[:at])
    with pytest.raises(Corrupt):
        extents(path, header, 0)
    path.unlink()
    with pytest.raises(NotFound):
        extents(path, header, 0)
    with pytest.raises(NotFound):
        frame(path, header, 0)


def test_what_does_not_say_how_large_frames_are_is_invalid(tmp_path: Path) -> None:
    data_set = minimal(BitsAllocated=8)
    content = part10(encoded(data_set) + native(bytes(10), b"OB"))
    header = written(tmp_path / "unsaid", content)
    with pytest.raises(Invalid):
        extents(tmp_path / "unsaid", header, 0)
    short = part10(image() + native(bytes(8), b"OB"))
    header = written(tmp_path / "short", short)
    with pytest.raises(Corrupt):
        extents(tmp_path / "short", header, 0)
