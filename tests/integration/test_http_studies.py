"""The list of studies and one study whole, held against dcmdump."""

import asyncio
import io
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset

from hilum.core.identifiers import public_id
from hilum.index.database import Database
from tests import corpus, dcmtk
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

#: Files that dcmdump cannot read, shows as bytes (VR UN), or has UIDs of references in.
BEYOND_DCMDUMP = ("J2K_pixelrep_mismatch", "SC_rgb_jpeg.", "rtdose_rle", "liver_")


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def get(node: HttpNode, path: str, **parameters: str) -> dict[str, Any]:
    answer = await node.client.get(path, params=parameters)
    assert answer.status == 200, await answer.text()
    body = await answer.json()
    assert body["success"] is True
    return dict(body)


async def found(node: HttpNode, **parameters: str) -> list[str]:
    """Return the Patient IDs of the list, in its order."""
    body = await get(node, "/api/dicom/studies", **parameters)
    return [study["patientID"] for study in body["data"]]


async def test_studies_tell_what_dcmdump_reads_in_their_files(node: HttpNode) -> None:
    files = [
        path
        for path in corpus.pydicom_files()
        if path.stat().st_size < 500_000 and not path.name.startswith(BEYOND_DCMDUMP)
    ]
    answer = await node.upload(*((str(n), path.read_bytes()) for n, path in enumerate(files)))
    uploaded = (await answer.json())["files"]
    stored = [files[int(file["name"])] for file in uploaded if file["success"]]
    assert len(stored) > 40
    keys = {
        "PatientName": "patientName",
        "PatientBirthDate": "patientBirthDate",
        "StudyDate": "studyDate",
        "StudyTime": "studyTime",
        "StudyDescription": "studyDescription",
        "AccessionNumber": "accessionNumber",
        "ReferringPhysicianName": "referringPhysicianName",
    }
    identifying = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    dumps = [dcmtk.dump(path, *identifying, *keys, "Modality") for path in stored]
    said: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    instances: dict[str, set[str]] = defaultdict(set)
    for values in dumps:
        ids = [values.get(key, "") for key in identifying]
        study = public_id(*ids[:2])
        instances[study].add(public_id(*ids))
        said[study]["series"].add(public_id(*ids[:3]))
        for key in (*keys, "Modality"):
            said[study][key].add(values.get(key, ""))
    listed = (await get(node, "/api/dicom/studies", limit="1000"))["data"]
    assert {study["orthancStudyId"] for study in listed} == said.keys()
    for study in listed:
        expected = said[study["orthancStudyId"]]
        assert study["instanceCount"] == len(instances[study["orthancStudyId"]])
        assert study["seriesCount"] == len(expected["series"])
        assert set(study["modalities"]) == expected["Modality"] - {""}
        for key, name in keys.items():
            if len(expected[key]) == 1:  # else the file that came last decides
                # dcmdump shows all groups of a name, the list the first.
                assert study[name] == expected[key].pop().split("=")[0], (key, study)


async def test_newest_first_in_pages_with_a_total(node: HttpNode) -> None:
    before = datetime.now(UTC)
    for number in range(5):
        await node.upload(("a", encoded(ct(study=number, StudyDate=f"2026010{number + 1}"))))
    assert await found(node) == [f"TEST-{number}" for number in (4, 3, 2, 1, 0)]
    body = await get(node, "/api/dicom/studies", limit="2", offset="3")
    assert [study["patientID"] for study in body["data"]] == ["TEST-1", "TEST-0"]
    assert (body["total"], body["limit"], body["offset"]) == (5, 2, 3)
    received = datetime.fromisoformat(body["data"][0]["receivedAt"])
    # The index keeps milliseconds.
    assert before.replace(microsecond=0) <= received <= datetime.now(UTC)


async def test_filters_find_what_they_name(node: HttpNode) -> None:
    files = [
        ct(study=1, PatientName="Müller^Jürgen", StudyDate="20240110", StudyDescription="Knee l"),
        ct(study=2, PatientName="Иванов^Пётр", StudyDate="20240131", Modality="MR"),
        ct(study=3, PatientName="Yamada^Tarou=山田^太郎", StudyDate="20240201"),
    ]
    await node.upload(*((str(n), encoded(file)) for n, file in enumerate(files)))
    assert await found(node, patientName="jurg mul") == ["TEST-1"]
    assert await found(node, patientName="Иван") == ["TEST-2"]
    assert await found(node, patientName="山田") == ["TEST-3"]
    assert await found(node, patientID="TEST-?", modality="MR") == ["TEST-2"]
    assert await found(node, studyDate="20240101-20240131") == ["TEST-2", "TEST-1"]
    assert await found(node, studyDate="20240201-") == ["TEST-3"]
    assert await found(node, accessionNumber="A3") == ["TEST-3"]
    assert await found(node, search="knee") == ["TEST-1"]
    assert await found(node, search="test-2") == ["TEST-2"]
    assert await found(node, search="nothing of the kind") == []
    body = await get(node, "/api/dicom/studies", modality="CT", limit="1")
    assert (body["total"], len(body["data"])) == (2, 1)


async def test_one_study_has_its_series_and_instances_in_order(node: HttpNode) -> None:
    series_of = {"a": 2, "b": 10, "c": 1}
    files = [
        ct(number, series=name, SeriesNumber=series_number, SeriesInstanceUID=uid(name))
        for name, series_number in series_of.items()
        for number in (10, 9, 1)
    ]
    moving = ct(5, series="a", SeriesNumber=2, SeriesInstanceUID=uid("a"), NumberOfFrames=3)
    moving.PixelData = 3 * moving.PixelData
    moving.FrameTime = "33.3"
    moving.WindowCenter, moving.WindowWidth = ["40", "-600"], ["400", "1500", "1"]
    moving.ImageOrientationPatient = ["1", "0", "0", "0", "0.8", "-0.6"]
    report = ct(2, series="a", SeriesNumber=2, SeriesInstanceUID=uid("a"))
    del report.PixelData, report.Rows, report.WindowCenter
    await node.upload(*((str(n), encoded(file)) for n, file in enumerate([*files, moving, report])))
    study = (await get(node, f"/api/dicom/studies/{uid(1)}"))["data"]
    assert (study["seriesCount"], study["instanceCount"], study["frameCount"]) == (3, 11, 12)
    assert [series["seriesNumber"] for series in study["series"]] == [1, 2, 10]
    assert [series["firstFrame"] for series in study["series"]] == [0, 3, 9]
    middle = study["series"][1]
    assert (middle["instanceCount"], middle["frameCount"]) == (5, 6)
    told = [
        (instance["instanceNumber"], instance["frameCount"], instance["firstFrame"])
        for instance in middle["instances"]
    ]
    assert told == [(1, 1, 3), (2, 0, None), (5, 3, 4), (9, 1, 7), (10, 1, 8)]
    assert middle["instances"][2] == {
        "sopInstanceUID": uid(1, "a", 5),
        "sopClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "instanceNumber": 5,
        "frameCount": 3,
        "firstFrame": 4,
        "rows": 64,
        "columns": 64,
        "photometricInterpretation": "MONOCHROME2",
        "windowCenter": 40,
        "windowWidth": 400,
        "windows": [{"center": 40, "width": 400}, {"center": -600, "width": 1500}],
        "imageOrientationPatient": [1, 0, 0, 0, 0.8, -0.6],
        "frameTime": 33.3,
        "transferSyntaxUID": "1.2.840.10008.1.2.1",
        "orthancInstanceId": public_id("TEST-1", uid(1), uid("a"), uid(1, "a", 5)),
    }
    bare = middle["instances"][1]
    assert (bare["rows"], bare["columns"], bare["windowCenter"]) == (None, 64, None)
    assert (bare["windows"], bare["imageOrientationPatient"]) == ([], [])


async def test_first_frames_are_where_the_frames_are(node: HttpNode) -> None:
    files = [path for path in corpus.pydicom_files() if path.stat().st_size < 200_000]
    await node.upload(*((str(n), path.read_bytes()) for n, path in enumerate(files)))
    studies = (await get(node, "/api/dicom/studies", limit="1000"))["data"]
    uids = Counter(study["studyInstanceUID"] for study in studies)
    checked = 0
    for study_uid in [study_uid for study_uid, count in uids.items() if count == 1]:
        study = (await get(node, f"/api/dicom/studies/{study_uid}"))["data"]
        instances = [one for series in study["series"] for one in series["instances"]]
        assert sum(one["frameCount"] for one in instances) == study["frameCount"]
        layout = await node.catalogue.study_frames(study_uid)
        for one in instances:
            if one["frameCount"]:
                instance, frame_index = layout.frame_at(one["firstFrame"])
                assert instance.identity.sop_instance_uid == one["sopInstanceUID"]
                assert frame_index == 0
                checked += 1
    assert checked > 20


async def test_unknown_and_impossible_studies(node: HttpNode) -> None:
    for path, status, code in (
        ("1.2.3", 404, "not-found"),
        ("..%2F..%2Fetc", 400, "invalid"),
        ("9" * 65, 400, "invalid"),
    ):
        answer = await node.client.get(f"/api/dicom/studies/{path}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_a_list_while_studies_arrive_is_whole(node: HttpNode) -> None:
    async def send() -> None:
        for number in range(20):
            await node.upload(("a", encoded(ct(study=number))))

    sending = asyncio.create_task(send())
    seen = 0
    while not sending.done():
        listed = await found(node)
        assert len(listed) == len(set(listed)) >= seen
        seen = len(listed)
    await sending
    assert len(await found(node)) == 20
