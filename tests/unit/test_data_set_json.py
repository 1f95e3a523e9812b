"""Whole data sets in DICOM JSON, against what pydicom and dcmtk make of the same files."""

import base64
import io
import json
import logging
import struct
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hilum.core.errors import HilumError, Invalid, NotFound
from hilum.imaging.data_set_json import BASE, data_set_json
from hilum.imaging.data_set_values import find_value, parse_path
from hilum.imaging.dicom_json import swapped
from hilum.imaging.header import read_header
from hilum.imaging.reader import open_reader
from tests.corpus import all_files
from tests.data_sets import encapsulated, encoded, minimal, native, part10, with_unknown_vrs

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
#: Specific Character Set and Available Transfer Syntax UID are ours by design.
OURS = {"00080005", "00083002"}


def text_of(file: io.BufferedIOBase) -> bytes:
    header = read_header(file)
    return data_set_json(
        open_reader(file, header.transfer_syntax_uid, header.data_set_offset),
        header.data_set_offset,
        header.transfer_syntax_uid,
        header.pixel_data,
    )


def json_of(file: io.BufferedIOBase) -> dict[str, Any]:
    return json.loads(text_of(file).replace(BASE, b""))


def json_of_bytes(content: bytes) -> dict[str, Any]:
    return json_of(io.BytesIO(content))


def value_of(file: io.BufferedIOBase, path: str) -> bytes:
    header = read_header(file)
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    value = find_value(
        reader,
        header.data_set_offset,
        header.transfer_syntax_uid,
        header.pixel_data,
        parse_path(path),
    )
    if value.raw is not None:
        return value.raw
    raw = reader.read_at(value.offset, value.length)
    return swapped(value.big_endian_vr, raw) if value.big_endian_vr else raw


@cache
def readable() -> list[Path]:
    files = []
    for path in all_files():
        with path.open("rb") as file:
            try:
                read_header(file)
            except HilumError:
                continue
        files.append(path)
    return files


def by_pydicom(path: Path) -> tuple[Dataset, dict[str, Any]]:
    data_set = pydicom.dcmread(path, force=True)
    bulk = data_set.to_json_dict(1, lambda element: "", suppress_invalid_tags=True)
    return data_set, bulk


@pytest.fixture
def quiet() -> Iterator[None]:
    """What pydicom has to say about odd files is not ours to fail for."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def differences(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> Iterator[str]:
    for tag in sorted(ours.keys() | theirs.keys()):
        if tag in OURS or tag.endswith("0000"):
            continue
        mine, yours = ours.get(tag), theirs.get(tag)
        place = path + tag
        if mine is None or yours is None or mine["vr"] != yours["vr"]:
            yield f"{place}: {mine!s:.100} | {yours!s:.100}"
        elif mine["vr"] == "SQ":
            items, others = mine.get("Value", []), yours.get("Value", [])
            if len(items) != len(others):
                yield f"{place}: {len(items)} items | {len(others)}"
            for number, (item, other) in enumerate(zip(items, others, strict=False), 1):
                yield from differences(item, other or {}, f"{place}/{number}/")
        elif "BulkDataURI" in mine:
            if mine["BulkDataURI"] != f"/bulkdata/{place}" or not {"BulkDataURI"} & yours.keys():
                yield f"{place}: {mine} | {yours!s:.100}"
        elif "InlineBinary" in mine:
            if not {"BulkDataURI", "InlineBinary"} & yours.keys():
                yield f"{place}: {mine!s:.100} | {yours!s:.100}"
        elif plain(mine.get("Value", [])) != plain(yours.get("Value", [])):
            yield f"{place}: {mine} | {yours}"


def plain(values: list[Any]) -> list[Any]:
    """Without what the two are free to write differently: empty values, trailing blanks."""
    return [(each.strip() or None) if isinstance(each, str) else each for each in values]


def is_measure(data_set: Dataset, difference: str) -> bool:
    """Whether pydicom's answer is the right one where ours differs.

    It leaves out elements that it cannot convert, and reads known values of VR UN in the
    byte order of a big-endian file, though they are little endian (PS3.5 6.2.2).
    """
    tag = int(difference[:8], 16)
    if data_set.original_encoding[1] is False and tag >> 16 & 1:
        return False
    return not difference.endswith("| None")


def test_data_sets_are_what_pydicom_makes_of_them(quiet: None) -> None:
    compared = 0
    for path in readable():
        try:
            data_set, theirs = by_pydicom(path)
        except (ValueError, TypeError, NotImplementedError):
            continue  # not the measure of this file
        with path.open("rb") as file:
            ours = json_of(file)
        found = [each for each in differences(ours, theirs) if is_measure(data_set, each)]
        assert not found, path
        compared += 1
    assert compared > 60


SAMPLE = (
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "reportsi.dcm",
    "chrX1.dcm",
    "chrH31.dcm",
    "eCT_Supplemental.dcm",
    "waveform_ecg.dcm",
)


def test_data_sets_are_what_dcmtk_makes_of_them() -> None:
    files = [path for path in all_files() if path.name.endswith(SAMPLE)]
    assert len(files) >= 6
    for path in files:
        answer = subprocess.run(
            ["/usr/bin/dcm2json", "+b", "-f", "-fc", str(path)], capture_output=True, check=False
        )
        if answer.returncode:
            continue  # what dcmtk does not read is no measure
        theirs = {
            tag: element
            for tag, element in json.loads(answer.stdout).items()
            if not tag.startswith("0002") and not int(tag[3], 16) & 1
        }
        with path.open("rb") as file:
            ours = {t: e for t, e in json_of(file).items() if not int(t[3], 16) & 1}
        for tag in theirs.keys() & ours.keys() - OURS:
            mine, yours = ours[tag], theirs[tag]
            assert mine["vr"] == yours["vr"], (path, tag)
            if mine["vr"] not in {"SQ", "OB", "OW", "UN"} and "Value" in mine:
                assert plain(mine["Value"]) == plain(yours["Value"]), (path, tag)
        assert {t for t in theirs if not t.endswith("0000")} - {"FFFCFFFC"} <= ours.keys()


def test_numbers_are_numbers() -> None:
    data_set = minimal(
        InstanceNumber="7", SliceThickness="1.25", PixelSpacing=["0.5", "0.5"], Rows=512
    )
    made = json_of_bytes(part10(encoded(data_set)))
    assert made["00200013"] == {"vr": "IS", "Value": [7]}
    assert made["00180050"] == {"vr": "DS", "Value": [1.25]}
    assert made["00280030"] == {"vr": "DS", "Value": [0.5, 0.5]}
    assert made["00280010"] == {"vr": "US", "Value": [512]}


def test_members_are_in_the_order_of_tags_and_not_twice() -> None:
    data_set = minimal(InstanceCreationDate="20260101", Modality="CT", PatientName="A^B")
    data_set.add_new(0x00083002, "UI", "1.2.3")
    data_set.SpecificCharacterSet = "ISO_IR 100"
    pairs = json.loads(
        text_of(io.BytesIO(part10(encoded(data_set)))), object_pairs_hook=lambda pairs: pairs
    )
    tags = [tag for tag, _ in pairs]
    assert tags == sorted(set(tags))
    assert json_of_bytes(part10(encoded(data_set)))["00083002"]["Value"] == [EXPLICIT]


def test_text_is_unicode_whatever_the_character_set() -> None:
    inner = Dataset()
    inner.SpecificCharacterSet = "ISO_IR 100"
    inner.CodeMeaning = "Schädel"
    data_set = minimal(PatientName="Люкceмбypг", ProcedureCodeSequence=Sequence([inner]))
    data_set.SpecificCharacterSet = "ISO_IR 144"
    made = json_of_bytes(part10(encoded(data_set)))
    assert made["00100010"]["Value"] == [{"Alphabetic": "Люкceмбypг"}]
    (item,) = made["00081032"]["Value"]
    assert item == {"00080104": {"vr": "LO", "Value": ["Schädel"]}}
    assert made["00080005"]["Value"] == ["ISO_IR 192"]


@pytest.mark.parametrize("implicit", [False, True])
def test_long_binary_is_bulk_data_and_short_inline(implicit: bool) -> None:
    short, long = bytes(range(256)) * 4, bytes(range(256)) * 5
    item = Dataset()
    item.WaveformData = long
    item["WaveformData"].VR = "OW"
    data_set = minimal(
        ICCProfile=short, WaveformSequence=Sequence([Dataset(), item]), EncapsulatedDocument=long
    )
    content = part10(encoded(data_set, implicit=implicit), IMPLICIT if implicit else EXPLICIT)
    made = json_of_bytes(content)
    assert base64.b64decode(made["00282000"]["InlineBinary"]) == short
    assert made["00420011"] == {"vr": "OB", "BulkDataURI": "/bulkdata/00420011"}
    address = made["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    assert address == "/bulkdata/54000100/2/54001010"
    assert value_of(io.BytesIO(content), "54000100/2/54001010") == long
    assert value_of(io.BytesIO(content), "00420011") == long


def test_pixel_data_and_what_lies_behind_it() -> None:
    behind = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 4) + b"\0" * 4
    head = encoded(minimal(Rows=2, Columns=2, BitsAllocated=8, SamplesPerPixel=1))
    for pixels, vr in ((native(b"abcd"), "OW"), (encapsulated(b"abcd"), "OB")):
        made = json_of_bytes(part10(head + pixels + behind, EXPLICIT))
        assert made["7FE00010"] == {"vr": vr, "BulkDataURI": "/bulkdata/7FE00010"}
        assert base64.b64decode(made["FFFCFFFC"]["InlineBinary"]) == bytes(4)
        # Garbage there is nobody's loss.
        assert "7FE00010" in json_of_bytes(part10(head + pixels + b"garbage", EXPLICIT))


def test_private_elements_have_the_vr_of_their_creator() -> None:
    data_set = minimal()
    block = data_set.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.5")
    made = json_of_bytes(part10(encoded(data_set, implicit=True), IMPLICIT))
    assert made["70530010"] == {"vr": "LO", "Value": ["Philips PET Private Group"]}
    assert made["70531000"] == {"vr": "DS", "Value": [0.5]}
    data_set[0x70530010].value = "NOBODY KNOWS"
    made = json_of_bytes(part10(encoded(data_set, implicit=True), IMPLICIT))
    assert made["70531000"] == {"vr": "UN", "InlineBinary": base64.b64encode(b"0.5 ").decode()}


@pytest.mark.parametrize("letters", [b"??", b"  ", b"ZZ"])
def test_a_vr_that_is_none_is_that_of_the_dictionary_or_unknown(letters: bytes) -> None:
    json = json_of_bytes(part10(with_unknown_vrs(letters)))
    assert json["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert json["00091003"] == {"vr": "UN", "InlineBinary": "RUZHSA=="}
    assert json["00091001"]["Value"] == [{"00091002": {"vr": "UN", "InlineBinary": "Q0Q="}}]
    assert json["00280010"]["Value"] == [5]


def test_every_value_can_be_had_by_its_path(quiet: None) -> None:
    files = [path for path in readable() if path.stat().st_size < 200_000][::10]
    assert len(files) > 8
    for path in files:
        data_set = pydicom.dcmread(path, force=True)
        if data_set.original_encoding[1] is False:
            continue  # raw values of these are in the other byte order
        for element in list(pydicom.dcmread(path, force=True).values()):
            raw = getattr(element, "value", None)
            vr = getattr(element, "VR", None)
            if vr == "SQ" or not isinstance(raw, bytes) or element.tag.group >= 0x7FE0:
                continue
            with path.open("rb") as file:
                assert value_of(file, f"{element.tag:08X}") == raw, (path, element.tag)


def test_values_of_odd_encodings_are_little_endian() -> None:
    words = struct.pack("<4H", 1, 2, 3, 4)
    data_set = minimal(RedPaletteColorLookupTableData=words)
    data_set["RedPaletteColorLookupTableData"].VR = "OW"
    big = part10(encoded(data_set, little_endian=False), BIG_ENDIAN)
    with_swapped = big.replace(words, struct.pack(">4H", 1, 2, 3, 4))
    assert value_of(io.BytesIO(with_swapped), "00281201") == words


@pytest.mark.parametrize(
    "path",
    ["", "0010", "00100010/", "00100010/1", "00100010/0/00100020", "0010001G", "../00100010"],
)
def test_path_that_is_none(path: str) -> None:
    with pytest.raises(Invalid):
        parse_path(path)


@pytest.mark.parametrize("path", ["00101010", "00081032", "00081032/2/00080104", "FFFCFFFC"])
def test_element_that_is_not_there(path: str) -> None:
    inner = Dataset()
    inner.CodeMeaning = "x"
    content = part10(encoded(minimal(ProcedureCodeSequence=Sequence([inner]))))
    if path == "00081032":
        path += "/1/00080102"
    with pytest.raises(NotFound):
        value_of(io.BytesIO(content), path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_header_gives_json_or_a_domain_error(data: st.DataObject) -> None:
    inner = Dataset()
    inner.CodeMeaning = "x" * 40
    inner.ConceptNameCodeSequence = Sequence([Dataset()])
    content = bytearray(
        part10(encoded(minimal(ProcedureCodeSequence=Sequence([inner, inner]), PatientName="A^B")))
    )
    header = read_header(io.BytesIO(content))
    start = header.data_set_offset
    for place in data.draw(st.lists(st.integers(start, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(start, len(content)))]
    file = io.BytesIO(content)
    reader = open_reader(file, EXPLICIT, start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(HilumError):
            json.loads(data_set_json(reader, start, EXPLICIT, None).replace(BASE, b""))
        with suppress(HilumError):
            find_value(reader, start, EXPLICIT, None, parse_path("00081032/2/00080104"))
