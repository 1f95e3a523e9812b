"""`read_header` over the corpus, against pydicom's own reading of the same files."""

import io
import os
import struct
import subprocess
import warnings
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from hilum.core.errors import HilumError, Invalid, NotDicom
from hilum.core.instance import Header
from hilum.core.levels import INDEX_TAGS, json_tag
from hilum.imaging.header import read_header
from hilum.imaging.reader import INFLATED_LIMIT_BYTES
from tests.corpus import REAL_IMAGES, all_files, rows
from tests.data_sets import (
    INSTANCE,
    SERIES,
    STUDY,
    CountingFile,
    encapsulated,
    encoded,
    minimal,
    native,
    part10,
    with_unknown_vrs,
)
from tests.dcmtk import dump


def read(data: bytes) -> Header:
    return read_header(io.BytesIO(data))


def read_path(path: Path) -> Header:
    with path.open("rb") as file:
        return read_header(file)


def values(header: Header, keyword: str) -> Any:
    return header.attributes[json_tag(keyword)].get("Value")


def by_pydicom(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True, stop_before_pixels=True)


def plain(value: Any) -> Any:
    """A value of the JSON model without what the two readers may spell differently."""
    if isinstance(value, list):
        values = [plain(entry) for entry in value]
        return values if any(entry not in ("", {}) for entry in values) else []
    if isinstance(value, dict):
        entries = {key: plain(entry) for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if entry not in ("", [])}
    if isinstance(value, str):
        return value.strip(" \0")
    return "" if value is None else value


def expected_attributes(data_set: Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            f"{tag:08X}": plain(data_set[tag].to_json_dict(None, 0))
            for tag in INDEX_TAGS
            if tag in data_set
        }


def readable_files() -> list[tuple[Path, Header]]:
    found = []
    for path in all_files():
        try:
            found.append((path, read_path(path)))
        except HilumError:
            continue
    return found


def test_attributes_equal_pydicoms_on_every_file_of_the_corpus() -> None:
    checked = 0
    for path, header in readable_files():
        data_set = by_pydicom(path)
        try:
            expected = expected_attributes(data_set)
        except (ValueError, TypeError, NotImplementedError):
            continue  # pydicom refuses a value; what Hilum makes of those is tested below
        assert plain(header.attributes) == plain(expected), path
        assert header.identity.sop_instance_uid == str(data_set.SOPInstanceUID).strip(" \0")
        checked += 1
    assert checked > 0.95 * len(readable_files())


def test_takes_every_file_that_orthanc_takes() -> None:
    # Orthanc's database answers 404 for a file it stored without identifiers of its own.
    for row in rows("ORACLE.csv"):
        if row["orthanc_1_10_post"] in {"Success", "AlreadyStored"}:
            read_path(REAL_IMAGES / row["file"])


def test_says_not_dicom_of_the_truncated_files_and_invalid_of_those_without_uids() -> None:
    outcomes = {}
    for row in rows("ORACLE.csv"):
        if row["orthanc_1_10_post"].startswith("HTTP"):
            try:
                read_path(REAL_IMAGES / row["file"])
            except HilumError as error:
                outcomes[row["file"].split("/")[1].split("_", 1)[1]] = type(error)
    if not outcomes:
        pytest.skip("the real images are absent")
    assert outcomes.pop("MR_truncated.dcm") is NotDicom
    assert outcomes.pop("rtplan_truncated.dcm") is NotDicom
    assert outcomes.pop("no_meta.dcm") is NotDicom
    assert outcomes.pop("meta_missing_tsyntax.dcm") is NotDicom
    assert set(outcomes.values()) == {Invalid}


def test_frame_counts_equal_the_frames_other_programs_decode() -> None:
    for row in rows("ORACLE.csv"):
        if row["pydicom_pixels"] == "ok" and row["orthanc_1_10_post"] != "HTTP 404":
            try:
                header = read_path(REAL_IMAGES / row["file"])
            except Invalid:
                continue
            assert header.pixel_data is not None
            assert header.pixel_data.frame_count == int(row["frames_decoded"]), row["file"]


def test_data_set_offset_is_where_dcmdump_ends_the_meta_information() -> None:
    path = next(path for path in all_files() if path.name.endswith("CT_small.dcm"))
    dump = subprocess.run(
        ["/usr/bin/dcmdump", "+P", "0002,0000", path], capture_output=True, text=True, check=True
    )
    group_length = int(dump.stdout.split()[2])
    assert read_path(path).data_set_offset == 128 + 4 + 12 + group_length


def test_a_bare_data_set_is_read_in_the_encoding_its_first_element_shows() -> None:
    data_set = minimal(PatientName="Doe^Jane", Rows=3)
    for implicit, little_endian, uid in (
        (False, True, "1.2.840.10008.1.2.1"),
        (True, True, "1.2.840.10008.1.2"),
        (False, False, "1.2.840.10008.1.2.2"),
    ):
        header = read(encoded(data_set, implicit=implicit, little_endian=little_endian))
        assert header.transfer_syntax_uid == uid
        assert header.data_set_offset == 0
        assert header.identity.study_instance_uid == STUDY
        assert values(header, "Rows") == [3]
        assert values(header, "PatientName") == [{"Alphabetic": "Doe^Jane"}]


def test_meta_information_without_preamble_and_without_group_length() -> None:
    body = encoded(minimal())
    whole = part10(body)
    assert read(whole[132:]).data_set_offset == len(whole) - len(body) - 132
    without_length = whole[:132] + whole[144:]
    header = read(without_length)
    assert header.data_set_offset == len(without_length) - len(body)
    assert header.identity.sop_instance_uid == INSTANCE


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_a_missing_or_hostile_uid_is_invalid_and_named(keyword: str) -> None:
    data_set = minimal()
    del data_set[keyword]
    with pytest.raises(Invalid, match=keyword):
        read(part10(encoded(data_set)))
    for hostile in ("", "../../etc/passwd", "1.2/3", "1" * 65):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setattr(data_set, keyword, hostile)
        with pytest.raises(Invalid, match=keyword):
            read(part10(encoded(data_set)))


def test_a_missing_patient_id_is_empty() -> None:
    assert read(part10(encoded(minimal()))).identity.patient_id == ""


def test_a_dicomdir_is_invalid_for_lack_of_a_study() -> None:
    directory = Dataset()
    directory.FileSetID = "DISC"
    directory.DirectoryRecordSequence = [minimal()]
    with pytest.raises(Invalid, match="StudyInstanceUID"):
        read(part10(encoded(directory)))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", bytes(132), b"%PDF-1.7 " * 100, bytes(128) + b"DICM", b"PK\3\4" + bytes(5000)],
    ids=["empty", "one byte", "zeros", "PDF", "prefix alone", "ZIP"],
)
def test_what_is_no_dicom_is_not_dicom(data: bytes) -> None:
    with pytest.raises(NotDicom):
        read(data)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_file_cut_anywhere_inside_an_element_is_not_dicom(implicit: bool) -> None:
    uid = ImplicitVRLittleEndian if implicit else "1.2.840.10008.1.2.1"
    data_set = minimal(PatientName="Doe^Jane", StudyDescription="x" * 40)
    data_set.add_new(0x00091001, "UN" if implicit else "LO", b"private " if implicit else "private")
    data_set.ProcedureCodeSequence = [Dataset()]
    data_set.ProcedureCodeSequence[0].CodeValue = "1234"
    whole = part10(encoded(data_set, implicit=implicit), uid)
    assert values(read(whole), "ProcedureCodeSequence")
    body = read(whole).data_set_offset
    # Between two elements a cut cannot be told from an end: pydicom knows where those are.
    written = pydicom.dcmread(io.BytesIO(whole))
    header_bytes = {element.tag: 12 if element.VR in {"SQ", "UN"} else 8 for element in written}
    starts = {
        element.file_tell - (8 if implicit else header_bytes[element.tag]) for element in written
    }
    assert body in starts
    for cut in set(range(body, len(whole))) - starts:
        with pytest.raises(NotDicom):
            read(whole[:cut])


def test_zeros_behind_the_last_element_are_padding() -> None:
    whole = part10(encoded(minimal(Rows=2)))
    assert values(read(whole + bytes(6)), "Rows") == [2]


def test_native_pixel_data_that_ends_early_is_not_dicom() -> None:
    whole = part10(encoded(minimal(Rows=2, Columns=2, BitsAllocated=16)) + native(bytes(8)))
    assert read(whole).pixel_data is not None
    with pytest.raises(NotDicom, match="3 bytes early"):
        read(whole[:-3])


def test_what_follows_the_pixel_data_is_left_alone() -> None:
    whole = part10(encoded(minimal(Rows=2, Columns=2, BitsAllocated=16)) + native(bytes(8)))
    pixel_data = read(whole + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0....").pixel_data
    assert pixel_data == read(whole).pixel_data
    assert pixel_data is not None
    assert (pixel_data.tag, pixel_data.offset, pixel_data.length) == (0x7FE00010, len(whole) - 8, 8)


@pytest.mark.parametrize(
    ("declared", "length", "frames"),
    [("3", 24, 3), ("3", 17, 2), ("", 8, 1), ("0", 24, 1), (None, 24, 1), ("3", 7, 1)],
)
def test_native_frames_are_those_there_are_bytes_for(
    declared: str | None, length: int, frames: int
) -> None:
    data_set = minimal(Rows=2, Columns=2, BitsAllocated=16, SamplesPerPixel=1)
    if declared is not None:
        data_set.NumberOfFrames = declared
    pixel_data = read(part10(encoded(data_set) + native(bytes(length)))).pixel_data
    assert pixel_data is not None
    assert pixel_data.frame_count == frames


def test_empty_pixel_data_counts_as_none() -> None:
    assert read(part10(encoded(minimal()) + native(b""))).pixel_data is None
    body = encoded(minimal()) + encapsulated()
    assert read(part10(body, JPEGBaseline8Bit)).pixel_data is None
    assert read(part10(encoded(minimal()))).pixel_data is None


def test_a_deflated_data_set_reads_like_the_same_one_inflated() -> None:
    body = encoded(minimal(Rows=2, Columns=2, BitsAllocated=16)) + native(bytes(8))
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(body) + deflater.flush()
    plain_header = read(part10(body))
    header = read(part10(packed + b"\0", DeflatedExplicitVRLittleEndian))
    assert header.attributes == plain_header.attributes
    # Offsets count as though the data set were inflated; the longer UID makes the meta longer.
    shift = header.data_set_offset - plain_header.data_set_offset
    assert header.pixel_data is not None
    assert plain_header.pixel_data is not None
    assert header.pixel_data.offset == plain_header.pixel_data.offset + shift
    with pytest.raises(NotDicom):
        read(part10(packed[:-4], DeflatedExplicitVRLittleEndian))


def test_a_deflate_bomb_is_not_dicom() -> None:
    deflater = zlib.compressobj(9, wbits=-15)
    head = encoded(minimal()) + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFE)
    parts = [deflater.compress(head)]
    parts.append(deflater.flush(zlib.Z_FULL_FLUSH))
    # Fully flushed blocks do not refer to what was before: one serves for all.
    block = deflater.compress(bytes(1 << 24)) + deflater.flush(zlib.Z_FULL_FLUSH)
    parts += [block] * ((INFLATED_LIMIT_BYTES >> 24) + 1)
    with pytest.raises(NotDicom, match="inflates to more"):
        read(part10(b"".join(parts), DeflatedExplicitVRLittleEndian))


def test_a_header_that_states_other_vrs_keeps_the_shape_the_index_knows() -> None:
    def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
        header = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value))
        if vr in {b"UN", b"OB"}:
            header = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value))
        return header + value

    body = (
        encoded(minimal())
        .replace(explicit(0x0020000D, b"UI", b"1.2.3\0"), b"")
        .replace(explicit(0x0020000E, b"UI", b"1.2.3.4\0"), b"")
    )
    body += explicit(0x00100010, b"UN", b"Doe^Jane")
    body += explicit(0x00100020, b"LT", b"17")
    body += explicit(0x0020000D, b"OB", b"1.2.3\0")
    body += explicit(0x0020000E, b"UI", b"1.2.3.4\0")
    body += explicit(0x00200013, b"US", b"\7\0")
    body += explicit(0x00280010, b"UN", b"\5\0")
    body += explicit(0x00281050, b"US", b"\6\0")
    header = read(part10(body))
    assert values(header, "PatientName") == [{"Alphabetic": "Doe^Jane"}]
    assert header.identity.patient_id == "17"
    assert header.identity.study_instance_uid == STUDY
    assert header.identity.series_instance_uid == SERIES
    assert values(header, "InstanceNumber") == [7]
    assert values(header, "Rows") == [5]
    assert values(header, "WindowCenter") == [6]


@pytest.mark.parametrize("letters", [b"??", b"  ", b"ZZ"])
def test_an_unknown_vr_is_read_as_dcmtk_reads_it(letters: bytes, tmp_path: Path) -> None:
    path = tmp_path / "unknown.dcm"
    path.write_bytes(part10(with_unknown_vrs(letters)))
    behind_them = {"Rows": "5", "SOPInstanceUID": INSTANCE}
    assert dump(path, *behind_them) == behind_them
    header = read_path(path)
    assert values(header, "PatientName") == [{"Alphabetic": "Doe^Jane"}]
    assert values(header, "Rows") == [5]
    assert header.identity.sop_instance_uid == INSTANCE


def test_big_endian_numbers_and_sequences() -> None:
    data_set = minimal(Rows=258, NumberOfFrames=2)
    data_set.RequestAttributesSequence = [Dataset()]
    data_set.RequestAttributesSequence[0].ScheduledProcedureStepID = "S1"
    data_set.RequestAttributesSequence[0].add_new(0x00280010, "US", 258)
    header = read(part10(encoded(data_set, little_endian=False), ExplicitVRBigEndian))
    assert values(header, "Rows") == [258]
    assert values(header, "RequestAttributesSequence") == [
        {
            "00280010": {"vr": "US", "Value": [258]},
            "00400009": {"vr": "SH", "Value": ["S1"]},
        }
    ]


def test_opening_a_3_gb_multi_frame_reads_its_header_alone(tmp_path: Path) -> None:
    data_set = minimal(
        Rows=1024, Columns=1024, BitsAllocated=16, SamplesPerPixel=1, NumberOfFrames=1500
    )
    head = part10(encoded(data_set) + native(b"", b"OW")[:-4] + struct.pack("<I", 1500 << 21))
    path = tmp_path / "cine.dcm"
    with path.open("wb") as file:
        file.write(head)
    os.truncate(path, len(head) + (1500 << 21))
    with path.open("rb") as file:
        counting = CountingFile(file)
        header = read_header(counting)
    assert header.pixel_data is not None
    assert header.pixel_data.frame_count == 1500
    assert counting.count < 100_000


def test_opening_a_3_gb_encapsulated_multi_frame_reads_item_headers_alone(tmp_path: Path) -> None:
    frames, size = 1500, 1 << 21
    path = tmp_path / "cine.dcm"
    with path.open("wb") as file:
        file.write(part10(encoded(minimal(NumberOfFrames=frames)), JPEGBaseline8Bit))
        file.write(encapsulated(delimiter=False))
        starts = []
        for _ in range(frames):
            starts.append(file.tell())
            file.write(struct.pack("<HHI", 0xFFFE, 0xE000, size))
            file.seek(size, os.SEEK_CUR)
        starts.append(file.tell())
        file.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    with path.open("rb") as file:
        counting = CountingFile(file)
        header = read_header(counting)
    assert header.pixel_data is not None
    assert list(struct.unpack(f"<{frames + 1}Q", header.pixel_data.frame_offsets)) == starts
    assert counting.count < 100_000


def test_a_huge_value_in_front_of_the_pixel_data_is_stepped_over(tmp_path: Path) -> None:
    head = part10(encoded(minimal()) + struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 1 << 30))
    path = tmp_path / "document.dcm"
    with path.open("wb") as file:
        file.write(head)
        file.seek(1 << 30, os.SEEK_CUR)
        file.write(struct.pack("<HH2sH", 0x0042, 0x0012, b"LO", 4) + b"a/b ")
    with path.open("rb") as file:
        counting = CountingFile(file)
        header = read_header(counting)
    assert values(header, "MIMETypeOfEncapsulatedDocument") == ["a/b"]
    assert counting.count < 100_000
