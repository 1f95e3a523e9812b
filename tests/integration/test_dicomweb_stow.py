"""STOW-RS: what clients store, and what they are told, held to other programs' eyes."""

import asyncio
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from hilum.http.dicomweb.stow import REASONS
from hilum.index.database import Database
from tests import corpus, dcmtk
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

BOUNDARY = "b 1"
RELATED = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
METADATA = f'multipart/related; type="application/dicom+json"; boundary="{BOUNDARY}"'
JSON = "application/dicom+json"


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def part(content: bytes, kind: str = "application/dicom", location: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n"
    if location:
        head += f"Content-Location: {location}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"


def related(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def store(
    node: HttpNode, body: Any, content_type: str = RELATED, study: str = "", **headers: str
) -> tuple[int, Dataset]:
    url = f"/dicom-web/studies/{study}".rstrip("/")
    headers = {"Content-Type": content_type, **headers}
    async with node.client.post(url, data=body, headers=headers) as answer:
        if answer.headers["Content-Type"] != JSON:
            assert answer.content_type == "application/json"
            return answer.status, Dataset()
        return answer.status, Dataset.from_json(await answer.json(content_type=None))


def uids(answer: Dataset, sequence: str = "ReferencedSOPSequence") -> list[str]:
    return [item.ReferencedSOPInstanceUID for item in answer.get(sequence, [])]


def digests(node: HttpNode) -> set[str]:
    """Digests of what is stored, as their names say and as their bytes are."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in node.stored}
    assert all(name == digest for name, digest in found.items())
    return set(found)


def sha256(*contents: bytes) -> set[str]:
    return {hashlib.sha256(content).hexdigest() for content in contents}


def dumped(path: Path) -> list[str]:
    """Return the data set as dcmdump prints it, without file meta and comments."""
    output = dcmtk.run("dcmdump", "-q", "+L", path).output
    lines = [line.split("#")[0].rstrip() for line in output.splitlines()]
    return [line for line in lines if re.match(r"\s*\((?!0002)", line)]


async def test_dicomweb_client_stores_instances_and_finds_them(node: HttpNode) -> None:
    client = DICOMwebClient(f"http://127.0.0.1:{node.port}/dicom-web", session=create_session())
    data_sets = [ct(number) for number in (1, 2, 3)]
    answer = await asyncio.to_thread(client.store_instances, data_sets)
    assert sorted(uids(answer)) == sorted(uid(1, 1, number) for number in (1, 2, 3))
    assert "FailedSOPSequence" not in answer
    # In its Host this client leaves the port out.
    base = f"http://127.0.0.1/dicom-web/studies/{uid(1)}"
    assert answer.RetrieveURL == base
    assert {item.RetrieveURL for item in answer.ReferencedSOPSequence} == {
        f"{base}/series/{uid(1, 1)}/instances/{uid(1, 1, number)}" for number in (1, 2, 3)
    }
    found = await asyncio.to_thread(client.search_for_instances, uid(1))
    assert {each["00080018"]["Value"][0] for each in found} == set(uids(answer))
    assert digests(node) == sha256(*map(as_the_client_writes, data_sets))


def as_the_client_writes(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data_set)
    return buffer.getvalue()


async def test_parts_are_stored_as_they_are(node: HttpNode) -> None:
    files = [
        path for path in corpus.pydicom_files() if path.name in {"CT_small.dcm", "MR_small.dcm"}
    ]
    contents = [path.read_bytes() for path in files]
    body = b"a preamble\r\n" + related(*map(part, contents)) + b"an epilogue"
    status, answer = await store(node, body)
    assert (status, len(uids(answer))) == (200, 2)
    assert "RetrieveURL" not in answer  # of one study: they are of two
    assert digests(node) == sha256(*contents)


async def test_a_single_file_is_a_body_too(node: HttpNode) -> None:
    content = encoded(ct())
    status, answer = await store(node, content, "application/dicom")
    assert (status, uids(answer)) == (200, [uid(1, 1, 1)])
    assert digests(node) == sha256(content)


async def test_some_stored_some_not(node: HttpNode) -> None:
    stored, elsewhere = encoded(ct(1)), encoded(ct(study=2))
    body = related(
        part(stored), part(b"no image"), part(elsewhere), part(b"{}", "text/plain"), part(stored)
    )
    status, answer = await store(node, body, study=uid(1))
    assert status == 202
    assert uids(answer) == [uid(1, 1, 1), uid(1, 1, 1)]
    (failed,) = answer.FailedSOPSequence
    assert failed.ReferencedSOPInstanceUID == uid(2, 1, 1)
    assert failed.ReferencedSOPClassUID == ct().SOPClassUID
    assert failed.FailureReason == 0xA900
    assert [item.FailureReason for item in answer.OtherFailuresSequence] == [0xC000, 0xC000]
    assert digests(node) == sha256(stored)
    # What came whole and is no instance, or not one of that study, is kept for a person.
    assert {path.read_bytes() for path in node.quarantined} == {b"no image", elsewhere}


async def test_none_stored_is_409_with_the_reasons(node: HttpNode) -> None:
    status, answer = await store(node, related(part(encoded(ct(study=2)))), study=uid(1))
    assert (status, uids(answer, "FailedSOPSequence")) == (409, [uid(2, 1, 1)])
    status, answer = await store(node, related(part(b"no image")))
    assert (status, answer.OtherFailuresSequence[0].FailureReason) == (409, 0xC000)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", RELATED, 400),
        (related(), RELATED, 400),
        (part(b"cut")[:-6], RELATED, 400),
        (related(part(b"x")), RELATED.replace(BOUNDARY, "other"), 400),
        (related(part(b"x")), "multipart/related; type=application/dicom", 400),
        (related(part(b"not json", JSON)), METADATA, 400),
        (related(part(b"[1]", JSON)), METADATA, 400),
        (related(part(b"<x/>")), RELATED.replace("/dicom", "/dicom+xml"), 415),
        (b"x", "multipart/form-data; boundary=b", 415),
        (b"x", "text/plain", 415),
        (b"x", "nonsense", 415),
    ],
)
async def test_bodies_that_are_not_what_they_must_be(
    node: HttpNode, body: bytes, content_type: str, status: int
) -> None:
    assert (await store(node, body, content_type))[0] == status
    assert node.stored == node.spooled == node.quarantined == []


async def test_a_body_without_its_last_boundary_keeps_what_was_whole(node: HttpNode) -> None:
    contents = [encoded(ct(1)), encoded(ct(2))]
    body = part(contents[0]) + part(contents[1])[:-2]
    status, answer = await store(node, body)
    assert (status, uids(answer)) == (202, [uid(1, 1, 1)])
    assert answer.OtherFailuresSequence[0].FailureReason == 0xC000
    assert (digests(node), node.spooled) == (sha256(contents[0]), [])


async def test_fewer_bytes_than_announced_store_nothing_of_the_last_part(node: HttpNode) -> None:
    content = encoded(ct(1))
    body = part(content) + part(encoded(ct(2)))[:500]
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
        + f"Content-Type: {RELATED}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.write_eof()
    await reader.read()
    writer.close()
    async with asyncio.timeout(10):
        while node.spooled:  # noqa: ASYNC110  # nothing tells of files
            await asyncio.sleep(0.01)
    assert digests(node) <= sha256(content)


async def test_who_takes_no_json_is_refused_before_anything_is_stored(node: HttpNode) -> None:
    accept = {"Accept": "application/dicom+xml"}
    status, _ = await store(node, related(part(encoded(ct()))), **accept)
    assert (status, node.stored) == (406, [])


async def test_a_full_disk_is_507(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path, reserve_bytes=1 << 60) as node:
        for content_type, body in (
            (RELATED, related(part(encoded(ct())))),
            (METADATA, metadata_body([described(ct())], {"u": [ct().PixelData]})),
        ):
            assert (await store(node, body, content_type))[0] == 507
        assert node.stored == node.spooled == []


def described(data_set: FileDataset, uri: str = "u") -> dict[str, Any]:
    """Return a data set in DICOM JSON, its pixels elsewhere; pydicom's, not our own."""
    found = data_set.to_json_dict()
    found["7FE00010"] = {"vr": found["7FE00010"]["vr"], "BulkDataURI": uri}
    return found


def metadata_body(
    data_sets: list[dict[str, Any]],
    bulk: dict[str, list[bytes]],
    kind: str = "application/octet-stream",
) -> bytes:
    return related(
        part(json.dumps(data_sets).encode(), JSON),
        *(part(content, kind, uri) for uri, contents in bulk.items() for content in contents),
    )


async def test_metadata_and_bulk_data_become_the_file_they_describe(
    node: HttpNode, tmp_path: Path
) -> None:
    originals = [ct(1, PatientName="Müller^Jürgen"), ct(2)]
    originals[0].add_new(0x00091001, "OB", b"private")
    originals[0].RequestAttributesSequence = [Dataset()]
    originals[0].RequestAttributesSequence[0].ScheduledProcedureStepID = "S1"
    body = metadata_body(
        [described(each, f"../bulk/{number}") for number, each in enumerate(originals)],
        {f"../bulk/{number}": [each.PixelData] for number, each in enumerate(originals)},
    )
    status, answer = await store(node, body, METADATA)
    assert (status, uids(answer)) == (200, [each.SOPInstanceUID for each in originals])
    stored = {dcmtk_uid(path): path for path in node.stored}
    for original in originals:
        path = tmp_path / "original.dcm"
        path.write_bytes(encoded(original))
        assert dumped(stored[original.SOPInstanceUID]) == dumped(path)
    assert node.spooled == []


def dcmtk_uid(path: Path) -> str:
    output = dcmtk.run("dcmdump", "-q", "+P", "0008,0018", path).output
    found = re.search(r"\[(.*)\]", output)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        (RLELossless, "image/dicom-rle"),
        (JPEG2000Lossless, f"image/jp2; transfer-syntax={JPEG2000Lossless}"),
    ],
)
async def test_compressed_frames_come_one_a_part(
    node: HttpNode, syntax: pydicom.uid.UID, kind: str
) -> None:
    original = ct(NumberOfFrames=3)
    original.PixelData = np.random.default_rng(1).integers(0, 4096, (3, 64, 64), "<u2").tobytes()
    pixels = original.pixel_array.copy()
    original.compress(syntax, generate_instance_uid=False)
    frames = list(pydicom.encaps.generate_frames(original.PixelData, number_of_frames=3))
    body = metadata_body([described(original)], {"u": frames}, kind)
    status, _ = await store(node, body, METADATA)
    assert status == 200
    (path,) = node.stored
    stored = pydicom.dcmread(path)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(stored.pixel_array, pixels)
    status, answer = await store(
        node, metadata_body([described(original)], {"u": frames[:2]}, kind), METADATA
    )
    assert (status, uids(answer, "FailedSOPSequence")) == (409, [original.SOPInstanceUID])


async def test_metadata_whose_bulk_data_is_missing_fails_by_its_name(node: HttpNode) -> None:
    body = metadata_body([described(ct(1), "a"), described(ct(2), "b")], {"b": [ct(2).PixelData]})
    status, answer = await store(node, body, METADATA)
    assert (status, uids(answer)) == (202, [uid(1, 1, 2)])
    assert uids(answer, "FailedSOPSequence") == [uid(1, 1, 1)]
    assert answer.FailedSOPSequence[0].FailureReason == 0xC000


async def test_large_bulk_data_passes_through_a_few_megabytes(
    node: HttpNode,
) -> None:
    size = 128 << 20
    head = ct(NumberOfFrames=size // (2 * 64 * 64))
    metadata = part(json.dumps([described(head)]).encode(), JSON)
    piece = bytes(1 << 20)

    async def body() -> AsyncIterator[bytes]:
        yield metadata + part(b"", "application/octet-stream", "u")[:-2]
        for _ in range(size // len(piece)):
            yield piece
        yield b"\r\n" + related()

    await store(node, related(part(encoded(ct(study=2)))))
    before = peak_rss_bytes()
    status, answer = await store(node, body(), METADATA)
    grown = peak_rss_bytes() - before
    assert (status, uids(answer)) == (200, [head.SOPInstanceUID])
    (path,) = [path for path in node.stored if path.stat().st_size > size]
    stored = pydicom.dcmread(path, stop_before_pixels=True)
    assert (stored.NumberOfFrames, path.stat().st_size - size < 4096) == (head.NumberOfFrames, True)
    # Client and server together.
    assert grown < 40 << 20, f"{grown >> 20} MiB"
    assert node.spooled == []


def peak_rss_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_reasons_are_those_of_the_standard() -> None:
    # PS3.18 table I.2-2.
    assert set(REASONS.values()) <= {0xA700, 0xA900, 0xC000, 0x0110, 0x0122}


async def test_another_version_is_refused_by_name_where_the_first_one_is_to_stay(
    database: Database, tmp_path: Path
) -> None:
    async with http_node(database, tmp_path, policy="reject") as node:
        first, second = encoded(ct(1)), encoded(ct(1, ImageComments="other"))
        assert (await store(node, related(part(first))))[0] == 200
        status, answer = await store(node, related(part(second), part(encoded(ct(2)))))
        assert (status, uids(answer)) == (202, [uid(1, 1, 2)])
        (failed,) = answer.FailedSOPSequence
        assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (uid(1, 1, 1), 0x0110)
        assert [path.read_bytes() for path in node.quarantined] == [second]


async def test_the_same_instance_by_two_doors_is_one(node: HttpNode) -> None:
    content = encoded(ct())
    await node.upload(("a", content))
    status, answer = await store(node, related(part(content)))
    assert (status, uids(answer), len(node.stored)) == (200, [uid(1, 1, 1)], 1)


async def test_hundreds_of_parts_at_once(node: HttpNode) -> None:
    contents = [encoded(ct(number)) for number in range(60)]
    answers = await asyncio.gather(
        *(store(node, related(*map(part, contents[start::3]))) for start in range(3))
    )
    assert [(status, len(uids(answer))) for status, answer in answers] == [(200, 20)] * 3
    assert digests(node) == sha256(*contents)
    assert isinstance(node.client, aiohttp.ClientSession)
