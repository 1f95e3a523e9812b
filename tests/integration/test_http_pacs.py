"""What front ends that came with an Orthanc ask, and the log of uploads."""

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydicom.dataset import FileDataset

from hilum.core.identifiers import public_id
from hilum.index.database import Database
from hilum.index.sync_state import SyncStates
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_http_auth import basic
from tests.integration.test_http_server import serving

#: Patient ID and accession number of each study.
STUDIES = [("P1", "A1"), ("P1", "A2"), ("P2", "A1"), ("P3", "A3")]


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        files = [encoded(study(number)) for number in range(len(STUDIES))]
        answer = await node.upload(*((f"{n}.dcm", file) for n, file in enumerate(files)))
        assert answer.status == 200
        yield node


def study(number: int) -> FileDataset:
    data_set = ct(number)
    data_set.PatientID, data_set.AccessionNumber = STUDIES[number]
    data_set.StudyInstanceUID = uid(9, number)
    data_set.SeriesInstanceUID = uid(9, number, 1)
    return data_set


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def get(node: HttpNode, path: str, **parameters: str) -> dict[str, Any]:
    answer = await node.client.get(path, params=parameters)
    assert answer.status == 200, await answer.text()
    return dict(await answer.json())


async def test_the_pacs_says_that_it_is_there_and_what_it_holds(node: HttpNode) -> None:
    data = (await get(node, "/api/pacs/test"))["data"]
    assert data["connected"] is True
    assert data["aet"] == "TEST"
    assert (data["patients"], data["studies"], data["instances"]) == (3, 4, 4)
    assert data["bytes"] == sum(path.stat().st_size for path in node.stored)


async def test_its_studies_are_those_of_the_list(node: HttpNode) -> None:
    here = await get(node, "/api/pacs/studies", limit="3")
    listed = await get(node, "/api/dicom/studies", limit="3")
    assert here["total"] == listed["total"] == 4
    assert [{**told, "viewerUrl": ""} for told in here["data"]] == [
        {**told, "viewerUrl": ""} for told in listed["data"]
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"accessionNumber": "A1"}, {0: ["accessionNumber"], 2: ["accessionNumber"]}),
        ({"patientID": "P1"}, {0: ["patientID"], 1: ["patientID"]}),
        (
            {"accessionNumber": "A1", "patientID": "P1"},
            {0: ["accessionNumber", "patientID"], 1: ["patientID"], 2: ["accessionNumber"]},
        ),
        ({"accessionNumber": "A9"}, {}),
        ({}, {0: None, 1: None, 2: None, 3: None}),
    ],
)
async def test_studies_are_matched_by_accession_number_and_patient_id(
    node: HttpNode, asked: dict[str, str], expected: dict[int, list[str] | None]
) -> None:
    body = await get(node, "/api/pacs/unified-studies", **asked)
    assert body["total"] == len(expected)
    found = {told["studyInstanceUID"]: told.get("matchedBy") for told in body["data"]}
    assert found == {uid(9, number): names for number, names in expected.items()}
    if len(asked) == 2:  # what fits best comes first
        assert body["data"][0]["studyInstanceUID"] == uid(9, 0)


async def test_a_viewer_is_found_by_uid_and_by_orthancs_id(node: HttpNode, tmp_path: Path) -> None:
    study_uid = uid(9, 3)
    for named in (study_uid, public_id("P3", study_uid)):
        data = (await get(node, f"/api/dicom/viewer-url/{named}"))["data"]
        assert data == {
            "studyInstanceUID": study_uid,
            "url": f"http://127.0.0.1:{node.port}/#/studies/{study_uid}",
            "viewer": "hilum",
        }
    (tmp_path / "index.html").write_text("<html></html>")
    async with serving(node, ohif_folder=tmp_path) as client:
        answer = await client.get(
            f"/api/dicom/viewer-url/{study_uid}", headers={"X-Forwarded-Host": "pacs.example"}
        )
        assert (await answer.json())["data"]["url"] == (
            f"http://pacs.example/ohif/viewer?StudyInstanceUIDs={study_uid}"
        )


@pytest.mark.parametrize("named", [uid(9, 99), public_id("P9", uid(9, 3))])
async def test_of_an_unknown_study_there_is_no_viewer(node: HttpNode, named: str) -> None:
    assert (await node.client.get(f"/api/dicom/viewer-url/{named}")).status == 404


async def test_uploads_are_written_down(node: HttpNode) -> None:
    (first,) = (await get(node, "/api/uploads"))["data"]
    assert first["files"] == 4
    assert first["bytes"] == sum(path.stat().st_size for path in node.stored)
    assert first["outcomes"] == {"stored": 4}
    assert first["kind"] == "upload"
    assert first["client"] == "127.0.0.1"
    assert first["user"] is None
    assert sorted(first["studyInstanceUIDs"]) == sorted(uid(9, n) for n in range(4))

    await node.upload(("again.dcm", encoded(study(0))), ("SMITH^ANNA.txt", b"no DICOM"))
    second, same = (await get(node, "/api/uploads"))["data"]
    assert same == first
    assert second["outcomes"] == {"already-stored": 1, "not-dicom": 1}
    assert "SMITH" not in str(second)
    older = await get(node, "/api/uploads", before=second["id"], limit="10")
    assert older["data"] == [first]


async def test_the_log_of_uploads_has_the_user_and_the_interface(node: HttpNode) -> None:
    async with serving(node, users={"backend": "s3cret"}) as client:
        with aiohttp.MultipartWriter("related") as body:
            body.append(encoded(study(1)), {"Content-Type": "application/dicom"})
        body.headers["Content-Type"] = (
            f'multipart/related; type="application/dicom"; boundary={body.boundary}'
        )
        headers = basic("backend", "s3cret")
        stored = await client.post("/dicom-web/studies", data=body, headers=headers)
        assert stored.status == 200, await stored.text()
        newest = (await (await client.get("/api/uploads", headers=headers)).json())["data"][0]
        assert (newest["kind"], newest["user"], newest["files"]) == ("stow", "backend", 1)


async def test_a_wrong_place_in_the_log_is_named(node: HttpNode) -> None:
    answer = await node.client.get("/api/uploads", params={"before": "yesterday"})
    assert answer.status == 400


async def sync_status(node: HttpNode) -> dict[str, Any]:
    return dict((await get(node, "/api/orthanc/sync-status"))["data"])


async def test_sync_brings_what_is_stored_into_an_index_that_has_lost_it(
    node: HttpNode, database: Database
) -> None:
    assert (await sync_status(node))["state"] == "never"
    for collection in ("studies", "series", "instances"):
        await database.raw[collection].delete_many({})
    assert (await get(node, "/api/dicom/studies"))["total"] == 0
    answer = await node.client.post("/api/orthanc/sync-all")
    assert answer.status == 200
    while (status := await sync_status(node))["inProgress"]:
        pass  # the test's own time limit ends this
    assert status["state"] == "done", status
    assert (status["done"], status["total"], status["indexed"], status["failures"]) == (4, 4, 4, 0)
    listed = await get(node, "/api/dicom/studies")
    found = {told["studyInstanceUID"] for told in listed["data"]}
    assert found == {uid(9, n) for n in range(4)}


async def test_one_sync_runs_at_a_time_and_a_dead_one_holds_up_none(
    node: HttpNode, database: Database
) -> None:
    states = SyncStates(database)
    assert await states.begin()
    answer = await node.client.post("/api/orthanc/sync-all")
    assert "already" in (await answer.json())["message"]
    assert (await sync_status(node))["inProgress"] is True
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    await database.raw["meta"].update_one({"_id": "sync"}, {"$set": {"seen_at": long_ago}})
    assert (await sync_status(node))["state"] == "interrupted"
    assert await states.begin()
