"""WADO-RS metadata and bulk data, asked for by clients that know nothing of how they are made."""

import asyncio
import gzip
import io
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from hilum.http.dicomweb import metadata as resources
from hilum.index.database import Database
from hilum.services import metadata as services
from hilum.services.foresight import Foresight
from tests import corpus
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

T = TypeVar("T")
STUDY = f"/dicom-web/studies/{uid(1)}"
SERIES = f"{STUDY}/series/{uid(1, 1)}"
INSTANCE = f"{SERIES}/instances/{uid(1, 1, 1)}"
DICOM_JSON = "application/dicom+json"


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def store(node: HttpNode, *files: bytes) -> None:
    answer = await node.upload(*((f"{n}.dcm", content) for n, content in enumerate(files)))
    body = await answer.json()
    assert all(file["success"] for file in body["files"]), body


async def called(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a client that blocks."""
    return await asyncio.to_thread(function, *arguments, **named)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a file tells nobody that it is there
            await asyncio.sleep(0.01)


def dicomweb_client(node: HttpNode) -> DICOMwebClient:
    return DICOMwebClient(f"http://127.0.0.1:{node.port}/dicom-web")


def with_port(node: HttpNode, address: str) -> str:
    """Return an address as this client can follow it: it leaves the port out of its Host."""
    return address.replace("127.0.0.1/", f"127.0.0.1:{node.port}/")


async def read(node: HttpNode, path: str, **headers: str) -> list[dict[str, Any]]:
    answer = await node.client.get(f"{path}/metadata", headers=headers)
    assert answer.status == 200, await answer.text()
    assert answer.content_type == DICOM_JSON
    found: list[dict[str, Any]] = await answer.json(content_type=None)
    return found


def uids(data_sets: list[dict[str, Any]]) -> list[str]:
    return [each["00080018"]["Value"][0] for each in data_sets]


async def test_dicomweb_client_gets_the_data_sets_that_were_stored(node: HttpNode) -> None:
    files = [ct(number, series=series) for series in (1, 2) for number in (1, 2)]
    await store(node, *map(encoded, files))
    client = dicomweb_client(node)
    study = await called(client.retrieve_study_metadata, uid(1))
    series = await called(client.retrieve_series_metadata, uid(1), uid(1, 2))
    one = await called(client.retrieve_instance_metadata, uid(1), uid(1, 2), uid(1, 2, 1))
    assert len(study) == 4
    assert uids(series) == [uid(1, 2, 1), uid(1, 2, 2)]
    assert one == series[0]
    by_uid = {each.SOPInstanceUID: each for each in files}
    for found in study:
        data_set = Dataset.from_json(found, lambda address: b"")
        expected = by_uid[data_set.SOPInstanceUID]
        for element in expected:
            if element.keyword != "PixelData":
                assert data_set[element.tag] == element
        pixels = await called(
            client.retrieve_bulkdata, with_port(node, found["7FE00010"]["BulkDataURI"])
        )
        assert pixels == [expected.PixelData]


async def test_instances_come_in_reading_order(node: HttpNode) -> None:
    files = [ct(n, series=s, SeriesNumber=s) for s in (2, 1) for n in (3, 1, 2)]
    await store(node, *map(encoded, files))
    found = await read(node, STUDY)
    numbers = [(d["00200011"]["Value"][0], d["00200013"]["Value"][0]) for d in found]
    assert numbers == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


async def test_what_viewers_read_is_there_and_numbers_are_numbers(node: HttpNode) -> None:
    """The attributes that OHIF and Cornerstone make their modules of."""
    values = {
        "ImagePositionPatient": [1.5, -2, 3],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.5],
        "SliceThickness": 1.25,
        "FrameOfReferenceUID": uid("frame"),
        "AcquisitionNumber": 3,
        "PixelPaddingValue": 0,
        "SmallestImagePixelValue": 7,
    }
    await store(node, encoded(ct(**values)))
    (found,) = await read(node, INSTANCE)
    by_keyword = {pydicom.datadict.keyword_for_tag(tag): e for tag, e in found.items()}
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "InstanceNumber"):
        assert isinstance(by_keyword[keyword]["Value"][0], int)
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        assert isinstance(by_keyword[keyword]["Value"][0], int | float)
    for keyword, value in values.items():
        expected = value if isinstance(value, list) else [value]
        assert by_keyword[keyword]["Value"] == expected
    for keyword in ("SOPClassUID", "Modality", "PhotometricInterpretation", "PatientName"):
        assert by_keyword[keyword]["Value"]
    assert by_keyword["AvailableTransferSyntaxUID"]["Value"] == ["1.2.840.10008.1.2.1"]


async def test_addresses_are_those_of_the_client(node: HttpNode) -> None:
    await store(node, encoded(ct()))
    outside = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example.org"}
    (found,) = await read(node, INSTANCE, **outside)
    expected = f"https://pacs.example.org{INSTANCE}/bulkdata/7FE00010"
    assert found["7FE00010"]["BulkDataURI"] == expected
    (found,) = await read(node, INSTANCE)
    assert found["7FE00010"]["BulkDataURI"].startswith(f"http://127.0.0.1:{node.port}/")


async def test_an_answer_that_is_known_is_not_sent_again(node: HttpNode) -> None:
    await store(node, *(encoded(ct(n)) for n in (1, 2)))
    etags = set()
    for headers in ({}, {"Accept-Encoding": "identity"}, {"X-Forwarded-Host": "elsewhere"}):
        answer = await node.client.get(f"{STUDY}/metadata", headers=headers)
        etag = answer.headers["ETag"]
        assert not etag.startswith("W/")
        etags.add(etag)
        again = await node.client.get(
            f"{STUDY}/metadata", headers={**headers, "If-None-Match": etag}
        )
        assert again.status == 304
        assert again.headers["ETag"] == etag
    assert len(etags) == 3
    await store(node, encoded(ct(3)))
    answer = await node.client.get(f"{STUDY}/metadata")
    assert answer.headers["ETag"] not in etags
    assert len(await answer.json(content_type=None)) == 3


async def test_gzip_is_for_those_who_take_it(node: HttpNode) -> None:
    await store(node, *(encoded(ct(n)) for n in range(1, 9)))
    url = f"http://127.0.0.1:{node.port}{SERIES}/metadata"
    bodies = []
    for coding in ("gzip", "identity"):
        answer = await node.client.get(
            url, headers={"Accept-Encoding": coding}, auto_decompress=False
        )
        bodies.append(await answer.read())
        assert answer.headers.get("Content-Encoding", "identity") == coding
        assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(bodies[0]) == bodies[1]
    assert len(bodies[0]) * 4 < len(bodies[1])


async def test_media_types(node: HttpNode) -> None:
    await store(node, encoded(ct()))
    for accept, status in {
        DICOM_JSON: 200,
        "application/json": 200,
        "*/*": 200,
        "text/html, application/dicom+json;q=0.5": 200,
        "application/dicom+xml": 406,
        'multipart/related; type="application/dicom+xml"': 406,
    }.items():
        answer = await node.client.get(f"{INSTANCE}/metadata", headers={"Accept": accept})
        assert answer.status == status, accept


async def test_what_is_not_there(node: HttpNode) -> None:
    await store(node, encoded(ct()))
    missing = [
        "/dicom-web/studies/1.2.3/metadata",
        f"{STUDY}/series/1.2.3/metadata",
        f"{SERIES}/instances/1.2.3/metadata",
        f"{SERIES}/instances/1.2.3/bulkdata/7FE00010",
        f"{INSTANCE}/bulkdata/00420011",
        f"{INSTANCE}/bulkdata/00081032/1/00080104",
    ]
    for path in missing:
        assert (await node.client.get(path)).status == 404, path
    for path in ("bulkdata/nonsense", "bulkdata/00081032/0/00080104", "bulkdata/../metadata/x"):
        assert (await node.client.get(f"{INSTANCE}/{path}")).status in {400, 404}, path
    assert (await node.client.get("/dicom-web/studies/%20/metadata")).status == 400


async def test_an_instance_that_cannot_be_read_is_left_out_with_a_warning(node: HttpNode) -> None:
    await store(node, *(encoded(ct(n)) for n in (1, 2, 3)))
    whole = await node.client.get(f"{STUDY}/metadata")
    assert "Warning" not in whole.headers
    for instance in (await node.services.metadata.select(uid(1)))[0].instances:
        if instance.identity.sop_instance_uid == uid(1, 1, 2):
            path = node.data_dir / "objects"
            (file,) = path.rglob(instance.blob.digest)
            file.chmod(0o644)
            content = bytearray(file.read_bytes())
            content[instance.data_set_offset + 8 : instance.data_set_offset + 60] = b"\xff" * 52
            file.write_bytes(content)
    shutil.rmtree(node.data_dir / "cache")
    # In a form in which the answer is not kept in memory either.
    answer = await node.client.get(f"{STUDY}/metadata", headers={"X-Forwarded-Host": "other"})
    assert uid(1, 1, 2) in answer.headers["Warning"]
    assert uids(await answer.json(content_type=None)) == [uid(1, 1, 1), uid(1, 1, 3)]
    damaged = f"{SERIES}/instances/{uid(1, 1, 2)}/metadata"
    assert (await node.client.get(damaged)).status == 500


async def test_a_large_study_is_sent_while_it_is_made(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_WHOLE_BYTES", 4000)
    monkeypatch.setattr(services, "_INSTANCES_TOGETHER", 3)
    await store(node, *(encoded(ct(n)) for n in range(1, 11)))
    url = f"http://127.0.0.1:{node.port}{STUDY}/metadata"
    for coding in ("gzip", "identity"):
        for _ in ("made", "from the cache"):
            answer = await node.client.get(url, headers={"Accept-Encoding": coding})
            assert answer.headers["Transfer-Encoding"] == "chunked"
            found = json.loads(await answer.read())
            assert [each["00200013"]["Value"][0] for each in found] == list(range(1, 11))
    head = await node.client.head(url)
    assert head.status == 200
    assert head.headers["ETag"]


async def test_metadata_is_made_ahead_once_a_study_is_quiet(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(node, *(encoded(ct(n)) for n in (1, 2)))
    foresight = Foresight(node.services.metadata, 0.05)
    running = asyncio.create_task(foresight.run())
    try:
        foresight.note([uid(1), "1.2.3.not.here"])
        await until(lambda: list((node.data_dir / "cache").rglob("*-metadata")))
    finally:
        running.cancel()
    # Nobody opens the files again.
    for path in node.stored:
        path.unlink()
    assert len(await read(node, STUDY)) == 2


async def test_a_fault_over_one_study_does_not_end_the_preparing_of_others(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(node, *(encoded(ct(n)) for n in (1, 2)))
    select = node.services.metadata.select

    async def faulty(study: str) -> Any:
        if study != uid(1):
            raise RuntimeError("a fault")
        return await select(study)

    monkeypatch.setattr(node.services.metadata, "select", faulty)
    foresight = Foresight(node.services.metadata, 0.02)
    running = asyncio.create_task(foresight.run())
    foresight.note(["1.2.3"])
    foresight.note([uid(1)])
    await until(lambda: list((node.data_dir / "cache").rglob("*-metadata")))
    assert not running.done()
    running.cancel()


async def test_ranges_of_a_value(node: HttpNode) -> None:
    data_set = ct()
    await store(node, encoded(data_set))
    url, value = f"{INSTANCE}/bulkdata/7FE00010", data_set.PixelData
    answer = await node.client.get(url)
    assert (answer.status, await answer.read()) == (200, value)
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["Accept-Ranges"] == "bytes"
    etag = answer.headers["ETag"]
    size = len(value)
    for text, part in {
        "bytes=0-0": value[:1],
        "bytes=100-199": value[100:200],
        "bytes=8000-": value[8000:],
        "bytes=-10": value[-10:],
        f"bytes=0-{size * 2}": value,
    }.items():
        for condition in ({}, {"If-Range": etag}):
            answer = await node.client.get(url, headers={"Range": text, **condition})
            assert (answer.status, await answer.read()) == (206, part), text
            assert answer.headers["Content-Range"].endswith(f"/{size}")
    answer = await node.client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (answer.status, await answer.read()) == (200, value)
    answer = await node.client.get(url, headers={"Range": "bytes=0-1,5-6"})
    assert answer.status in {200, 206}
    answer = await node.client.get(url, headers={"Range": f"bytes={size}-"})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    again = await node.client.get(url, headers={"If-None-Match": etag})
    assert again.status == 304


async def test_dicomweb_client_gets_ranges(node: HttpNode) -> None:
    data_set = ct()
    await store(node, encoded(data_set))
    client = dicomweb_client(node)
    url = f"http://127.0.0.1:{node.port}{INSTANCE}/bulkdata/7FE00010"
    for types in (None, ("application/octet-stream",)):
        whole = await called(client.retrieve_bulkdata, url, types)
        assert whole == [data_set.PixelData]
        part = await called(client.retrieve_bulkdata, url, types, (10, 19))
        assert part == [data_set.PixelData[10:20]]


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
async def test_values_that_cannot_be_sent_from_their_place(node: HttpNode, syntax: str) -> None:
    plain = ct()
    value = plain.PixelData
    if syntax == ExplicitVRBigEndian:
        plain.PixelData = plain.pixel_array.byteswap().tobytes()
        plain["PixelData"].VR = "OW"
    plain.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        plain,
        enforce_file_format=True,
        little_endian=syntax != ExplicitVRBigEndian,
        implicit_vr=False,
    )
    await store(node, buffer.getvalue())
    (found,) = await read(node, INSTANCE)
    assert found["00280010"]["Value"] == [64]
    url = found["7FE00010"]["BulkDataURI"]
    async with node.client.get(url) as answer:
        assert await answer.read() == value
    async with node.client.get(url, headers={"Range": "bytes=3-9"}) as answer:
        assert (answer.status, await answer.read()) == (206, value[3:10])


async def test_encapsulated_pixel_data_is_its_frames(node: HttpNode) -> None:
    name = "examples_ybr_color.dcm"
    path = next(path for path in corpus.pydicom_files() if path.name == name)
    data_set = pydicom.dcmread(path)
    frames = list(
        pydicom.encaps.generate_frames(
            data_set.PixelData, number_of_frames=int(data_set.NumberOfFrames)
        )
    )
    await store(node, path.read_bytes())
    client = dicomweb_client(node)
    (found,) = await called(client.retrieve_study_metadata, data_set.StudyInstanceUID)
    url = with_port(node, found["7FE00010"]["BulkDataURI"])
    assert found["7FE00010"]["vr"] == "OB"
    assert await called(client.retrieve_bulkdata, url) == frames
