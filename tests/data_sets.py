"""Data sets made for one test, written by pydicom."""

import io
import struct
import warnings
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from hilum.imaging.part10 import file_meta

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"


def minimal(**attributes: Any) -> Dataset:
    """Return a data set with the four UIDs and the attributes given by keyword."""
    data_set = Dataset()
    data_set.SOPClassUID = CT
    data_set.SOPInstanceUID = INSTANCE
    data_set.StudyInstanceUID = STUDY
    data_set.SeriesInstanceUID = SERIES
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


def encoded(data_set: Dataset, *, implicit: bool = False, little_endian: bool = True) -> bytes:
    """Return the bare bytes of a data set."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = implicit
    buffer.is_little_endian = little_endian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(buffer, data_set)
    return buffer.getvalue()


def part10(body: bytes, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """Return a file with the data set `body`."""
    return file_meta(CT, INSTANCE, transfer_syntax_uid) + body


def item(value: bytes) -> bytes:
    """Return an item of encapsulated pixel data."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def encapsulated(*fragments: bytes, table: bytes = b"", delimiter: bool = True) -> bytes:
    """Return the pixel data element with these fragments (PS3.5 A.4)."""
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if delimiter else b""
    return head + b"".join(map(item, (table, *fragments))) + end


def native(value: bytes, vr: bytes = b"OW") -> bytes:
    """Return the pixel data element with these pixels, in explicit VR."""
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, len(value)) + value


class CountingFile(io.RawIOBase):
    """A file without a descriptor that counts the bytes it is asked for."""

    def __init__(self, file: io.BufferedIOBase | io.RawIOBase) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def with_unknown_vrs(letters: bytes) -> bytes:
    """Return a data set in explicit VR with elements of a VR that is none.

    They are a patient's name, private elements with ``CD`` in an item and with ``EFGH``.
    """

    def element(tag: int, value: bytes) -> bytes:
        # PS3.5 6.2, note 2: VRs of later editions are as UN is. What is no VR has a short length.
        length = struct.pack("<HI", 0, len(value))
        if not letters.isalpha():
            length = struct.pack("<H", len(value))
        return struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, letters) + length + value

    inside = element(0x00091002, b"CD")
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
    sequence = struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, len(items)) + items
    unknown = sequence + element(0x00091003, b"EFGH") + element(0x00100010, b"Doe^Jane")
    study = struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", 6)
    before, behind = encoded(minimal(Rows=5)).split(study)
    return before + unknown + study + behind
