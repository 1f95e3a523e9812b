"""The fast scanner: how much goes its way, and its values against those that were written."""

import io
import struct
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.core.errors import HilumError
from hilum.core.levels import INDEX_TAGS, STORED_KEYWORDS, json_tag, tag_of, vr_of
from hilum.imaging.dicom_json import element
from hilum.imaging.encoding import Unusual
from hilum.imaging.header import read_header
from hilum.imaging.part10 import read_file_meta
from hilum.imaging.reader import FileReader, open_reader
from hilum.imaging.scan import VALUE_LIMIT_BYTES, Scanned, scan
from tests.corpus import all_files
from tests.data_sets import encapsulated, encoded, minimal, native, part10

UIDS = {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
KEYWORDS = sorted({keyword for level in STORED_KEYWORDS.values() for keyword in level} - UIDS)


def scanned(body: bytes, *, explicit: bool = True) -> Scanned:
    return scan(FileReader(io.BytesIO(body)), 0, INDEX_TAGS, explicit=explicit)


def test_nearly_every_little_endian_file_goes_the_fast_way() -> None:
    fast, slow = 0, []
    for path in all_files():
        with path.open("rb") as file:
            try:
                transfer_syntax_uid = read_header(file).transfer_syntax_uid
            except HilumError:
                continue
            if transfer_syntax_uid == ExplicitVRBigEndian:
                continue
            offset = read_file_meta(FileReader(file)).data_set_offset
            reader = open_reader(file, transfer_syntax_uid, offset)
            explicit = transfer_syntax_uid != ImplicitVRLittleEndian
            try:
                scan(reader, offset, INDEX_TAGS, explicit=explicit)
                fast += 1
            except Unusual:
                slow.append(path.name)
    assert fast >= 50
    assert len(slow) <= 0.01 * fast, slow


# --- what pydicom writes, with whatever lies between and inside the wanted elements ---------

#: Character sets, and characters each is there for.
CHARACTER_SETS = {
    "ISO_IR 100": "äöüßéñ",
    "ISO_IR 101": "łżěšč",
    "ISO_IR 109": "ĉĝħ",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 127": "قباني",
    "ISO_IR 138": "שרון",
    "ISO_IR 144": "Люксембург",
    "ISO_IR 148": "Çavuşoğlu",
    "ISO_IR 166": "นามสกุล",
    "ISO_IR 192": "王山Люäł𝄞",
    "GB18030": "王小东肀",
    "GBK": "王小东",
}


def values_of(vr: str, characters: str) -> st.SearchStrategy[Any]:
    """Values of a VR as pydicom takes them, in the form the JSON model gives them back."""
    text = st.text(st.sampled_from("ABC xyz09" + characters), max_size=16).map(str.strip)
    return {
        "US": st.integers(0, 0xFFFF),
        "IS": st.integers(-(2**31), 2**31 - 1),
        "DS": st.floats(-1e6, 1e6).map(lambda number: float(f"{number:.6g}")),
        "DA": st.dates().map(lambda day: f"{day:%Y%m%d}".rjust(8, "0")),
        "TM": st.times().map(lambda time: f"{time:%H%M%S}"),
        "DT": st.datetimes().map(lambda time: f"{time:%Y%m%d%H%M%S}".rjust(14, "0")),
        "AS": st.integers(0, 999).map(lambda age: f"{age:03}Y"),
        "CS": st.text(st.sampled_from("ABC_ 09"), max_size=12).map(str.strip),
        "UI": st.integers(0, 10**9).map(lambda number: f"1.2.{number}"),
        "PN": text,
    }.get(vr, text)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Dataset, dict[str, Any]]:
    """Return a data set, and its index values by keyword."""
    term = draw(st.sampled_from(sorted(CHARACTER_SETS)))
    characters = CHARACTER_SETS[term]
    written: dict[str, Any] = {}
    data_set = minimal(SpecificCharacterSet=term)
    for keyword in draw(st.lists(st.sampled_from(KEYWORDS), unique=True)):
        vr = vr_of(keyword)
        if vr == "SQ":
            codes = draw(st.lists(values_of("LO", characters), max_size=3))
            sequence = [Dataset() for _ in codes]
            for item, code in zip(sequence, codes, strict=True):
                item.CodeMeaning = code
                item.RequestAttributesSequence = [minimal(SpecificCharacterSet="ISO_IR 100")]
                item.is_undefined_length_sequence_item = draw(st.booleans())
            setattr(data_set, keyword, sequence)
            data_set[keyword].is_undefined_length = draw(st.booleans())
            written[keyword] = codes
        else:
            value = draw(values_of(vr, characters))
            setattr(data_set, keyword, value)
            written[keyword] = value
    block = data_set.private_block(0x0009, "HILUM TEST", create=True)
    block.add_new(1, "OB", draw(st.binary(max_size=40)))
    block.add_new(2, "SQ", [minimal(), Dataset()])
    data_set[0x00091002].is_undefined_length = draw(st.booleans())
    data_set.PerFrameFunctionalGroupsSequence = [minimal(Rows=1)]
    data_set.PerFrameFunctionalGroupsSequence[0].is_undefined_length_sequence_item = True
    data_set["PerFrameFunctionalGroupsSequence"].is_undefined_length = draw(st.booleans())
    return data_set, written


def expected_json(keyword: str, value: Any) -> Any:
    if vr_of(keyword) == "SQ":
        return [{"CodeMeaning": code} for code in value] or None
    if value == "":
        return None
    return [{"Alphabetic": value}] if vr_of(keyword) == "PN" else [value]


@settings(max_examples=150, deadline=None)
@given(data_sets(), st.booleans())
def test_what_pydicom_writes_is_read_as_written(
    made: tuple[Dataset, dict[str, Any]], implicit: bool
) -> None:
    data_set, written = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = encoded(data_set, implicit=implicit)
    scanned(body, explicit=not implicit)  # the fast way, without Unusual
    uid = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    attributes = read_header(io.BytesIO(part10(body, uid))).attributes
    assert set(attributes) == {json_tag(keyword) for keyword in UIDS | set(written)}
    for keyword, value in written.items():
        found = attributes[json_tag(keyword)]
        assert found["vr"] == vr_of(keyword)
        if vr_of(keyword) == "SQ":
            meanings = [
                item.get(json_tag("CodeMeaning"), {}).get("Value", [""])[0]
                for item in found.get("Value", [])
            ]
            assert meanings == value
        else:
            assert found.get("Value") == expected_json(keyword, value)


# --- text --------------------------------------------------------------------------------

#: PS3.5 H.3, I.2, J.3 and K: the standard's own names, with their bytes.
STANDARD_NAMES = [
    (
        rb"\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
    ),
    (
        rb"ISO 2022 IR 13\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        ("ﾔﾏﾀﾞ^ﾀﾛｳ", "山田^太郎", "やまだ^たろう"),
    ),
    (
        rb"\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        ("Hong^Gildong", "洪^吉洞", "홍^길동"),
    ),
    (
        rb"\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        ("Zhang^XiaoDong", "张^小东", None),
    ),
    (
        b"ISO_IR 192",
        b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=",
        ("Wang^XiaoDong", "王^小東", None),
    ),
    (
        b"GB18030",
        b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=",
        ("Wang^XiaoDong", "王^小东", None),
    ),
]


def name_read(character_set: bytes, name: bytes) -> Any:
    character_set += b" " * (len(character_set) % 2)
    name += b" " * (len(name) % 2)
    body = struct.pack("<HH2sH", 8, 5, b"CS", len(character_set)) + character_set
    body += encoded(minimal())
    # Patient's Name belongs between SOP Instance UID and Study Instance UID.
    at = body.index(struct.pack("<HH", 0x0020, 0x000D))
    body = body[:at] + struct.pack("<HH2sH", 0x10, 0x10, b"PN", len(name)) + name + body[at:]
    header = read_header(io.BytesIO(part10(body)))
    return header.attributes[json_tag("PatientName")].get("Value")


@pytest.mark.parametrize(("character_set", "name", "groups"), STANDARD_NAMES)
def test_names_of_the_standard(
    character_set: bytes, name: bytes, groups: tuple[str | None, ...]
) -> None:
    names = zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=True)
    assert name_read(character_set, name) == [{key: group for key, group in names if group}]


@pytest.mark.parametrize(
    "term", ["ISO-IR 100", "ISO IR 100", "ISO_IR_100", "iso_ir 100", "ISO 2022 IR 100", "ISO_IR100"]
)
def test_misspelt_character_sets_are_understood(term: str) -> None:
    assert name_read(term.encode(), "Müller".encode("latin-1")) == [{"Alphabetic": "Müller"}]


@pytest.mark.parametrize("term", ["", "NO SUCH SET", "rot13", "zip", "ISO_IR 6", "\\\\"])
def test_unknown_character_sets_lose_no_byte(term: str) -> None:
    assert name_read(term.encode(), b"M\xfcller") == [{"Alphabetic": "Müller"}]


def test_a_trail_byte_that_looks_like_a_delimiter_is_none() -> None:
    name = b"\x81\\\x81^"  # two characters of GBK
    assert name_read(b"GBK", name) == [{"Alphabetic": name.decode("gbk")}]
    assert name_read(b"GB18030", name) == [{"Alphabetic": name.decode("gb18030")}]


def test_an_escape_sequence_that_the_character_set_does_not_name_says_enough() -> None:
    assert name_read(b"", b"A=\x1b$B;3ED\x1b(B") == [{"Alphabetic": "A", "Ideographic": "山田"}]
    assert name_read(b"", b"\x1b%Gabc") == [{"Alphabetic": "\x1b%Gabc"}]


def test_code_extensions_end_at_delimiters() -> None:
    name = b"Fr\x1b-F\xc4^\xc4\\\x1b-F\xc4\\\xc4"
    term = rb"ISO 2022 IR 100\ISO 2022 IR 126"
    assert [n["Alphabetic"] for n in name_read(term, name)] == ["FrΔ^Ä", "Δ", "Ä"]


def test_bytes_without_meaning_become_replacement_characters() -> None:
    assert name_read(b"ISO_IR 192", b"M\xfcller") == [{"Alphabetic": "M\ufffdller"}]


# --- values that are not what their VR promises ------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("IS", b"007 ", [7]),
        ("IS", b"+7", [7]),
        ("IS", b"1A", ["1A"]),
        ("IS", b"1.0 ", ["1.0"]),
        ("IS", b"9" * 30, ["9" * 30]),
        ("IS", b"1\\\\3 ", [1, None, 3]),
        ("DS", b" 0.50", [0.5]),
        ("DS", b"1e-3", [0.001]),
        ("DS", b"-2.07e-013", [-2.07e-13]),
        ("DS", b"0,5 ", ["0,5"]),
        ("DS", b"nan ", ["nan"]),
        ("DS", b"1_0 ", ["1_0"]),
        ("DS", b"1e999 ", ["1e999"]),
        ("US", b"\1\0\2", [1]),
        ("FD", struct.pack("<2d", float("nan"), 0.1), ["nan", 0.1]),
        ("SV", struct.pack("<2q", -5, 2**60), [-5, str(2**60)]),
        ("AT", b"\x08\0\x18\0", ["00080018"]),
        ("CS", b" A \\ B", ["A", "B"]),
        ("LO", b" a\\b", ["a", "b"]),
        ("LT", b" a\\b ", [" a\\b"]),
        ("UI", b"1.2\0", ["1.2"]),
        ("UI", b"\0\0", None),
        ("SH", b"\\", None),
        ("PN", b"^^^^ ", [{"Alphabetic": "^^^^"}]),
        ("PN", b"=Y ", [{"Ideographic": "Y"}]),
        ("PN", b"A\\\\C", [{"Alphabetic": "A"}, None, {"Alphabetic": "C"}]),
        ("PN", b"==", None),
    ],
)
def test_values_in_the_json_model(vr: str, raw: bytes, values: Any) -> None:
    assert element(vr, raw, ("iso8859",)).get("Value") == values


def test_bytes_of_no_known_kind_are_inline() -> None:
    assert element("UN", b"\0\1", ("iso8859",)) == {"vr": "UN", "InlineBinary": "AAE="}
    assert element("OB", b"", ("iso8859",)) == {"vr": "OB"}


# --- where the fast way ends --------------------------------------------------------------


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@pytest.mark.parametrize(
    "body",
    [
        explicit(0x00100020, b"LO", b"17") + explicit(0x00080016, b"UI", b"1.2\0"),
        explicit(0x00100020, b"LO", b"17") + explicit(0x00100020, b"LO", b"18"),
        explicit(0x00100020, b"XX", b"17"),
        explicit(0x00100020, b"LO", b"17")[:-1],
        explicit(0x00100020, b"LO", b"17") + b"\x10\0",
        struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFFF) + bytes(8),
        struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF) + bytes(8),
        struct.pack("<HH2sHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF),
        struct.pack("<HH2sHIHHI", 9, 0x1001, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE00D, 0),
        struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 100) + bytes(8),
    ],
    ids=[
        "out of order",
        "twice",
        "unknown VR",
        "value cut",
        "header cut",
        "OB of undefined length",
        "UN of undefined length",
        "sequence cut",
        "item end without item",
        "length past the end",
    ],
)
def test_anything_unusual_is_left_to_pydicom(body: bytes) -> None:
    with pytest.raises(Unusual):
        scanned(body)


def test_values_too_long_for_an_index_are_left_in_the_file() -> None:
    tag = tag_of("ImageComments")
    for length, kept in ((VALUE_LIMIT_BYTES, True), (VALUE_LIMIT_BYTES + 2, False)):
        long_text = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"UT", 0, length)
        body = long_text + b"x" * length + explicit(0x00280010, b"US", b"\2\0")
        found = scanned(body)
        assert (tag in found.values) is kept
        assert found.values[0x00280010].raw == b"\2\0"


def test_pixel_data_is_found_wherever_the_window_ends() -> None:
    for length in range(16300, 16420, 2):
        filler = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, length) + bytes(length)
        body = filler + explicit(0x00100020, b"LO", b"17") + native(bytes(8))
        found = scanned(body)
        assert found.values[0x00100020].raw == b"17"
        assert found.pixel_element is not None
        assert found.pixel_element.offset == len(body) - 8


def test_nested_sequences_of_undefined_length_cross_the_window() -> None:
    data_set = minimal()
    sequence = [minimal(ImageComments="x" * 300) for _ in range(200)]
    for item in sequence:
        item.ReferencedImageSequence = [minimal() for _ in range(3)]
        item["ReferencedImageSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
    data_set.PerFrameFunctionalGroupsSequence = sequence
    data_set["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    for implicit in (False, True):
        body = encoded(data_set, implicit=implicit)
        tail = encapsulated(b"x") if not implicit else b"\xe0\x7f\x10\0\2\0\0\0ab"
        found = scanned(body + tail, explicit=not implicit)
        assert found.pixel_element is not None
        assert found.pixel_element.offset == len(body) + (8 if implicit else 12)
