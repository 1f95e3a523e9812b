"""Webhooks in Orthanc's forms: a receiver cannot tell which server posts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import dcmtk
from tests.generated import ct, save
from tests.nodes import RunningNode, running, wait_until
from tests.orthanc.side_by_side import ask
from tests.orthancs import RunningOrthanc, running_orthanc
from tests.receivers import Receiver, Reply, receiving

#: What the usual script posts: all that the callbacks are given.
SCRIPT = """
function post(body)
  HttpPost("URL", DumpJson(body, true), {["Content-Type"] = "application/json"})
end
function OnStoredInstance(instanceId, tags, metadata, origin)
  post({instanceId=instanceId, tags=tags, metadata=metadata, origin=origin})
end
function OnStableStudy(studyId, tags, metadata)
  post({studyId=studyId, tags=tags, metadata=metadata})
end
"""
#: Moments; and where the pixels are in a file that Orthanc writes anew, which nobody asks of us.
DIFFERS = {"ReceptionDate", "LastUpdate", "PixelDataOffset"}


@dataclass
class Both:
    hilum: RunningNode
    orthanc: RunningOrthanc
    ours: Receiver
    theirs: Receiver


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("webhooks")
    with receiving() as ours, receiving() as theirs:
        theirs.behaviour = lambda _posted: Reply(200)  # Orthanc takes 204 for a failure
        script = folder / "hook.lua"
        script.write_text(SCRIPT.replace("URL", theirs.url))
        webhooks = {
            "instances": {"url": ours.url, "format": "orthanc-instance"},
            "studies": {"url": ours.url, "format": "orthanc-stable-study"},
        }
        settings = {
            "HILUM_EVENTS_WEBHOOKS": json.dumps(webhooks),
            "HILUM_EVENTS_STABLE_AFTER_SECONDS": "1",
        }
        with (
            running(folder / "hilum", **settings) as hilum,
            running_orthanc(folder / "orthanc", LuaScripts=[str(script)]) as orthanc,
        ):
            orthanc.aet = hilum.aet
            yield Both(hilum, orthanc, ours, theirs)


def posted(receiver: Receiver, key: str) -> dict[str, Any]:
    """What was posted, by the id under `key`."""
    return {each.json[key]: each.json for each in receiver.taken if key in each.json}


def has_posted(receiver: Receiver, key: str, count: int) -> bool:
    return len(posted(receiver, key)) == count


def compared(told: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in told["metadata"].items() if k not in DIFFERS}
    kept = {k: told[k] for k in ("instanceId", "studyId", "tags") if k in told}
    return {**kept, "origin": told.get("origin"), "metadata": metadata}


def test_what_is_posted_is_what_a_script_of_orthanc_posts(both: Both, tmp_path: Path) -> None:
    varied = ct(
        3,
        study="sent",
        OperatorsName="Müller^Jörg",
        ImageComments="x" * 300,
        ImagePositionPatient=["1.50", "2e3", "-0"],
        ReferencedStudySequence=[],
        PatientComments="",
    )
    sent = [save(ct(number, study="sent"), tmp_path / f"{number}.dcm") for number in (1, 2)]
    sent.append(save(varied, tmp_path / "varied.dcm"))
    uploaded = save(ct(1, study="uploaded"), tmp_path / "uploaded.dcm")
    orthanc = ("-aec", both.hilum.aet, "127.0.0.1", str(both.orthanc.dicom_port))
    for peer in (both.hilum.peer, orthanc):
        assert dcmtk.storescu(("-aet", "MODALITY", *peer), *sent).acknowledged == sent
    for url in (both.hilum.http_url, both.orthanc.http_url):
        assert ask(url, "/instances", "POST", uploaded.read_bytes()).status == 200

    for receiver in (both.theirs, both.ours):
        wait_until(partial(has_posted, receiver, "instanceId", 4), 60, "all instances")
    ours, theirs = posted(both.ours, "instanceId"), posted(both.theirs, "instanceId")
    assert ours.keys() == theirs.keys()
    for each, told in theirs.items():
        assert compared(ours[each]) == compared(told)


def test_the_resource_is_told_beside_it(both: Both, tmp_path: Path) -> None:
    file = save(ct(1, study="beside"), tmp_path / "beside.dcm")
    stored = ask(both.hilum.http_url, "/instances", "POST", file.read_bytes()).json
    wait_until(lambda: stored["ID"] in posted(both.ours, "instanceId"), 30)
    told = posted(both.ours, "instanceId")[stored["ID"]]
    of_instance = ask(both.hilum.http_url, f"/instances/{stored['ID']}").json
    assert {name: told[name] for name in of_instance} == of_instance
    for name in ("ParentSeries", "ParentStudy", "ParentPatient"):
        assert told[name] == stored[name]


def test_a_stable_study_is_posted_as_a_script_of_orthanc_posts_it(
    both: Both, tmp_path: Path
) -> None:
    data_set = ct(1, study="stable", StudyID="", InstitutionName="Ärztehaus", StudyTime="0304")
    file = save(data_set, tmp_path / "stable.dcm")
    for url in (both.hilum.http_url, both.orthanc.http_url):
        stored = ask(url, "/instances", "POST", file.read_bytes()).json
    study = stored["ParentStudy"]
    for receiver in (both.theirs, both.ours):
        wait_until(partial(told_of, receiver, study), 60, "it is stable")
    ours, theirs = (posted(each, "studyId")[study] for each in (both.ours, both.theirs))
    assert compared(ours) == compared(theirs)
    of_study = ask(both.hilum.http_url, f"/studies/{study}").json
    assert {name: ours[name] for name in of_study} == of_study


def told_of(receiver: Receiver, study: str) -> bool:
    return study in posted(receiver, "studyId")
