"""Identifiers against pydicom: the same elements come to the same bytes."""

import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from hilum.core.errors import NotDicom
from hilum.scp.character_set import choose
from hilum.scp.identifier import Encoder, character_set_of, decode, encode
from hilum.scp.plain_keys import is_plain

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "00080020": {"vr": "DA", "Value": ["20260102"]},
    "00080052": {"vr": "CS", "Value": ["STUDY"]},
    "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
    "00081030": {"vr": "LO"},
    "00081032": {
        "vr": "SQ",
        "Value": [
            {"00080100": {"vr": "SH", "Value": ["ABC"]}, "00080104": {"vr": "LO", "Value": ["x"]}},
            {},
        ],
    },
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}]},
    "00101020": {"vr": "DS", "Value": [1.83]},
    "00104000": {"vr": "LT", "Value": ["a\\b"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00200013": {"vr": "IS", "Value": [12, 14]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00189073": {"vr": "FD", "Value": [0.25]},
    "00280106": {"vr": "SS", "Value": [-3]},
}


def by_pydicom(attributes: dict[str, Any], transfer_syntax: str) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR = transfer_syntax == IMPLICIT
    file.is_little_endian = transfer_syntax != BIG_ENDIAN
    write_dataset(file, Dataset.from_json(attributes))
    return file.getvalue()


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_every_kind_of_value_is_written_as_pydicom_does(transfer_syntax: str) -> None:
    assert encode(ATTRIBUTES, transfer_syntax) == by_pydicom(ATTRIBUTES, transfer_syntax)


def test_deflated_is_raw_deflate_of_explicit_of_even_length() -> None:
    encoded = encode(ATTRIBUTES, DEFLATED)
    assert len(encoded) % 2 == 0
    assert zlib.decompress(encoded, -zlib.MAX_WBITS) == by_pydicom(ATTRIBUTES, EXPLICIT)


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_what_is_written_is_read(transfer_syntax: str) -> None:
    # Without its context, Implicit VR does not tell SS from US.
    attributes = {tag: each for tag, each in ATTRIBUTES.items() if each["vr"] != "SS"}
    read = decode(encode(attributes, transfer_syntax), transfer_syntax)
    assert read.to_json_dict() == Dataset.from_json(attributes).to_json_dict()


def test_value_too_long_for_its_representation_is_un() -> None:
    long = {"0020000D": {"vr": "UI", "Value": ["1.2"] * 20_000}}
    encoded = encode(long, EXPLICIT)
    assert encoded[4:8] == b"UN\0\0"
    assert int.from_bytes(encoded[8:12], "little") == len(encoded) - 12


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_string_has_at_most_sixteen_characters(number: float) -> None:
    encoded = encode({"00101020": {"vr": "DS", "Value": [number]}}, EXPLICIT)
    text = encoded[8:].decode().strip()
    assert len(text) <= 16
    assert float(text) == pytest.approx(number, rel=1e-8)


LETTERS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="\\=^")
)


@given(
    st.lists(LETTERS, min_size=1, max_size=4),
    st.sampled_from(
        [[], ["ISO_IR 100"], ["ISO_IR 144"], ["ISO_IR 13"], ["GB18030"], ["ISO_IR 192"],
         ["", "ISO 2022 IR 87"], ["ISO 2022 IR 6", "ISO 2022 IR 100"], ["unheard of"]]
    ),
)  # fmt: skip
def test_whatever_is_chosen_says_everything(texts: list[str], preferred: list[str]) -> None:
    chosen = choose(texts, preferred)
    codecs = convert_encodings(list(chosen.terms) or [""])
    for text in texts:
        assert decode_bytes(chosen.encode(text), codecs, set(b"\\^=\r\n\t\f")) == text
    if all(text.isascii() for text in texts):
        assert not chosen.terms


def test_latin_is_preferred_to_utf_8_for_whoever_does_not_say() -> None:
    assert choose(["Müller"], []).terms == ("ISO_IR 100",)
    assert choose(["Łukasz"], []).terms == ("ISO_IR 192",)


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        ("", []),
        ("ISO_IR 100", ["ISO_IR 100"]),
        (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
    ],
)
def test_character_set_of_a_request(value: Any, terms: list[str]) -> None:
    request = Dataset()
    assert character_set_of(request) == []
    request.SpecificCharacterSet = value
    assert character_set_of(request) == terms


@pytest.mark.parametrize(
    ("data", "transfer_syntax"),
    [(b"", IMPLICIT), (b"not deflated", DEFLATED)],
)
def test_what_cannot_be_read_is_not_dicom(data: bytes, transfer_syntax: str) -> None:
    with pytest.raises(NotDicom):
        decode(data, transfer_syntax)


def test_deflated_bomb_is_not_inflated() -> None:
    size = 1 << 28
    bomb = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = bomb.compress(b"\x09\0\x10\x10OB\0\0" + size.to_bytes(4, "little") + bytes(size))
    data += bomb.flush()
    tracemalloc.start()
    try:
        with suppress(NotDicom):
            decode(data, DEFLATED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size // 8


@given(
    st.binary(min_size=1, max_size=300), st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
)
def test_any_bytes_are_an_identifier_or_not_dicom(data: bytes, transfer_syntax: str) -> None:
    try:
        read = decode(data, transfer_syntax)
    except NotDicom:
        return
    assert isinstance(read, Dataset)


KEYS = {
    "00080020": ("DA", ["20240131", "20240101-20240131", "2024", "20241399", "-"]),
    "00080050": ("SH", ["A-1", "A*", "x" * 17, " "]),
    "00080052": ("CS", ["STUDY", "study"]),
    "00080061": ("CS", ["CT", "CT\\MR", "C*"]),
    "00081030": ("LO", ["CT Thorax", "Schädel", "y" * 65]),
    "00100010": ("PN", ["smith*", "Smith^John", "Müller", "A^B=C", "^^^^^^"]),
    "0020000D": ("UI", ["1.2.3", "1.02", "1.2.3\\1.2.4", "1." + "9" * 70, "a"]),
    "00200013": ("IS", ["1", "x"]),
    "00280010": ("US", []),
}


@given(
    st.fixed_dictionaries(
        {}, optional={tag: st.sampled_from(["", *values]) for tag, (_, values) in KEYS.items()}
    ),
    st.sampled_from([IMPLICIT, EXPLICIT]),
    st.binary(max_size=3),
)
def test_pydicom_says_nothing_about_plain_keys(
    keys: dict[str, str], transfer_syntax: str, appended: bytes
) -> None:
    attributes = {
        tag: {"vr": vr, "Value": [{"Alphabetic": text} if vr == "PN" else text]}
        for tag, text in keys.items()
        for vr in [KEYS[tag][0]]
        if vr != "US"
    }
    data = Encoder(transfer_syntax).encode(attributes) + appended
    if data and is_plain(data, transfer_syntax):
        # Warnings are errors here, and there is none to keep quiet.
        decode(data, transfer_syntax)


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT])
def test_ordinary_keys_are_plain(transfer_syntax: str) -> None:
    attributes: dict[str, dict[str, Any]] = {
        "00080020": {"vr": "DA"},
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "smith*"}]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    }
    assert is_plain(encode(attributes, transfer_syntax), transfer_syntax)
    attributes["00080005"] = {"vr": "CS", "Value": ["ISO_IR 100"]}
    assert not is_plain(encode(attributes, transfer_syntax), transfer_syntax)


REPLY = st.fixed_dictionaries(
    {},
    optional={
        "00080061": st.sampled_from([["CT"], ["CT", "MR"]]).map(lambda v: {"vr": "CS", "Value": v}),
        "00081030": st.sampled_from(["CT", "Schädel", "頭部", "Голова"]).map(
            lambda v: {"vr": "LO", "Value": [v]}
        ),
        "00081032": st.sampled_from(["ä", "b"]).map(
            lambda v: {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": [v]}}]}
        ),
        "00100010": st.sampled_from(["A^B", "Ä^B"]).map(
            lambda v: {"vr": "PN", "Value": [{"Alphabetic": v}]}
        ),
        "00101020": st.sampled_from([1, 1.0, 1.83]).map(lambda v: {"vr": "DS", "Value": [v]}),
        "00280010": st.sampled_from([512, 256]).map(lambda v: {"vr": "US", "Value": [v]}),
    },
)


@given(st.lists(REPLY, max_size=6), st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]))
def test_a_reply_does_not_depend_on_those_before(
    replies: list[dict[str, Any]], transfer_syntax: str
) -> None:
    encoder = Encoder(transfer_syntax, ["ISO_IR 144"])
    written = [encoder.encode(reply) for reply in replies]
    assert written == [encode(reply, transfer_syntax, ["ISO_IR 144"]) for reply in replies]
