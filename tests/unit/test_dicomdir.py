"""The directory of a file set, as pydicom and PS3.3 F read it."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset

from hilum.imaging.dicomdir import Directory, Entry
from hilum.imaging.directory_keys import record_type
from tests.generated import ct

EXPLICIT = "1.2.840.10008.1.2.1"


def entry(data_set: FileDataset, name: str, *, implicit: bool = False, big: bool = False) -> Entry:
    head = io.BytesIO()
    pydicom.dcmwrite(
        head,
        Dataset(data_set),
        implicit_vr=implicit,
        little_endian=not big,
        enforce_file_format=False,
    )
    syntax = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.2" if big else EXPLICIT
    return Entry(
        file_id=f"IMAGES\\{name}",
        sop_class_uid=data_set.SOPClassUID,
        sop_instance_uid=data_set.SOPInstanceUID,
        transfer_syntax_uid=syntax,
        patient=data_set.get("PatientID", ""),
        study=data_set.StudyInstanceUID,
        series=data_set.SeriesInstanceUID,
        head=head.getvalue(),
    )


def directory(*entries: Entry, extended: bool = False) -> Dataset:
    made = Directory("HILUM", "1.2.3", extended=extended)
    for each in entries:
        made.add(each)
    return pydicom.dcmread(io.BytesIO(made.encoded()))


def kinds(data_set: Dataset) -> list[str]:
    return [record.DirectoryRecordType for record in data_set.DirectoryRecordSequence]


def test_records_hang_together_by_offsets() -> None:
    """Followed as a reader follows them, from the root down, by what stands at each offset."""
    made = directory(
        entry(ct(1), "IM0"),
        entry(ct(2), "IM1"),
        entry(ct(1, study=2), "IM2"),
        entry(ct(3, series=2), "IM3"),
    )
    by_offset = {item.seq_item_tell: item for item in made.DirectoryRecordSequence}

    def chain(offset: int) -> list[Any]:
        found = []
        while offset:
            record = by_offset[offset]
            below = chain(record.OffsetOfReferencedLowerLevelDirectoryEntity)
            found.append((record.DirectoryRecordType, below))
            offset = record.OffsetOfTheNextDirectoryRecord
        return found

    image = ("IMAGE", [])
    assert chain(made.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity) == [
        ("PATIENT", [("STUDY", [("SERIES", [image, image]), ("SERIES", [image])])]),
        ("PATIENT", [("STUDY", [("SERIES", [image])])]),
    ]
    last = by_offset[made.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity]
    assert (last.DirectoryRecordType, last.PatientID) == ("PATIENT", "TEST-2")
    assert all(record.RecordInUseFlag == 0xFFFF for record in by_offset.values())
    assert made.FileSetConsistencyFlag == 0


@pytest.mark.parametrize("encoding", [{}, {"implicit": True}, {"big": True}])
def test_keys_are_read_in_any_encoding(encoding: dict[str, bool]) -> None:
    made = directory(entry(ct(7, PatientName="Müller^Jörg"), "IM0", **encoding))
    patient, study, series, image = made.DirectoryRecordSequence
    assert str(patient.PatientName) == "Müller^Jörg"
    assert (study.StudyDate, study.StudyTime, study.AccessionNumber) == ("20260102", "030405", "A1")
    assert (series.Modality, series.SeriesNumber) == ("CT", 1)
    assert image.InstanceNumber == 7
    assert image.ReferencedFileID == ["IMAGES", "IM0"]
    assert image.ReferencedSOPClassUIDInFile == ct(7).SOPClassUID


def test_keys_that_must_have_a_value_get_one() -> None:
    bare = ct(1)
    for keyword in ("PatientID", "StudyDate", "StudyTime", "SeriesNumber", "InstanceNumber"):
        delattr(bare, keyword)
    bare.SeriesDate = "20250607"
    other = ct(2)
    other.InstanceNumber = None
    patient, study, series, *images = directory(
        entry(bare, "IM0"), entry(ct(5, PatientID=""), "IM1")
    ).DirectoryRecordSequence
    assert patient.PatientID == "NOID1"
    assert (study.StudyDate, study.StudyTime, study.StudyID) == ("20250607", "000000", "1")
    assert series.SeriesNumber == 1
    assert [image.InstanceNumber for image in images] == [1, 5]


def test_a_series_is_described_if_that_is_asked_for() -> None:
    described = entry(ct(1, SeriesDescription="Axial"), "IM0")
    assert "SeriesDescription" not in directory(described).DirectoryRecordSequence[2]
    extended = directory(described, extended=True).DirectoryRecordSequence
    assert extended[2].SeriesDescription == "Axial"
    assert extended[2].DirectoryRecordType == "SERIES"


def test_reports_and_documents_have_records_of_their_own() -> None:
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "1", "99X", "Report"
    report = ct(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", ContentDate="20260102")
    report.ConceptNameCodeSequence = [title]
    report.CompletionFlag = "COMPLETE"
    document = ct(2, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    made = directory(entry(report, "IM0", implicit=True), entry(document, "IM1"))
    assert kinds(made) == ["PATIENT", "STUDY", "SERIES", "SR DOCUMENT", "ENCAP DOC"]
    told, enclosed = made.DirectoryRecordSequence[3:]
    assert told.ConceptNameCodeSequence[0].CodeMeaning == "Report"
    assert (told.CompletionFlag, told.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert enclosed.MIMETypeOfEncapsulatedDocument == "application/pdf"


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("2", "IMAGE"),
        ("66", "RAW DATA"),
        ("66.4", "IMAGE"),
        ("88.22", "SR DOCUMENT"),
        ("88.59", "KEY OBJECT DOC"),
        ("481.2", "RT DOSE"),
        ("481.5", "RT PLAN"),
        ("9.1.1", "WAVEFORM"),
        ("11.1", "PRESENTATION"),
        ("666", "IMAGE"),
    ],
)
def test_types_of_records(suffix: str, kind: str) -> None:
    assert record_type(f"1.2.840.10008.5.1.4.1.1.{suffix}") == kind


def test_a_directory_of_nothing_and_one_that_dcmtk_reads(tmp_path: Path) -> None:
    for name, entries in (("EMPTY", ()), ("DICOMDIR", (entry(ct(1), "IM0"),))):
        made = Directory("HILUM", "1.2.3")
        for each in entries:
            made.add(each)
        (tmp_path / name).write_bytes(made.encoded())
        dumped = subprocess.run(
            ["/usr/bin/dcmdump", tmp_path / name], check=True, capture_output=True
        )
        assert not dumped.stderr


def test_a_head_that_makes_no_sense_is_listed_all_the_same() -> None:
    broken = replace(entry(ct(1), "IM0"), head=b"\x08\0" * 9)
    assert kinds(directory(broken)) == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
