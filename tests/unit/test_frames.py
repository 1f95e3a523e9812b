"""Frames out of files: against pydicom's own, and where frames are hard to tell apart."""

import io
import itertools
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from hilum.core.errors import Corrupt, HilumError, NotDicom, NotFound
from hilum.core.instance import Header
from hilum.imaging import frame_table
from hilum.imaging.frames import frame_range, frame_size_bits, read_frame, read_head
from hilum.imaging.header import read_header
from hilum.imaging.reader import FileReader, open_reader
from tests.corpus import all_files
from tests.data_sets import CountingFile, encapsulated, encoded, item, minimal, native, part10

JPEG = [b"\xff\xd8\xff\xe0" + bytes([n]) * 4 for n in range(6)]
J2K = [b"\xff\x4f\xff\x51" + bytes([n]) * 4 for n in range(6)]
MORE = b"\1\2\3\4"


def frames_of(data: bytes, frame_bits: int = 0) -> list[bytes]:
    file = io.BytesIO(data)
    header = read_header(file)
    assert header.pixel_data is not None
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    return [
        read_frame(reader, header.pixel_data, index, frame_bits)
        for index in range(header.pixel_data.frame_count)
    ]


def encapsulated_file(
    *fragments: bytes,
    frames: int | str | None,
    table: bytes = b"",
    extended: bytes = b"",
    uid: str = JPEGBaseline8Bit,
    delimiter: bool = True,
) -> bytes:
    data_set = minimal() if frames is None else minimal(NumberOfFrames=frames)
    body = encoded(data_set)
    if extended:
        body += struct.pack("<HH2sHI", 0x7FE0, 1, b"OV", 0, len(extended)) + extended
    return part10(body + encapsulated(*fragments, table=table, delimiter=delimiter), uid)


def test_frames_of_the_corpus_equal_pydicoms() -> None:
    compared = 0
    for path in all_files():
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                header = read_header(file)
            except HilumError:
                continue
            if header.pixel_data is None or header.transfer_syntax_uid == ExplicitVRBigEndian:
                continue
            data_set = pydicom.dcmread(path, force=True)
            tag = header.pixel_data.tag
            if tag not in data_set or "BitsAllocated" not in data_set:
                continue
            value = data_set[tag].value
            bits = frame_size_bits(
                data_set.Rows,
                data_set.Columns,
                data_set.SamplesPerPixel,
                data_set.BitsAllocated,
                data_set.PhotometricInterpretation,
            )
            count = header.pixel_data.frame_count
            expected: list[bytes]
            if header.pixel_data.frame_offsets:
                expected = list(generate_frames(value, number_of_frames=count))
            else:
                unpacked = np.unpackbits(np.frombuffer(value, np.uint8), bitorder="little")
                expected = [
                    np.packbits(unpacked[n * bits : (n + 1) * bits], bitorder="little").tobytes()
                    for n in range(count)
                ]
            reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
            found = [read_frame(reader, header.pixel_data, n, bits) for n in range(count)]
            assert found == expected, path
            compared += 1
    assert compared >= 50


# --- which fragments make a frame ------------------------------------------------------------


def offsets(*counts: int, size: int = 16, code: str = "I") -> bytes:
    """An offset table of frames with so many fragments each, of `size` bytes with header."""
    starts = [0, *itertools.accumulate(counts[:-1])]
    return struct.pack(f"<{len(counts)}{code}", *(start * size for start in starts))


def test_as_many_fragments_as_frames_are_a_frame_each_whatever_the_table_says() -> None:
    data = encapsulated_file(*JPEG[:3], frames=3, table=offsets(2, 1, 1))
    assert frames_of(data) == JPEG[:3]


def test_one_frame_is_all_fragments() -> None:
    for frames in (1, "", None, 0):
        data = encapsulated_file(JPEG[0], MORE, MORE, frames=frames)
        assert frames_of(data) == [JPEG[0] + MORE + MORE]


def test_the_basic_offset_table_tells_the_fragments_of_a_frame() -> None:
    parts = (b"a" * 8, b"b" * 8, b"c" * 8, b"d" * 8)
    data = encapsulated_file(*parts, frames=2, table=offsets(3, 1), uid=RLELossless)
    assert frames_of(data) == [b"".join(parts[:3]), parts[3]]


def test_the_extended_offset_table_tells_the_fragments_of_a_frame() -> None:
    parts = (b"a" * 8, b"b" * 8, b"c" * 8, b"d" * 8)
    extended = offsets(3, 1, code="Q")
    data = encapsulated_file(*parts, frames=2, extended=extended, uid=RLELossless)
    assert frames_of(data) == [b"".join(parts[:3]), parts[3]]


@pytest.mark.parametrize("streams", [JPEG, J2K], ids=["JPEG", "JPEG 2000"])
@pytest.mark.parametrize("table", [b"", offsets(3, 1, size=15), offsets(1, 1, 1, 1, 1), b"\0\0"])
def test_code_streams_tell_where_tables_are_missing_or_wrong(
    streams: list[bytes], table: bytes
) -> None:
    data = encapsulated_file(
        streams[0], streams[1], MORE, MORE, frames=2, table=table, uid=JPEG2000Lossless
    )
    assert frames_of(data) == [streams[0], streams[1] + MORE + MORE]


def test_without_a_number_of_frames_code_streams_are_counted() -> None:
    assert frames_of(encapsulated_file(*JPEG[:3], frames=None)) == JPEG[:3]


def test_fewer_fragments_than_frames_are_what_there_is() -> None:
    assert frames_of(encapsulated_file(*JPEG[:3], frames=10)) == JPEG[:3]
    assert frames_of(encapsulated_file(b"a whole video stream", frames=250)) == [
        b"a whole video stream"
    ]


def test_equal_shares_where_nothing_else_tells() -> None:
    parts = [bytes([n]) * 4 for n in range(6)]
    assert frames_of(encapsulated_file(*parts, frames=3)) == [
        parts[0] + parts[1],
        parts[2] + parts[3],
        parts[4] + parts[5],
    ]


def test_a_missing_delimiter_and_one_inside_a_fragment_do_not_matter() -> None:
    tricky = JPEG[0] + b"\xfe\xff\xdd\xe0\0\0\0\0"
    for delimiter in (True, False):
        data = encapsulated_file(tricky, JPEG[1], frames=2, delimiter=delimiter)
        assert frames_of(data) == [tricky, JPEG[1]]


def test_a_fragment_cut_short_is_not_dicom() -> None:
    data = encapsulated_file(*JPEG[:2], frames=2, delimiter=False)
    with pytest.raises(NotDicom, match="2 bytes early"):
        frames_of(data[:-2])


def test_undefined_length_without_items_is_not_dicom() -> None:
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    for rest in (b"", b"\xfe\xff\0", b"no item at all"):
        with pytest.raises(NotDicom):
            frames_of(part10(encoded(minimal()) + head + rest, JPEGBaseline8Bit))


def test_too_many_fragments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_table, "FRAGMENT_LIMIT", 3)
    with pytest.raises(NotDicom, match="more than 3 fragments"):
        frames_of(encapsulated_file(*JPEG[:4], frames=4))


# --- native frames --------------------------------------------------------------------------


def test_one_bit_frames_that_share_bytes() -> None:
    rows, columns, frames = 3, 5, 4
    bits = np.random.default_rng(7).integers(0, 2, (frames, rows * columns), np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    data_set = minimal(
        Rows=rows, Columns=columns, BitsAllocated=1, SamplesPerPixel=1, NumberOfFrames=frames
    )
    found = frames_of(part10(encoded(data_set) + native(packed, b"OB")), rows * columns)
    assert len(found) == frames
    for frame, expected in zip(found, bits, strict=True):
        assert frame == np.packbits(expected, bitorder="little").tobytes()


def test_a_422_frame_has_two_samples_a_pixel() -> None:
    assert frame_size_bits(10, 20, 3, 8, "YBR_FULL_422") == 10 * 20 * 2 * 8
    assert frame_size_bits(10, 20, 3, 8, "RGB") == 10 * 20 * 3 * 8


def three_frames() -> tuple[bytes, Header]:
    data_set = minimal(Rows=2, Columns=2, BitsAllocated=16, SamplesPerPixel=1, NumberOfFrames=3)
    data = part10(encoded(data_set) + native(bytes(range(24))))
    return data, read_header(io.BytesIO(data))


@pytest.mark.parametrize("index", [-1, 3, 10**9])
def test_a_frame_there_is_not_is_not_found(index: int) -> None:
    _, header = three_frames()
    assert header.pixel_data is not None
    with pytest.raises(NotFound):
        frame_range(header.pixel_data, index, 64)


def test_a_file_that_became_shorter_is_corrupt() -> None:
    data, header = three_frames()
    assert header.pixel_data is not None
    reader = FileReader(io.BytesIO(data[:-1]))
    assert read_frame(reader, header.pixel_data, 1, 64) == bytes(range(8, 16))
    with pytest.raises(Corrupt, match="1 bytes early"):
        read_frame(reader, header.pixel_data, 2, 64)
    with pytest.raises(Corrupt):
        read_head(FileReader(io.BytesIO(data[:100])), header.data_set_offset, header.pixel_data)
    with pytest.raises(Corrupt):
        frame_range(header.pixel_data, 2, 65)


def test_items_that_moved_are_corrupt() -> None:
    data = encapsulated_file(*JPEG[:2], frames=2)
    header = read_header(io.BytesIO(data))
    assert header.pixel_data is not None
    moved = data.replace(item(JPEG[1]), b"\0" * 16)
    with pytest.raises(Corrupt):
        read_frame(FileReader(io.BytesIO(moved)), header.pixel_data, 1)


def test_a_frame_of_a_3_gb_multi_frame_is_one_read(tmp_path: Path) -> None:
    rows = columns = 1024
    data_set = minimal(
        Rows=rows, Columns=columns, BitsAllocated=16, SamplesPerPixel=1, NumberOfFrames=1500
    )
    size = rows * columns * 2
    head = part10(encoded(data_set) + native(b"")[:-4] + struct.pack("<I", 1500 * size))
    path = tmp_path / "cine.dcm"
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + 1234 * size)
        file.write(b"\1" * size)
    os.truncate(path, len(head) + 1500 * size)
    with path.open("rb") as file:
        header = read_header(file)
        assert header.pixel_data is not None
        counting = CountingFile(file)
        frame = read_frame(FileReader(counting), header.pixel_data, 1234, size * 8)
    assert frame == b"\1" * size
    assert counting.count == size


def test_the_head_ends_with_the_pixel_data_elements_own_header() -> None:
    data, header = three_frames()
    assert header.pixel_data is not None
    head = read_head(FileReader(io.BytesIO(data)), header.data_set_offset, header.pixel_data)
    assert head == data[header.data_set_offset : -24]
    assert head.endswith(b"\xe0\x7f\x10\0OW\0\0\x18\0\0\0")


# --- deflated ---------------------------------------------------------------------------------


def test_frames_of_a_deflated_file_in_any_order() -> None:
    rng = np.random.default_rng(3)
    rows, columns, count = 512, 512, 40
    size = rows * columns * 2
    frames = [rng.integers(0, 2, size, np.uint8).tobytes() for _ in range(count)]
    data_set = minimal(
        Rows=rows, Columns=columns, BitsAllocated=16, SamplesPerPixel=1, NumberOfFrames=count
    )
    deflater = zlib.compressobj(1, wbits=-15)
    packed = deflater.compress(encoded(data_set) + native(b"".join(frames))) + deflater.flush()
    file = io.BytesIO(part10(packed, DeflatedExplicitVRLittleEndian))
    header = read_header(file)
    assert header.pixel_data is not None
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    for index in (39, 0, 20, 21, 5):
        assert read_frame(reader, header.pixel_data, index, size * 8) == frames[index]
