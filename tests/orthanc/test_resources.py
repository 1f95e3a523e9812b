"""Resources, lists, what contains what: the same files in both, the same answers."""

from pathlib import Path
from typing import Any

import pytest

from tests.orthanc.corpus import given_files, varied_files, zipped
from tests.orthanc.side_by_side import SideBySide, ask

LEVELS = ("patients", "studies", "series", "instances")
#: Of Orthanc 1.12, which 1.10 does not have.
NEWER = ("Labels",)


@pytest.fixture(scope="module")
def stored(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """Both servers with all the files in them."""
    servers.store([*varied_files(tmp_path_factory.mktemp("files")), *given_files()])
    return servers


def in_order(value: Any) -> Any:
    """Return JSON with its lists sorted: the order of children is not promised."""
    if isinstance(value, dict):
        return {key: in_order(member) for key, member in value.items()}
    if isinstance(value, list):
        return sorted((in_order(item) for item in value), key=repr)
    return value


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
