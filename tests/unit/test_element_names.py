"""Names of elements: DCMTK's own dictionaries say what they should be."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.imaging.element_names import UNKNOWN, name_of, tag_of, vr_of

FOLDER = next(iter(sorted(Path("/usr/share").glob("libdcmtk*"))), Path("/nowhere"))
PRIVATE = re.compile(r'\(([0-9a-f]{4}),"(.*)",([0-9a-f]{2,4})\)')


def entries(name: str) -> Iterator[tuple[str, str, str]]:
    """Tag, VR and name of each line of a dictionary."""
    for line in (FOLDER / name).read_text("latin-1").splitlines():
        if line and not line.startswith("#"):
            tag, vr, name, *_ = line.split("\t")
            yield tag, vr, name


@pytest.mark.skipif(not FOLDER.exists(), reason="DCMTK's dictionaries are not installed")
def test_private_elements_have_dcmtks_names() -> None:
    compared = 0
    for tag, vr, name in entries("private.dic"):
        if match := PRIVATE.fullmatch(tag.lower().replace(match_creator(tag).lower(), "x")):
            group, element = int(match[1], 16), int(match[3], 16)
            number = group << 16 | (element if element > 0xFF else 0x1000 | element)
            creator = match_creator(tag)
            assert name_of(number, creator) == name.replace(" ", ""), tag
            if len(vr) == 2 and vr.isupper():
                assert vr_of(number, creator) == vr, tag
            compared += 1
    assert compared > 2500


def match_creator(tag: str) -> str:
    return tag.split('"')[1]


@pytest.mark.skipif(not FOLDER.exists(), reason="DCMTK's dictionaries are not installed")
def test_standard_elements_have_dcmtks_names() -> None:
    compared = 0
    for tag, _, name in entries("dicom.dic"):
        if re.fullmatch(r"\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)", tag):
            ours = name_of(int(tag[1:5] + tag[6:10], 16))
            if ours not in {UNKNOWN, "GenericGroupLength"}:
                # Orthanc has this one as it was.
                assert ours == name or name == "RETIRED_OtherPatientIDs", tag
                compared += 1
    assert compared > 4000


def test_what_nobody_knows() -> None:
    assert name_of(0x00110010) == "PrivateCreator"
    assert name_of(0x00111001, "NOBODY 1.0") == UNKNOWN
    assert name_of(0x00080000) == "GenericGroupLength"
    assert name_of(0x00110000) == "PrivateGroupLength"
    assert (vr_of(0x00111001, "NOBODY 1.0"), vr_of(0x00110010)) == ("UN", "LO")


def test_vr_that_follows_pixel_representation() -> None:
    assert vr_of(0x00280106) == "US"
    assert vr_of(0x00280106, signed=True) == "SS"


@pytest.mark.parametrize(
    "text", ["0010-0010", "0010,0010", "00100010", "PatientName", "RETIRED_PatientName"]
)
def test_ways_to_write_a_tag(text: str) -> None:
    assert tag_of(text) == 0x00100010


def test_what_is_no_tag() -> None:
    with pytest.raises(KeyError):
        tag_of("Patient Name")
