"""Instances that are changed or anonymized, beside what Orthanc makes of them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset

from tests.corpus import pydicom_files
from tests.generated import ct, save
from tests.orthanc.loading import loaded
from tests.orthanc.side_by_side import SideBySide, ask

#: Of pydicom's: compressed, without pixels, implicit, big endian, with private elements.
NAMES = ("CT_small", "JPEG2000", "rtplan", "reportsi", "MR_small_bigendian", "liver_1frame")
FORCED = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def private(data_set: Dataset, group: int, value: str) -> None:
    data_set.add_new((group, 0x0010), "LO", "SOMEBODY")
    data_set.add_new((group, 0x1001), "LO", value)


def telling() -> Dataset:
    """A slice that tells of its patient wherever it can."""
    data_set = ct(1, study="telling", size=8, StudyDescription="described", InstitutionName="Here")
    data_set.PatientBirthDate, data_set.PatientSex = "19700101", "M"
    data_set.FrameOfReferenceUID = "1.2.3.4.66"
    private(data_set, 0x0009, "private")
    private(data_set, 0x7FE1, "behind the pixels")
    data_set.add_new(0xFFFCFFFC, "OB", b"padding?")
    image = Dataset()
    image.ReferencedSOPInstanceUID = "1.2.3.4.55"
    image.StudyInstanceUID = data_set.StudyInstanceUID
    image.FrameOfReferenceUID = "1.2.3.4.66"
    image.PatientID, image.PatientName = "NESTED", "Nested^Name"
    image.DeviceSerialNumber = "42"
    private(image, 0x0009, "nested")
    data_set.ReferencedImageSequence = [image]
    return data_set


@pytest.fixture(scope="module")
def instances(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("modification")
    found = {path.stem: path for path in pydicom_files()}
    files = [found[name] for name in NAMES]
    return loaded(servers, [*files, save(telling(), folder / "telling.dcm")])


def elements(data_set: Dataset, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values, also those in sequences, by their places."""
    for element in data_set:
        where = f"{place}{element.tag}"
        if element.VR == "SQ":
            yield where, len(element.value)
            for number, item in enumerate(element.value):
                yield from elements(item, f"{where}[{number}]")
        else:
            yield where, element.value


def both(
    servers: SideBySide, key: str, kind: str, body: dict[str, Any]
) -> tuple[Dataset, Dataset, Dataset]:
    """What is stored, what Hilum and what Orthanc make of it."""
    ours, theirs = servers.both(f"/instances/{key}/{kind}", "POST", body)
    assert (ours.status, theirs.status) == (200, 200), (ours, theirs)
    assert ours.media_type == theirs.media_type
    stored = ask(servers.orthanc.http_url, f"/instances/{key}/file")
    read = [pydicom.dcmread(io.BytesIO(each.body)) for each in (stored, ours, theirs)]
    return read[0], read[1], read[2]


def differences(stored: Dataset, ours: Dataset, theirs: Dataset) -> dict[str, Any]:
    """What is not the same in both, but for values that are new in both."""
    before, mine, wanted = dict(elements(stored)), dict(elements(ours)), dict(elements(theirs))
    found = {}
    for place in mine.keys() | wanted.keys():
        values = mine.get(place), wanted.get(place)
        new = None not in values and before.get(place) not in values and all(values)
        if values[0] != values[1] and not new:
            found[place] = values
    return found


#: Of which all kinds of files are modified.
TRIED: dict[str, Any] = {"Replace": {"PatientName": "A^B", "StudyDescription": "other"}}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        *((name, TRIED) for name in NAMES),
        ("telling", {}),
        *(
            ("telling", body)
            for body in [
                {"Remove": ["StudyDescription", "0008,0070"], "Replace": {"Modality": "OT"}},
                {"RemovePrivateTags": True},
                {"Keep": ["SOPInstanceUID"], "Force": True},
                {"Replace": {"PatientID": "Q"}, "Force": True},
                {"Replace": {"StudyInstanceUID": "1.2.3"}, "Force": True},
                {"Replace": {"SeriesInstanceUID": "1.2.3"}, "Force": True},
                {"Replace": {"PatientName": "Jür^n", "StudyDate": ""}},
                {"Replace": {"ConceptNameCodeSequence": [{"CodeValue": "Z", "CodeMeaning": "z"}]}},
            ]
        ),
    ],
    ids=json.dumps,
)
def test_modified(
    servers: SideBySide, instances: dict[str, str], name: str, body: dict[str, Any]
) -> None:
    stored, ours, theirs = both(servers, instances[name], "modify", body)
    found = differences(stored, ours, theirs)
    if "Jür" in str(body):
        # What the name needs; Orthanc writes what it can in the set there is.
        found = {place: values for place, values in found.items() if place != "(0008,0005)"}
        found.pop("(0010,0010)", None)
        assert str(ours.PatientName) == "Jür^n"
    if "RemovePrivateTags" in body:
        # Orthanc leaves those in sequences.
        found = {place: values for place, values in found.items() if values[0] or "]" not in place}
    assert found == {}
    assert ours.file_meta.MediaStorageSOPInstanceUID == ours.SOPInstanceUID
    for keyword in FORCED:
        kept = theirs[keyword].value == stored[keyword].value
        assert (ours[keyword].value == stored[keyword].value) == kept, keyword
    if "PixelData" in stored:
        assert ours.PixelData == stored.PixelData


@pytest.mark.parametrize("name", [*NAMES, "telling"])
def test_anonymized(servers: SideBySide, instances: dict[str, str], name: str) -> None:
    """By the edition that both know of; Hilum's is stricter in what came since."""
    stored, ours, theirs = both(servers, instances[name], "anonymize", {})
    values = dict(elements(ours))
    for place, (mine, _) in differences(stored, ours, theirs).items():
        last = place.rpartition("]")[2]
        assert not mine or last in {"(0010,0010)", "(0012,0063)"}, place
    # Whatever the one leaves out the other leaves out, or the profile of 2023 does.
    for place, value in elements(theirs):
        assert place in values or place_is_newer(place), (place, value)
    assert ours.PatientIdentityRemoved == "YES"
    assert ours.DeidentificationMethod.endswith("PS 3.15-2023b Table E.1-1 Basic Profile")
    patient = {str(stored.PatientName), *(stored[each].value for each in FORCED)} - {""}
    assert patient.isdisjoint(map(str, values.values()))
    if "PixelData" in stored:
        assert ours.PixelData == stored.PixelData
    if name == "telling":
        image = ours.ReferencedImageSequence[0]
        assert image.StudyInstanceUID == ours.StudyInstanceUID
        assert image.FrameOfReferenceUID == ours.FrameOfReferenceUID
        text = str(ours)
        for told in ("NESTED", "Nested", "nested", "private", "behind", "Here", "described"):
            assert told not in text


def place_is_newer(place: str) -> bool:
    """Whether an element was not in the profile of 2021b, which Debian's Orthanc knows."""
    profile = Path("hilum/imaging/basic_profile.tsv").read_text(encoding="ascii")
    return place.rpartition("]")[2].strip("()").lower() in profile


def test_kept_and_replaced_while_anonymized(servers: SideBySide, instances: dict[str, str]) -> None:
    body = {
        "Keep": ["StudyDescription", "StudyInstanceUID", "0009,0010", "0009,1001"],
        "Replace": {"PatientName": "A^B", "PatientID": "PID", "InstitutionName": "There"},
        "Remove": ["Modality"],
        "KeepPrivateTags": False,
        "Force": True,
    }
    stored, ours, theirs = both(servers, instances["telling"], "anonymize", body)
    found = differences(stored, ours, theirs)
    # Here the nested patient is the one outside, and it is noted who has done this.
    nested = {place for place in found if "]" in place}
    assert {place.rpartition("]")[2] for place in nested} <= {"(0010,0010)", "(0010,0020)"}
    assert found.keys() - nested == {"(0012,0063)"}
    assert ours.ReferencedImageSequence[0].PatientName == "A^B"
    assert (ours.StudyDescription, ours.InstitutionName) == ("described", "There")
    assert ours.StudyInstanceUID == stored.StudyInstanceUID
    assert "Modality" not in ours
    assert "Table" not in ours.DeidentificationMethod


def test_everything_the_profile_is_about_goes(servers: SideBySide, tmp_path: Path) -> None:
    """Every text, date and UID of the dictionary; a comparison with Orthanc 1.10 (2021b)."""
    data_set = ct(1, study="everything", size=8)
    values = {
        **dict.fromkeys(("LO", "LT", "SH", "ST", "UT", "UC", "PN"), "told"),
        **dict.fromkeys(("DA", "DT"), "20010203"),
        "TM": "010203",
        "AS": "042Y",
        "AE": "TOLD",
    }
    there = {element.tag for element in data_set}
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        if keyword and vr in {*values, "UI"} and 8 <= tag >> 16 < 0x7FE0 and tag not in there:
            data_set.add_new(tag, vr, values.get(vr, f"1.2.3.{tag >> 16}.{tag & 0xFFFF}"))
    data_set.add_new(0x60003000, "OW", b"overlay!")
    data_set.add_new(0x60004000, "LT", "told")
    data_set.add_new(0x50003000, "OW", b"curve!")
    [key] = loaded(servers, [save(data_set, tmp_path / "everything.dcm")]).values()
    stored, ours, theirs = both(servers, key, "anonymize", {})
    before = dict(elements(stored)).items()
    left, theirs_left = (dict(before & dict(elements(each)).items()) for each in (ours, theirs))
    assert left
    assert left.keys() <= theirs_left.keys()
    assert not {place for place in left if place.startswith(("(5000", "(6000,30", "(6000,40"))}
    newer = {
        place for place in theirs_left.keys() - left if not place.startswith(("(5000", "(6000"))
    }
    assert all(place_is_newer(place) for place in newer)
    assert {"PatientComments", "OperatorsName"}.isdisjoint(
        keyword_for_tag(element.tag) for element in ours
    )


@pytest.mark.parametrize("kind", ["modify", "anonymize"])
@pytest.mark.parametrize(
    "body",
    [
        *({"Replace": {each: "1.2.3"}} for each in FORCED),
        *({"Keep": [each]} for each in FORCED),
        {"Remove": ["PatientID"]},
        {"Replace": {"Rows": 5}},
        {"Replace": ["x"]},
        [],
    ],
    ids=json.dumps,
)
def test_what_is_refused(
    servers: SideBySide, instances: dict[str, str], kind: str, body: Any
) -> None:
    path = f"/instances/{instances['telling']}/{kind}"
    if kind == "anonymize" and isinstance(body, dict) and "Remove" in body:
        assert ask(servers.hilum.http_url, path, "POST", body).status == 400
        return
    assert servers.refused(path, "POST", body) == 400


def test_what_only_hilum_refuses(servers: SideBySide, instances: dict[str, str]) -> None:
    path = f"/instances/{instances['telling']}/modify"
    for body in (
        {"Replace": {"Nope": "x"}},
        {"Replace": {"0009,1001": "x"}},
        {"Replace": {"ReferencedImageSequence[0].PatientName": "x"}},
        {"Replace": {"TransferSyntaxUID": "1.2.840.10008.1.2"}},
        {"Replace": {"PixelData": "x"}},
        {"Replace": {"SOPInstanceUID": "no uid"}, "Force": True},
        {"Remove": ["SOPInstanceUID"], "Force": True},
    ):
        assert ask(servers.hilum.http_url, path, "POST", body).status == 400
    assert ask(servers.hilum.http_url, "/instances/x/modify", "POST", {}).status == 404
    anonymize = f"/instances/{instances['telling']}/anonymize"
    assert servers.refused(anonymize, "POST", {"DicomVersion": "foo"}) == 400
