"""Data sets as Orthanc tells them: what its corpus does not have. Values are PS3.5's."""

import struct
from collections.abc import Callable

import pytest

from hilum.core.errors import Unsupported
from hilum.imaging.tag_json import data_set_tags, meta_tags
from tests.fuzz.test_bombs import outcome

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"


def short(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def long(group: int, element: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2sHI", group, element, vr, 0, size) + value


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def shown(data_set: bytes, syntax: str = EXPLICIT) -> dict[str, object]:
    return data_set_tags(data_set, syntax, "short")


@pytest.mark.parametrize(
    ("vr", "value", "told"),
    [
        (b"US", b"\x01\0\xff\xff", "1\\65535"),
        (b"SS", b"\xff\xff", "-1"),
        (b"UL", b"\xff\xff\xff\xff", "4294967295"),
        (b"FL", struct.pack("<f", 0.1), "0.10000000149011612"),
        (b"FD", struct.pack("<d", 0.1), "0.10000000000000001"),
        (b"AT", b"\x28\0\x09\0\x18\0\x63\x10", "0028,0009"),
        (b"US", b"", None),
        (b"AT", b"", None),
        (b"LO", b"", ""),
        (b"LO", b"two \\ blanks  ", "two \\ blanks"),
        (b"UI", b"1.2.3\0", "1.2.3"),
        (b"LO", b"x" * 256, "x" * 256),
        (b"LO", b"x" * 258, None),
    ],
)
def test_values(vr: bytes, value: bytes, told: str | None) -> None:
    assert shown(short(0x0018, 0x9000, vr, value)) == {"0018,9000": told}


def test_binary_and_unknown_values() -> None:
    data_set = (
        long(0x0009, 0x1001, b"UN", b"secret")
        + long(0x0010, 0x0010, b"UN", b"Doe^Jane\0")
        + long(0x0028, 0x1201, b"OW", b"\0\1")
        + long(0x7FE0, 0x0010, b"OW", b"", 1 << 20)
    )
    assert shown(data_set) == {
        "0009,1001": None,
        "0010,0010": "Doe^Jane",
        "0028,1201": None,
        "7fe0,0010": None,
    }


def test_a_length_counts_bytes_of_utf8() -> None:
    name = ("é" * 129).encode("latin-1")
    data_set = short(0x0008, 0x0005, b"CS", b"ISO_IR 100") + short(0x0008, 0x0080, b"LO", name)
    assert data_set_tags(data_set, EXPLICIT)["0008,0080"] == {
        "Name": "InstitutionName",
        "Type": "TooLong",
        "Value": None,
    }
    whole = data_set_tags(data_set, EXPLICIT, "simple", frozenset({0x00080080}))
    assert whole["InstitutionName"] == "é" * 129


def test_big_endian_and_implicit_sequences() -> None:
    code = struct.pack(">HH2sH", 8, 0x0100, b"SH", 2) + b"T1"
    sequence = struct.pack(">HHI", 0xFFFE, 0xE000, len(code)) + code
    big = struct.pack(">HH2sHI", 8, 0x1032, b"SQ", 0, len(sequence)) + sequence
    assert shown(big, BIG) == {"0008,1032": [{"0008,0100": "T1"}]}
    code = struct.pack("<HHI", 8, 0x0100, 2) + b"T1"
    implicit = struct.pack("<HHI", 8, 0x1032, 8 + len(code)) + item(code)
    assert shown(implicit, IMPLICIT) == {"0008,1032": [{"0008,0100": "T1"}]}


def test_signed_follows_pixel_representation_in_implicit_vr() -> None:
    def of(representation: int) -> object:
        data_set = struct.pack("<HHIH", 0x0028, 0x0103, 2, representation)
        data_set += struct.pack("<HHIH", 0x0028, 0x0106, 2, 0xFFFE)
        return shown(data_set, IMPLICIT)["0028,0106"]

    assert (of(0), of(1)) == ("65534", "-2")


def test_meta_information_without_its_version() -> None:
    meta = long(2, 1, b"OB", b"\0\1") + short(2, 0x0010, b"UI", b"1.2.840.10008.1.2\0")
    assert meta_tags(meta, "simple") == {"TransferSyntaxUID": "1.2.840.10008.1.2"}


def test_what_is_nested_without_end() -> None:
    data_set = short(0x0008, 0x0100, b"SH", b"T1")
    for _ in range(100):
        data_set = long(0x0040, 0xA730, b"SQ", item(data_set))
    told, depth = shown(data_set), 0
    while told := told.get("0040,a730"):  # type: ignore[assignment, attr-defined]
        told, depth = told[0], depth + 1  # type: ignore[index]
    assert 10 < depth < 50


@pytest.mark.parametrize(
    ("syntax", "make"),
    [
        (EXPLICIT, lambda: long(0x0040, 0xA730, b"SQ", item(b"") * 2_000_000)),
        (
            IMPLICIT,
            lambda: b"".join(
                struct.pack("<HHI", 0x1000 + 2 * (place >> 16), place & 0xFFFF, 0)
                for place in range(2_000_000)
            ),
        ),
    ],
    ids=["items", "elements"],
)
def test_bombs_of_elements_take_little_memory(syntax: str, make: Callable[[], bytes]) -> None:
    bomb = make()

    def run() -> None:
        data_set_tags(bomb, syntax)
        raise Unsupported("or as many as are shown")

    end, grown_bytes, seconds = outcome(run)
    assert end == Unsupported.code
    assert grown_bytes < 200 << 20
    assert seconds < 10
