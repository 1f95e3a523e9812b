"""Instances to send: valid, and each one different."""

import hashlib
import os
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

MULTI_FRAME = UID("1.2.840.10008.5.1.4.1.1.7.3")  # Multi-frame Grayscale Word SC Image Storage


def write_series(folder: Path, count: int, side: int = 128, **values: Any) -> list[Path]:
    """Write one study with one series of `count` CT instances; return their paths.

    Parameters
    ----------
    side
        Rows and columns; two bytes a pixel.
    values
        Attributes by keyword, set last.
    """
    study, series = generate_uid(), generate_uid()
    folder.mkdir(parents=True)
    paths = []
    for number in range(1, count + 1):
        data_set = _ct(study, series, number, side)
        for keyword, value in values.items():
            setattr(data_set, keyword, value)
        path = folder / f"{number:05}.dcm"
        data_set.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_sparse(path: Path, size_bytes: int) -> Path:
    """Write one native multi-frame instance whose pixels are a hole in the file."""
    side = 1024
    frame_bytes = side * side * 2
    frames = size_bytes // frame_bytes
    data_set = _ct(generate_uid(), generate_uid(), 1, side)
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = MULTI_FRAME
    data_set.NumberOfFrames = frames
    data_set.PixelData = b""
    data_set.save_as(path, enforce_file_format=True)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)  # the length of the empty pixel data, last in the file
        file.write((frames * frame_bytes).to_bytes(4, "little"))
        file.truncate(file.tell() + frames * frame_bytes)
    return path


def data_set_digest(path: Path) -> str:
    """Return the SHA-256 of what follows the file meta information of a Part 10 file."""
    with path.open("rb") as file:
        head = file.read(144)
        assert head[128:140] == b"DICM\x02\0\0\0UL\x04\0", f"{path} has no group length"
        file.seek(144 + int.from_bytes(head[140:144], "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ct(study: str, series: str, number: int, side: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data_set.StudyInstanceUID = study
    data_set.SeriesInstanceUID = series
    data_set.PatientID = f"FAULT-{study[-12:]}"
    data_set.PatientName = "Fault^Test"
    data_set.StudyDate = "20260102"
    data_set.Modality = "CT"
    data_set.InstanceNumber = number
    data_set.Rows = data_set.Columns = side
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit = 15
    data_set.PixelRepresentation = 0
    data_set.PixelData = os.urandom(side * side * 2)
    return data_set
