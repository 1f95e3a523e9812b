"""Resources, lists, what contains what: the same files in both, the same answers."""

import gzip
from pathlib import Path

import pytest

from tests.generated import ct_files, uid
from tests.orthanc.corpus import given_files, zipped
from tests.orthanc.side_by_side import NEWER, SideBySide, ask, in_order

#: A private element that pydicom knows and DCMTK does not (docs/orthanc.md).
UNNAMED = ("2005,1406", "Unknown", "Unknown Tag & Data")
LEVELS = ("patients", "studies", "series", "instances")


@pytest.mark.parametrize("level", LEVELS)
def test_lists(stored: SideBySide, level: str) -> None:
    assert stored.same(f"/{level}", key=sorted)
    stored.same(f"/{level}?expand", differs=NEWER, key=in_order)
    stored.same(f"/{level}?expand&full", differs=NEWER, key=in_order)
    stored.same(f"/{level}?expand&short", differs=NEWER, key=in_order)
    stored.same(f"/{level}?since=100000&limit=5")
    stored.same(f"/{level}?since=0&limit=0")
    assert stored.refused(f"/{level}?since=x&limit=2") == 400


@pytest.mark.parametrize("level", LEVELS)
def test_pages_make_up_the_list(stored: SideBySide, level: str) -> None:
    whole = ask(stored.hilum.http_url, f"/{level}").json
    pages: list[str] = []
    while page := ask(stored.hilum.http_url, f"/{level}?since={len(pages)}&limit=7").json:
        assert len(page) <= 7
        pages += page
    assert pages == whole


@pytest.mark.parametrize("level", LEVELS)
def test_one_resource_and_its_statistics(stored: SideBySide, level: str) -> None:
    for key in stored.ids(level)[::5]:
        stored.same(f"/{level}/{key}", differs=NEWER, key=in_order)
        stored.same(f"/{level}/{key}?short", differs=NEWER, key=in_order)
        stored.same(f"/{level}/{key}/statistics")


@pytest.mark.parametrize(
    ("level", "below"),
    [(a, b) for a in LEVELS for b in LEVELS if LEVELS.index(a) < LEVELS.index(b)],
)
def test_what_a_resource_contains(stored: SideBySide, level: str, below: str) -> None:
    for key in stored.ids(level)[::9]:
        answer = stored.same(f"/{level}/{key}/{below}", differs=NEWER, key=in_order)
        listed = ask(stored.hilum.http_url, f"/{level}/{key}/{below}?expand=false").json
        assert [each["ID"] for each in answer] == listed


@pytest.mark.parametrize(
    ("level", "above"),
    [
        ("studies", "patient"),
        ("series", "patient"),
        ("series", "study"),
        ("instances", "patient"),
        ("instances", "study"),
        ("instances", "series"),
    ],
)
def test_what_contains_a_resource(stored: SideBySide, level: str, above: str) -> None:
    for key in stored.ids(level)[::9]:
        stored.same(f"/{level}/{key}/{above}", differs=NEWER, key=in_order)


@pytest.mark.parametrize("level", LEVELS)
def test_modules(stored: SideBySide, level: str) -> None:
    study = ask(stored.orthanc.http_url, "/tools/lookup", "POST", uid("full")).json[0]["ID"]
    [instance] = ask(stored.orthanc.http_url, f"/studies/{study}/instances").json
    full = {
        "patients": ask(stored.orthanc.http_url, f"/studies/{study}").json["ParentPatient"],
        "studies": study,
        "series": instance["ParentSeries"],
        "instances": instance["ID"],
    }
    for key in (full[level], *stored.ids(level)[::20]):
        for form in ("", "?simplify", "?short"):
            stored.same(f"/{level}/{key}/module{form}", differs=UNNAMED)
            if level == "studies":
                stored.same(f"/{level}/{key}/module-patient{form}")
    assert stored.refused(f"/{level}/x/module") == 404


def test_statistics_of_all(stored: SideBySide) -> None:
    stored.same("/statistics")


@pytest.mark.parametrize(
    "path",
    ["/patients/x", "/studies/x/series", "/instances/x/study", "/series/x/studies", "/studies/x/y"],
)
def test_what_is_not_there(stored: SideBySide, path: str) -> None:
    assert stored.refused(path) == 404


def test_a_slash_at_the_end_means_nothing(stored: SideBySide) -> None:
    assert stored.same("/studies/", key=sorted) == stored.same("/studies", key=sorted)
    key = stored.ids("studies")[0]
    stored.same(f"/studies/{key}/series/?short", differs=NEWER, key=in_order)


def test_slashes_in_a_row_are_one(stored: SideBySide) -> None:
    """As of a base that ends with one, and a path that begins with one."""
    assert stored.same("//studies", key=sorted) == stored.same("/studies", key=sorted)
    key = stored.ids("studies")[0]
    stored.same(f"//studies//{key}/series?short", differs=NEWER, key=in_order)


def test_what_is_stored_again_is_known(stored: SideBySide) -> None:
    files = given_files()[:3]
    for path in files:
        answer = stored.same("/instances", "POST", path.read_bytes())
        assert answer["Status"] == "AlreadyStored"
    answers = stored.same("/instances", "POST", zipped([*files, Path(__file__)]))
    assert [each["Status"] for each in answers] == ["AlreadyStored"] * 3


@pytest.mark.parametrize("body", [b"", b"hello", b"GIF89a" + b"\1" * 999])
def test_what_is_no_dicom_is_refused(stored: SideBySide, body: bytes) -> None:
    assert stored.refused("/instances", "POST", body) == 400


def test_what_is_compressed_as_a_whole_is_unpacked(stored: SideBySide, tmp_path: Path) -> None:
    [path] = ct_files(tmp_path, 1, study="gzip", size=64)
    packed = gzip.compress(path.read_bytes())
    for body, coding in ((packed[:-9], "gzip"), (packed, "deflate")):
        ours, theirs = stored.both("/instances", "POST", body, content_encoding=coding)
        # Orthanc takes what it does not know as it is, and finds no DICOM in it.
        assert theirs.status == 400
        assert ours.status == (400 if coding == "gzip" else 415)
    for coding in ("gzip", "GZip"):
        ours, theirs = stored.both("/instances", "POST", packed, content_encoding=coding)
        assert (ours.status, ours.json) == (theirs.status, theirs.json) == (200, theirs.json)
    key = ours.json["ID"]
    assert stored.same(f"/instances/{key}/file") == path.read_bytes()
    # Other requests are not unpacked.
    query = gzip.compress(b'{"Level": "Study", "Query": {}}')
    ours, theirs = stored.both("/tools/find", "POST", query, content_encoding="gzip")
    assert ours.status == theirs.status == 400
