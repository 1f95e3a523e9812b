"""Transcoding over the corpus: values against pydicom's reading, pixels against the oracle."""

import hashlib
import io
import os
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from hilum.core.errors import Corrupt, HilumError, Unsupported
from hilum.core.instance import Header
from hilum.imaging.header import read_header
from hilum.imaging.transcode import can_transcode, transcode
from tests.corpus import REAL_IMAGES, all_files, rows
from tests.data_sets import INSTANCE, encapsulated, encoded, minimal, native, part10

# pydicom, as an oracle, comments on the odd values of the corpus.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TARGETS = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]

LOSSY_JPEG = {JPEGBaseline8Bit, JPEGExtended12Bit}

#: Damaged beyond decoding; pydicom fails on them as well.
UNDECODABLE = {"JPEG2000-embedded-sequence-delimiter.dcm", "example3.dcm"}

#: What may differ where pixels were decoded (PS3.3 C.7.6.3), and the pixels.
PIXEL_TAGS = {0x00280004, 0x00280006, 0x00282110, 0x00282114, 0x7FE00010}
PIXEL_TAGS |= {0x7FE00001, 0x7FE00002, 0x7FE00003}


def transcoded(data: bytes, source_uid: str, target_uid: str) -> bytes:
    out = io.BytesIO()
    transcode(io.BytesIO(data), source_uid, target_uid, out)
    return out.getvalue()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data), force=True)


def transcodable() -> Iterator[tuple[Path, bytes, Header]]:
    for path in all_files():
        data = path.read_bytes()
        try:
            header = read_header(io.BytesIO(data))
        except HilumError:
            continue
        if can_transcode(header.transfer_syntax_uid, ExplicitVRLittleEndian):
            yield path, data, header


def raw_values(data_set: Dataset, path: str = "") -> dict[str, bytes]:
    """Value fields as they lie in the file, by path; none of group lengths and sequences."""
    values: dict[str, bytes] = {}
    sequences = []
    for tag in list(data_set.keys()):
        element = data_set.get_item(tag, keep_deferred=True)
        if tag.element == 0 or tag in PIXEL_TAGS:
            continue
        unknown = element.VR in {None, "UN"} and tag in DicomDictionary
        if (dictionary_VR(tag) if unknown else element.VR) == "SQ":
            sequences.append(tag)
        else:
            values[f"{path}{tag}"] = element.value or b""
    for tag in sequences:  # last, for pydicom parses other elements when it reads them
        for index, item in enumerate(data_set[tag].value):
            values |= raw_values(item, f"{path}{tag}[{index}]")
    return values


@pytest.mark.parametrize("target", TARGETS, ids=["explicit", "implicit"])
def test_every_value_of_the_corpus_stays_byte_for_byte(target: str) -> None:
    checked = 0
    for path, data, header in transcodable():
        if header.transfer_syntax_uid == ExplicitVRBigEndian or path.name.endswith(
            tuple(UNDECODABLE)
        ):
            continue
        found = read(transcoded(data, header.transfer_syntax_uid, target))
        assert found.file_meta.TransferSyntaxUID == target
        assert raw_values(found) == raw_values(read(data)), path
        checked += 1
    assert checked >= 50


@pytest.mark.parametrize("target", TARGETS, ids=["explicit", "implicit"])
def test_decoded_pixels_are_those_other_programs_decode(target: str) -> None:
    checked = 0
    for row in rows("ORACLE.csv"):
        path = REAL_IMAGES / row["file"]
        data = path.read_bytes()
        try:
            header = read_header(io.BytesIO(data))
        except HilumError:
            continue
        if header.pixel_data is None or not header.pixel_data.frame_offsets:
            continue
        if row["pydicom_pixels"] != "ok":
            continue
        data_set = read(transcoded(data, header.transfer_syntax_uid, target))
        assert data_set.get("PlanarConfiguration", 0) == 0
        assert data_set.PhotometricInterpretation not in {"YBR_RCT", "YBR_ICT", "YBR_FULL_422"}
        if data_set.BitsAllocated == 1:
            continue  # the oracle's pixels are unpacked
        size = int(np.prod([int(n) for n in row["pixel_shape"].split("x")]))
        size *= np.dtype(row["pixel_dtype"]).itemsize
        assert len(data_set.PixelData) == size + size % 2, path
        if header.transfer_syntax_uid in LOSSY_JPEG and row["pixel_dtype"] == "uint8":
            # The oracle has colours converted; pydicom knows how to leave them alone.
            expected = pixel_array(read(data), raw=True).tobytes()
        elif header.transfer_syntax_uid in LOSSY_JPEG:
            continue  # 12 bits: below
        else:
            expected = b""
            digest = hashlib.sha256(data_set.PixelData[:size]).hexdigest()
            assert digest == row["pixel_sha256_pydicom_raw"], path
        assert not expected or data_set.PixelData[:size] == expected, path
        checked += 1
    assert checked >= 70 or not rows("ORACLE.csv")


def dcmtk(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [f"/usr/bin/{program}", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def test_12_bit_jpeg_is_decoded_as_dcmtk_does(tmp_path: Path) -> None:
    checked = 0
    for path, data, header in transcodable():
        if header.transfer_syntax_uid != JPEGExtended12Bit or path.name.endswith("JPEG-lossy.dcm"):
            continue
        dcmtk("dcmdjpeg", path, tmp_path / "dcmtk.dcm")
        expected = pydicom.dcmread(tmp_path / "dcmtk.dcm")
        found = read(transcoded(data, JPEGExtended12Bit, ExplicitVRLittleEndian))
        difference = found.pixel_array.astype(int) - expected.pixel_array.astype(int)
        assert abs(difference).max() <= 1, path  # decoders of lossy JPEG may round either way
        checked += 1
    assert checked


@pytest.mark.parametrize("target", TARGETS, ids=["explicit", "implicit"])
def test_big_endian_files_are_as_dcmconv_writes_them(target: str, tmp_path: Path) -> None:
    checked = 0
    for path, data, header in transcodable():
        if header.transfer_syntax_uid != ExplicitVRBigEndian:
            continue
        dcmtk("dcmconv", "+te", path, tmp_path / "dcmtk.dcm")
        expected = pydicom.dcmread(tmp_path / "dcmtk.dcm")
        source = pydicom.dcmread(path, force=True)
        source.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        found = read(transcoded(data, ExplicitVRBigEndian, target))
        assert raw_values(found) == raw_values(expected), path
        if header.pixel_data is not None:
            # Of 32-bit pixels dcmtk turns 16-bit words round; pydicom, and Hilum, whole pixels.
            assert np.array_equal(found.pixel_array, source.pixel_array), path
            if found.BitsAllocated <= 16:
                assert found.PixelData == expected.PixelData, path
        checked += 1
    assert checked >= 5


def explicit_vrs(data_set: Dataset, path: str = "") -> dict[str, str]:
    vrs = {}
    for tag in list(data_set.keys()):
        element = data_set.get_item(tag, keep_deferred=True)
        vrs[f"{path}{tag}"] = str(element.VR)
        if element.VR == "SQ":
            for index, item in enumerate(data_set[tag].value):
                vrs |= explicit_vrs(item, f"{path}{tag}[{index}]")
    return vrs


def test_vrs_made_up_for_implicit_files_are_those_dcmconv_makes_up(tmp_path: Path) -> None:
    checked = 0
    for path, data, header in transcodable():
        if header.transfer_syntax_uid != ImplicitVRLittleEndian:
            continue
        dcmtk("dcmconv", "+te", "+F", path, tmp_path / "dcmtk.dcm")
        expected = explicit_vrs(pydicom.dcmread(tmp_path / "dcmtk.dcm"))
        found = explicit_vrs(read(transcoded(data, ImplicitVRLittleEndian, ExplicitVRLittleEndian)))
        different = {
            path: (vr, expected.get(path))
            for path, vr in found.items()
            if vr != expected.get(path, vr) and vr != "UN"
        }
        assert not different, (path.name, different)
        checked += 1
    assert checked >= 5


# --- made files ---------------------------------------------------------------------------


def test_the_instance_stays_the_same_instance() -> None:
    data = part10(encoded(minimal(PatientName="Doe^Jane"), implicit=True), ImplicitVRLittleEndian)
    found = read(transcoded(data, ImplicitVRLittleEndian, ExplicitVRLittleEndian))
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert found.SOPClassUID == found.file_meta.MediaStorageSOPClassUID


def test_dcmdump_reads_what_is_written_without_complaint(tmp_path: Path) -> None:
    data_set = minimal(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen")
    data_set.RequestAttributesSequence = [minimal(), Dataset()]
    data_set.RequestAttributesSequence[1].ScheduledProcedureStepID = "1"
    block = data_set.private_block(0x0009, "HILUM TEST", create=True)
    block.add_new(1, "OB", b"1234")
    for implicit, source in ((True, ImplicitVRLittleEndian), (False, ExplicitVRLittleEndian)):
        for target in TARGETS:
            data = part10(encoded(data_set, implicit=implicit), source)
            path = tmp_path / "out.dcm"
            path.write_bytes(transcoded(data, source, target))
            assert "W:" not in (dump := dcmtk("dcmdump", path))
            assert "E:" not in dump
            assert "HILUM TEST" in dump


def test_values_are_found_wherever_the_reading_blocks_end() -> None:
    for size in range(65480, 65560, 2):
        data_set = minimal(PatientID="17", StudyID="last")
        data_set.add_new(0x00091001, "UN", b"x" * size)
        data_set.PerformedProtocolCodeSequence = [minimal(CodeValue="1"), minimal(CodeValue="2")]
        data = part10(encoded(data_set))
        found = read(transcoded(data, ExplicitVRLittleEndian, ImplicitVRLittleEndian))
        assert raw_values(found) == raw_values(read(data))


def test_a_value_too_long_for_its_vr_becomes_un() -> None:
    points = b"1\\" * 40_000
    body = encoded(minimal()) + struct.pack("<HHI", 0x3006, 0x0050, len(points)) + points
    body = encoded(minimal(), implicit=True) + body[len(encoded(minimal())) :]
    out = transcoded(part10(body, ImplicitVRLittleEndian), ImplicitVRLittleEndian, TARGETS[0])
    element = read(out).get_item(0x30060050)
    assert (element.VR, element.value) == ("UN", points)


def test_signed_look_up_values_follow_the_pixel_representation() -> None:
    for representation, vr in ((0, "US"), (1, "SS")):
        data_set = minimal(PixelRepresentation=representation)
        data_set.add_new(0x00280106, "US", 65535)
        item = Dataset()
        item.add_new(0x00283002, "US", [1, 65535, 16])
        data_set.ModalityLUTSequence = [item]
        data = part10(encoded(data_set, implicit=True), ImplicitVRLittleEndian)
        found = read(transcoded(data, ImplicitVRLittleEndian, ExplicitVRLittleEndian))
        assert vr == found.get_item(0x00280106).VR
        assert vr == found.ModalityLUTSequence[0].get_item(0x00283002).VR


def test_rle_frames_with_an_extended_offset_table_come_out_native(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 4000, (3, 6, 5), np.uint16)
    data_set = minimal(
        Rows=6,
        Columns=5,
        SamplesPerPixel=1,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2",
        NumberOfFrames=3,
    )
    plain = part10(
        encoded(data_set) + native(frames.tobytes()) + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0...."
    )
    (tmp_path / "plain.dcm").write_bytes(plain)
    dcmtk("dcmcrle", tmp_path / "plain.dcm", tmp_path / "rle.dcm")
    compressed = pydicom.dcmread(tmp_path / "rle.dcm")
    compressed.ExtendedOffsetTable = b"\0" * 24
    compressed.ExtendedOffsetTableLengths = b"\0" * 24
    compressed.save_as(tmp_path / "rle.dcm")
    for target in TARGETS:
        found = read(transcoded((tmp_path / "rle.dcm").read_bytes(), RLELossless, target))
        assert found.PixelData == frames.tobytes()
        assert "ExtendedOffsetTable" not in found
        assert "ExtendedOffsetTableLengths" not in found
        assert found.DataSetTrailingPadding == b"...."
        assert found.NumberOfFrames == 3


def test_one_bit_frames_are_packed_without_gaps() -> None:
    path = next((p for p in all_files() if p.name.endswith("liver_rle.dcm")), None)
    plain = next((p for p in all_files() if p.name.endswith("liver.dcm")), None)
    if path is None or plain is None:
        pytest.skip("the real images are absent")
    found = read(transcoded(path.read_bytes(), RLELossless, ExplicitVRLittleEndian))
    assert found.PixelData == pydicom.dcmread(plain).PixelData


def test_lossy_compression_is_not_forgotten() -> None:
    path = next(p for p in all_files() if p.name.endswith("SC_rgb_small_odd_jpeg.dcm"))
    source = pydicom.dcmread(path)
    found = read(transcoded(path.read_bytes(), JPEGBaseline8Bit, ExplicitVRLittleEndian))
    assert found.LossyImageCompression == "01"
    assert found.LossyImageCompressionMethod == "ISO_10918_1"
    assert source.get("LossyImageCompressionMethod", "ISO_10918_1") == "ISO_10918_1"


def test_a_deflated_file_is_the_same_one_inflated() -> None:
    body = encoded(minimal(Rows=2, Columns=2, BitsAllocated=16)) + native(bytes(range(8)))
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(body) + deflater.flush()
    data = part10(packed, DeflatedExplicitVRLittleEndian)
    assert transcoded(data, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian) == part10(body)


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 9, b"garbage behind the end", b"\xfc\xff\xfc\xffOB"]
)
def test_what_makes_no_sense_behind_the_pixels_is_left_out(tail: bytes) -> None:
    body = encoded(minimal(Rows=2, Columns=2, BitsAllocated=16)) + native(bytes(8))
    out = transcoded(part10(body + tail), ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    assert out == transcoded(part10(body), ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def test_damaged_sources_are_corrupt() -> None:
    body = encoded(minimal(Rows=2, Columns=2, BitsAllocated=16, SamplesPerPixel=1))
    data = part10(body + encapsulated(b"no code stream"), JPEGBaseline8Bit)
    with pytest.raises(HilumError):
        transcoded(data, JPEGBaseline8Bit, ExplicitVRLittleEndian)
    data = part10(body + native(bytes(8)), JPEGBaseline8Bit)
    with pytest.raises(Corrupt, match="not encapsulated"):
        transcoded(data, JPEGBaseline8Bit, ExplicitVRLittleEndian)
    data = part10(body + encapsulated(bytes(8)))
    with pytest.raises(Unsupported):
        transcoded(data, ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def test_what_cannot_be_transcoded_is_said_beforehand() -> None:
    assert can_transcode(RLELossless, ImplicitVRLittleEndian)
    assert not can_transcode("1.2.840.10008.1.2.4.100", ImplicitVRLittleEndian)  # MPEG-2
    assert not can_transcode(ImplicitVRLittleEndian, RLELossless)
    assert not can_transcode("1.2.3.4", ExplicitVRLittleEndian)
    with pytest.raises(Unsupported):
        transcoded(b"", ImplicitVRLittleEndian, RLELossless)


def test_a_large_native_file_passes_in_chunks(tmp_path: Path) -> None:
    size = 200 << 20
    data_set = minimal(Rows=1024, Columns=1024, BitsAllocated=16, NumberOfFrames=100)
    head = part10(encoded(data_set) + native(b"")[:-4] + struct.pack("<I", size))
    (tmp_path / "large.dcm").write_bytes(head)
    os.truncate(tmp_path / "large.dcm", len(head) + size)
    tracemalloc.start()
    with (tmp_path / "large.dcm").open("rb") as source, (tmp_path / "out").open("w+b") as out:
        transcode(source, ExplicitVRLittleEndian, ImplicitVRLittleEndian, out)
        assert out.tell() > size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20
