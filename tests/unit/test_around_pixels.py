"""Files with other elements around the same pixels."""

import io

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from hilum.core.errors import Corrupt, Unsupported
from hilum.imaging.around_pixels import rewrite
from tests.generated import ct
from tests.integration.test_ingest import part10


def rewritten(content: bytes, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    def change(data_set: Dataset) -> None:
        assert "PixelData" not in data_set
        data_set.PatientName = "Other^Name"

    head, pixels, tail = rewrite(io.BytesIO(content), transfer_syntax_uid, 1000, change)
    return head + content[pixels.offset : pixels.offset + pixels.length] + tail


def with_tail() -> Dataset:
    data_set = ct(1, size=8)
    data_set.add_new(0x7FE10010, "LO", "SOMEBODY")
    data_set.add_new(0x7FE11001, "LO", "behind")
    return data_set


def test_pixels_stay_and_what_is_around_them_is_there() -> None:
    native, compressed = with_tail(), with_tail()
    compressed.PixelData = encapsulate([b"\xff\x4f\xff\x51 no picture"])
    compressed["PixelData"].VR = "OB"
    compressed["PixelData"].is_undefined_length = True
    compressed.file_meta.TransferSyntaxUID = JPEG2000Lossless
    implicit = with_tail()
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for data_set in (native, compressed, implicit):
        content = part10(data_set)
        before = pydicom.dcmread(io.BytesIO(content))
        syntax = data_set.file_meta.TransferSyntaxUID
        after = pydicom.dcmread(io.BytesIO(rewritten(content, syntax)))
        assert after.file_meta.TransferSyntaxUID == syntax
        assert after.PixelData == before.PixelData
        assert after[0x7FE11001].value in {"behind", b"behind"}
        assert str(after.PatientName) == "Other^Name"
        before.PatientName = after.PatientName
        assert before == after


def test_what_cannot_be_taken_apart_is_refused() -> None:
    content = part10(ct(1, size=8))
    with pytest.raises(Corrupt):
        rewritten(content[:-1])
    with pytest.raises(Unsupported):
        rewritten(b"nothing")
    with pytest.raises(Unsupported):
        rewrite(io.BytesIO(content), ExplicitVRLittleEndian, 65 << 20, lambda _: None)
    deflated = ct(1, size=8)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(Unsupported):
        rewritten(part10(deflated), DeflatedExplicitVRLittleEndian)


def test_what_came_without_file_meta_information_gets_some() -> None:
    data_set = with_tail()
    out = io.BytesIO()
    data_set.save_as(out, implicit_vr=False, little_endian=True, enforce_file_format=False)
    meta = out.getvalue().index(b"\x08\0\x05\0")
    after = pydicom.dcmread(io.BytesIO(rewritten(out.getvalue()[meta:])))
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.PixelData == data_set.PixelData
