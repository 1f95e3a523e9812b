"""Files that Orthanc and Hilum both take in: pydicom's own, generated ones, real ones."""

import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.errors import InvalidDicomError

from tests.corpus import charset_files, pydicom_files, real_files
from tests.generated import ct, save

#: Of each folder of real images.
_REAL = 3
#: Files that Orthanc reads otherwise, and why.
_READ_OTHERWISE = (
    # Their identifiers are stated to be UN, which hides them from Orthanc.
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
    "26303649_CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm",
    # Its JPEG ends early, for which DCMTK refuses all of it.
    "SC_rgb_jpeg.dcm",
)
#: An instance that tells its study otherwise than another: the first counts there, the last here.
_DISAGREEING = "1.3.6.1.4.1.5962.1.1.8.1.5.20040826185059.5457"


def varied_files(folder: Path) -> list[Path]:
    """Return small files with main tags of every kind: long, empty, multi-valued, odd."""
    odd = ct(
        1,
        study="odd",
        ImageComments="x" * 300,
        SeriesDescription=" two  blanks ",
        InstitutionName="A\\B ",
        OperatorsName="Müller^Jörg\\Second^One",
        ProtocolName="a\tb",
        SequenceName="",
        ImagePositionPatient=["1.50", "2e3", "-0"],
        ImageOrientationPatient=["1.0", "0.0", "0", "0", "1.00", "0"],
        StudyDescription="日本",
        OtherPatientIDs="X\\Y",
        StudyID="",
    )
    odd.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    cardiac = [
        ct(number, study="cardiac", CardiacNumberOfImages=3, ImageComments=f"number {number}")
        for number in (1, 2, 3)
    ]
    slices = [
        ct(number, study="pet", NumberOfSlices=2, NumberOfTimeSlices=2, NumberOfFrames=1)
        for number in (1, 2, 4)
    ]
    temporal = [
        ct(
            number,
            study="temporal",
            ImagesInAcquisition=1,
            NumberOfTemporalPositions=2,
            TemporalPositionIdentifier=number,
        )
        for number in (1, 7)
    ]
    series = [
        ct(number, study="two", series=series, SeriesNumber=series, AcquisitionNumber=number)
        for series in (1, 2)
        for number in (1, 2)
    ]
    second = ct(1, study="other", PatientID="TEST-two", PatientName="Test^two")
    full = ct(1, study="full", **all_attributes())
    made = [full, odd, *cardiac, *slices, *temporal, *series, second]
    return [save(each, folder / f"{place:03}.dcm") for place, each in enumerate(made)]


def all_attributes() -> dict[str, Any]:
    """Return a value for nearly every attribute of text in the dictionary, by keyword."""
    values: dict[str, Any] = {"DA": "20200102", "TM": "101112", "IS": "3", "AS": "010Y"}
    values |= dict.fromkeys(("LO", "SH", "CS", "PN", "LT", "ST"), "A")
    return {
        keyword: values[vr]
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
        if keyword and vr in values and tag >> 16 in {0x08, 0x10, 0x12, 0x18, 0x20, 0x32, 0x40}
    } | {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": "TEST-full",
        "PatientName": "Test^full",
        "Modality": "CT",
    }


def given_files() -> list[Path]:
    """Return small files that others have made, one an instance, that Orthanc understands."""
    by_folder: dict[Path, list[Path]] = {}
    for path in real_files():
        by_folder.setdefault(path.parent, []).append(path)
    real = [path for paths in by_folder.values() for path in paths[:_REAL]]
    files = [*pydicom_files(), *charset_files().values(), *real]
    small = [
        path
        for path in files
        if path.stat().st_size < 1 << 20 and not path.name.endswith(_READ_OTHERWISE)
    ]
    return [*first_of_each(small)]


def first_of_each(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the first file of each instance: Orthanc keeps that one, and Hilum the last."""
    seen = {_DISAGREEING}
    for path in files:
        try:
            with warnings.catch_warnings(action="ignore"):
                data_set = pydicom.dcmread(path, stop_before_pixels=True, force=True)
                study, instance = data_set.StudyInstanceUID, data_set.SOPInstanceUID
                patient = data_set.PatientID
                character_set = str(data_set.get("SpecificCharacterSet"))
        except (AttributeError, InvalidDicomError):
            continue
        # In JIS X 0201 a backslash is a yen sign, and Orthanc leaves escape sequences in it.
        if "IR 13" in character_set:
            continue
        # Those without a Patient ID are one patient of many names, of which either tells another.
        if patient and study and instance not in seen:
            seen.add(instance)
            yield path


def zipped(files: Sequence[Path]) -> bytes:
    """Return a ZIP archive of files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in files:
            archive.write(path, path.name)
    return packed.getvalue()
