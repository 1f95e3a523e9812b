"""What fuzzing brought to light, each input made by hand: none of it may come back."""

import io
import struct
import time

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from hilum.core.errors import Invalid, NotDicom, Unsupported
from hilum.core.instance import PixelData
from hilum.http.dicomweb.media_types import parse_accept
from hilum.http.multipart import Malformed, MultipartParser, boundary_of
from hilum.http.overrides import Patient, with_patient
from hilum.imaging.assembly import assemble
from hilum.imaging.data_set_json import data_set_json
from hilum.imaging.decode import decode_frame
from hilum.imaging.description import ImageDescription, describe
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN as EXPLICIT
from hilum.imaging.frames import FRAME_LIMIT_BYTES, read_frame
from hilum.imaging.header import read_header
from hilum.imaging.reader import open_reader
from hilum.imaging.values import encode_values
from tests.generated import ct


def encoded(data_set: FileDataset) -> bytes:
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def with_vr(data: bytes, tag: int, vr: bytes) -> bytes:
    """Return a file in which an element claims another VR with a length of two bytes."""
    at = data.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
    return data[: at + 4] + vr + data[at + 6 :]


def test_a_character_set_in_the_guise_of_numbers() -> None:
    """Pydicom raises what is a child of none of Python's errors."""
    data = encoded(ct(SpecificCharacterSet="ISO_IR 192"))
    # Two elements of a kind are out of order, so that pydicom is asked.
    at = data.index(b"\x08\0\x05\0CS")
    data = with_vr(data[:at] + data[at : at + 18] + data[at:], 0x00080005, b"UL")
    second = data.index(b"\x08\0\x05\0CS")
    data = data[: second + 4] + b"UL" + data[second + 6 :]
    with pytest.raises(NotDicom, match="BytesLength"):
        read_header(io.BytesIO(data))


@pytest.mark.parametrize(
    ("tag", "vr"),
    [(0x00020002, b"FD"), (0x00080018, b"FD"), (0x00100010, b"US"), (0x0020000D, b"SV")],
)
def test_another_patient_for_a_file_whose_vrs_are_wrong(tag: int, vr: bytes) -> None:
    """What pydicom cannot read or write is refused, and its values stay out of the log."""
    data = with_vr(encoded(ct(SOPInstanceUID="1.2.345", StudyInstanceUID="1.2.3")), tag, vr)
    with pytest.raises(Unsupported):  # and warnings are errors here
        list(with_patient(io.BytesIO(data), Patient("1", "Doe^J")))


def test_a_character_set_with_a_nul_in_its_name() -> None:
    parser = MultipartParser("cut")
    with pytest.raises(Malformed):
        list(parser.feed(b"--cut\r\nContent-Disposition: form-data; name*=\0''x\r\n\r\n"))
    assert not boundary_of("multipart/form-data; boundary*=\0''x")


def test_metadata_with_a_vr_that_nobody_knows() -> None:
    metadata = {
        "00080016": {"vr": "UI", "Value": ["1.2"]},
        "00080018": {"vr": "UI", "Value": ["1.3"]},
        "00080060": {"vr": "XX", "Value": ["CT"]},
    }
    with pytest.raises(Invalid):
        list(assemble(metadata, lambda _: None))


def test_a_faulty_value_deep_in_metadata() -> None:
    """Fourteen sequences deep it took gigabytes: pydicom told the story anew at each level."""
    element = {"00280010": {"vr": "US", "Value": [70000]}}
    for _ in range(30):
        element = {"00081140": {"vr": "SQ", "Value": [element]}}
    uids = {tag: {"vr": "UI", "Value": ["1.2"]} for tag in ("00080016", "00080018")}
    with pytest.raises(Invalid) as refusal:
        list(assemble(element | uids, lambda _: None))
    assert len(str(refusal.value.__cause__)) < 10_000


@pytest.mark.parametrize("keyword", ["00080016", "00080018"])
def test_metadata_whose_uids_are_as_long_as_they_like(keyword: str) -> None:
    uids = {tag: {"vr": "UI", "Value": ["1.2"]} for tag in ("00080016", "00080018")}
    with pytest.raises(Invalid):
        list(assemble(uids | {keyword: {"vr": "UI", "Value": ["1" * 70_000]}}, lambda _: None))


def test_a_sequence_of_more_items_than_any_metadata_has() -> None:
    """Half a million of them, in a data set out of order, took pydicom 17 s and a gigabyte."""
    data = encoded(ct())
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 12) + b"\x08\0\x50\x11UI\4\x001.2\0"
    sequence = b"\x09\0\x40\x11SQ\0\0" + struct.pack("<I", len(item) * 500_000) + item * 500_000
    pixels = data.index(b"\xe0\x7f\x10\0")
    file = io.BytesIO(data[:pixels] + sequence + data[pixels:])
    header = read_header(file)
    with pytest.raises(NotDicom):
        data_set_json(open_reader(file), header.data_set_offset, EXPLICIT, header.pixel_data)


def test_a_long_word_in_an_accept_header_takes_no_time() -> None:
    """It took its square: more than half a second for one header, on the event loop."""

    def seconds() -> float:
        started = time.thread_time()
        parse_accept("a/b;" + "x" * 8000)
        parse_accept("a/b;" + " " * 8000)
        return time.thread_time() - started

    # Python may clear up whatever other tests have left, but not three times.
    assert min(seconds() for _ in range(3)) < 0.1


def test_a_transfer_syntax_that_is_no_uid() -> None:
    """Pydicom would say so in the log, with the value."""
    with pytest.raises(Unsupported):
        decode_frame(image(ct()), b"", "\x1b$B")


def test_stored_values_of_an_image_whose_attributes_are_no_latin() -> None:
    png = encode_values(image(ct()), np.zeros((64, 64), np.uint16), 0, "\u0178")
    assert png.startswith(b"\x89PNG")


def test_stored_values_of_a_frame_that_would_take_more_than_a_gigabyte() -> None:
    giant = np.broadcast_to(np.uint8(0), (32_768, 8_192))  # takes no memory itself
    with pytest.raises(Unsupported):
        encode_values(image(ct()), giant, 0, "MONOCHROME2")


def image(data_set: FileDataset) -> ImageDescription:
    data = encoded(data_set)
    header = read_header(io.BytesIO(data))
    assert header.pixel_data
    return describe(data[header.data_set_offset : header.pixel_data.offset], EXPLICIT)


def test_a_frame_beyond_all_measure_is_refused_before_it_is_read() -> None:
    class Untouched:
        size = 1 << 40

        def read_at(self, offset: int, length: int) -> bytes:
            raise AssertionError(f"{length} bytes were read")

    pixel_data = PixelData(0x7FE00010, 1000, 1 << 40, 1)
    with pytest.raises(Unsupported):
        read_frame(Untouched(), pixel_data, 0, 8 * (FRAME_LIMIT_BYTES + 1))
