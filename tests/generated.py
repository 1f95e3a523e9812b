"""Data sets made for tests with pydicom: small, valid, and each one different."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian


def uid(*parts: object) -> str:
    """Return a UID that is the same for the same parts (PS3.5 B.2)."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def ct(
    number: int = 1, *, study: object = 1, series: object = 1, size: int = 64, **values: Any
) -> FileDataset:
    """Return one CT slice with noise in it.

    Parameters
    ----------
    number
        Instance number; also seeds the noise.
    study, series
        Whatever tells this study and series from others.
    size
        Rows and columns.
    values
        Attributes by keyword, set last.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(study, series, number)
    data_set = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data_set.StudyInstanceUID = uid(study)
    data_set.SeriesInstanceUID = uid(study, series)
    data_set.PatientID = f"TEST-{study}"
    data_set.PatientName = f"Test^{study}"
    data_set.StudyDate = "20260102"
    data_set.StudyTime = "030405"
    data_set.AccessionNumber = f"A{study}"
    data_set.StudyDescription = "Generated"
    data_set.Modality = "CT"
    data_set.SeriesNumber = 1
    data_set.InstanceNumber = number
    data_set.Rows = data_set.Columns = size
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsAllocated = 16
    data_set.BitsStored = 12
    data_set.HighBit = 11
    data_set.PixelRepresentation = 0
    data_set.RescaleIntercept = -1024
    data_set.RescaleSlope = 1
    data_set.WindowCenter = 40
    data_set.WindowWidth = 400
    noise = np.random.default_rng(number).integers(0, 4096, (size, size), dtype="<u2")
    data_set.PixelData = noise.tobytes()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    return data_set


def save(data_set: FileDataset, path: Path) -> Path:
    """Write a Part 10 file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.save_as(path, enforce_file_format=True)
    return path


def ct_files(folder: Path, count: int, *, study: object = 1, **values: Any) -> list[Path]:
    """Write a series of `count` slices into `folder`."""
    return [
        save(ct(number, study=study, **values), folder / f"{number:04}.dcm")
        for number in range(1, count + 1)
    ]
