"""``/changes`` beside Orthanc's: the same sequence of the same changes, read in every manner."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import FileDataset

from tests.generated import ct, uid
from tests.nodes import running, wait_until
from tests.orthanc.side_by_side import SideBySide, ask
from tests.orthancs import running_orthanc

STABLE = ["StableSeries", "StableStudy", "StablePatient"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    """Both servers, with whom things are stable after a moment.

    One that is longer than it takes to send what belongs together, on a busy machine too.
    """
    folder = tmp_path_factory.mktemp("servers")
    with (
        running(folder / "hilum", HILUM_EVENTS_STABLE_AFTER_SECONDS="2") as hilum,
        running_orthanc(folder / "orthanc", StableAge=2) as orthanc,
    ):
        yield SideBySide(hilum, orthanc)


def send(servers: SideBySide, data_set: FileDataset) -> None:
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    ours, theirs = servers.both("/instances", "POST", file.getvalue())
    assert ours.status == theirs.status == 200
    assert ours.json["Status"] == theirs.json["Status"]


def types(url: str, since: int = 0) -> list[str]:
    changes = ask(url, f"/changes?since={since}&limit=1000").json["Changes"]
    return [change["ChangeType"] for change in changes]


def until_stable(servers: SideBySide, studies: int, since: int = 0) -> None:
    for url in (servers.hilum.http_url, servers.orthanc.http_url):
        wait_until(lambda u=url: types(u, since).count("StableStudy") == studies, 30, "stable")
        wait_until(lambda u=url: types(u, since)[-3:] == STABLE, 30, "all of it is stable")


def same(servers: SideBySide, path: str) -> Any:
    return servers.same(path, differs=("Date",))


def test_both_tell_the_same_from_the_first_instance_to_an_empty_log(servers: SideBySide) -> None:
    assert same(servers, "/changes") == {"Changes": [], "Done": True, "Last": 0}
    same(servers, "/changes?last")
    send(servers, ct(1))
    send(servers, ct(2))
    send(servers, ct(3, series=2))
    until_stable(servers, 1)
    told = same(servers, "/changes")
    assert [each["Seq"] for each in told["Changes"]] == list(range(1, 12))
    assert [each["ChangeType"] for each in told["Changes"]][:5] == [
        *("NewInstance", "NewSeries", "NewStudy", "NewPatient"),
        "NewInstance",
    ]
    for query in (
        *("since=0&limit=1", "since=3", "since=5&limit=2", "limit=3", "since=9&limit=1"),
        *(
            "since=10",
            "since=11",
            "since=999",
            "last",
            "last&since=2&limit=1",
            "limit=0",
            "limit=-1",
        ),
        *("since=", "since=x", "since=-1", "limit=x", "limit=5000000000"),
    ):
        same(servers, f"/changes?{query}")

    last = same(servers, "/changes?last")["Last"]
    send(servers, ct(1))  # once more: nobody is told
    same(servers, f"/changes?since={last}")
    send(servers, ct(4))  # what was stable is not, and is again
    until_stable(servers, 1, since=last)
    later = same(servers, f"/changes?since={last}")["Changes"]
    assert [each["ChangeType"] for each in later] == ["NewInstance", *STABLE]

    instance = later[0]["ID"]
    assert ask(servers.orthanc.http_url, f"/instances/{instance}", "DELETE").status == 200
    path = f"/dicom-web/studies/{uid(1)}/series/{uid(1, 1)}/instances/{uid(1, 1, 4)}"
    assert ask(servers.hilum.http_url, path, "DELETE").status in {200, 204}
    wait_until(
        lambda: len(types(servers.hilum.http_url, last)) == len(STABLE), 10, "what was deleted"
    )
    servers.same(f"/changes?since={last}", differs=("Date", "Last"))

    ours, theirs = servers.both("/changes", "DELETE")
    assert (ours.status, ours.body, ours.media_type) == (200, b"", theirs.media_type)
    assert (theirs.status, theirs.body) == (200, b"")
    for path in ("/changes", "/changes?last", "/changes?since=3"):
        servers.same(path, differs=("Last",))
    before = ask(servers.hilum.http_url, "/changes").json["Last"]
    send(servers, ct(1, study=2))
    wait_until(lambda: len(types(servers.hilum.http_url)) >= 4, 10, "what comes after")
    change = ask(servers.hilum.http_url, "/changes?limit=1").json["Changes"][0]
    assert change["Seq"] > before
    study = ask(servers.orthanc.http_url, f"/instances/{change['ID']}/study").json
    assert study["MainDicomTags"]["StudyInstanceUID"] == uid(2)
    assert servers.refused("/changes", "POST", b"x") == 405
    assert servers.refused("/changes", "PUT", b"x") == 405


def test_the_log_goes_on_where_it_was_after_a_restart(servers: SideBySide) -> None:
    url = servers.hilum.http_url
    until_stable(servers, 1, since=0)
    before = ask(url, "/changes?limit=1000").json
    # Quiet while the node is down.
    send(servers, ct(1, study=3))
    servers.hilum.stop()
    servers.hilum.start()
    after = ask(url, "/changes?limit=1000").json
    assert after["Changes"][: len(before["Changes"])] == before["Changes"]
    wait_until(lambda: types(url, before["Last"])[-3:] == STABLE, 30, "stable after the restart")
    assert types(url, before["Last"])[0] == "NewInstance"
