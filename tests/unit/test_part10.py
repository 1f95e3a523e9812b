"""The File Meta Information Hilum writes: as dcmdump and pydicom read it."""

import io
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.core.errors import NotDicom
from hilum.imaging.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    file_meta,
    read_file_meta,
)
from hilum.imaging.reader import FileReader
from tests.data_sets import CT, INSTANCE, encoded, minimal, part10


def test_dcmdump_reads_what_is_written_without_complaint(tmp_path: Path) -> None:
    path = tmp_path / "instance.dcm"
    path.write_bytes(part10(encoded(minimal())))
    dump = subprocess.run(
        ["/usr/bin/dcmdump", "-Un", path], capture_output=True, text=True, check=True
    )
    assert dump.stderr == ""
    assert f"[{CT}]" in dump.stdout
    assert f"[{IMPLEMENTATION_CLASS_UID}]" in dump.stdout
    assert f"[{IMPLEMENTATION_VERSION_NAME}" in dump.stdout


@pytest.mark.parametrize("uid", ["1.2", "1.2.3", "1.2.840.10008.1.2.4.50"])
def test_pydicom_reads_every_element_back(uid: str) -> None:
    data = file_meta("1.2.840.1", "1.2.3.44", uid)
    meta = pydicom.dcmread(io.BytesIO(data), force=True).file_meta
    assert meta.FileMetaInformationGroupLength == len(data) - 128 - 4 - 12
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == "1.2.840.1"
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.44"
    assert meta.TransferSyntaxUID == uid
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert len(meta) == 7
    assert len(data) % 2 == 0


def test_the_class_uid_is_one_of_a_uuid() -> None:
    number = int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25."))
    assert 0 < number < 1 << 128
    assert len(IMPLEMENTATION_CLASS_UID) <= 64


def test_equal_arguments_give_equal_bytes() -> None:
    assert file_meta(CT, INSTANCE, "1.2") == file_meta(CT, INSTANCE, "1.2")


def test_meta_information_longer_than_a_window_is_read() -> None:
    data = part10(encoded(minimal()))
    private = b"\2\0\2\1OB\0\0" + (40000).to_bytes(4, "little") + bytes(40000)
    at = len(data) - len(encoded(minimal()))
    meta = read_file_meta(FileReader(io.BytesIO(data[:at] + private + data[at:])))
    assert meta.data_set_offset == at + len(private)
    assert meta.transfer_syntax_uid == ExplicitVRLittleEndian


def test_meta_information_without_transfer_syntax_is_guessed_from_the_data_set() -> None:
    for implicit, uid in ((False, ExplicitVRLittleEndian), (True, ImplicitVRLittleEndian)):
        meta = bytes(128) + b"DICM\2\0\2\0UI\4\0" + b"1.2\0"
        data = meta + encoded(minimal(), implicit=implicit)
        found = read_file_meta(FileReader(io.BytesIO(data)))
        assert found.transfer_syntax_uid == uid
        assert found.data_set_offset == len(meta)


@pytest.mark.parametrize("size", range(132, 132 + 60))
def test_meta_information_cut_short_is_not_dicom(size: int) -> None:
    with pytest.raises(NotDicom):
        read_file_meta(FileReader(io.BytesIO(part10(encoded(minimal()))[:size])))
