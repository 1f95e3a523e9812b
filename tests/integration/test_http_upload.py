"""Uploads, from a browser's form to the store, read back with other programs' eyes."""

import asyncio
import hashlib
import io
import re
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from hilum.core.identifiers import public_id
from hilum.core.listening import listen
from hilum.http.intake import Intake
from hilum.http.overrides import Overrides
from hilum.http.server import HttpServer
from hilum.http.upload import Uploads
from hilum.index.database import Database
from tests import corpus, dcmtk
from tests.contract.spooling import is_committed
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def dumped(path: Path, tag: str) -> str:
    """Return a value as dcmdump prints it."""
    output = dcmtk.run("dcmdump", "-q", "+U8", "+P", tag, path).output
    found = re.search(r"\[(.*)\]", output)
    return found[1] if found else ""


async def test_an_uploaded_file_is_stored_as_it_is_and_found_at_once(node: HttpNode) -> None:
    path = corpus.pydicom_files()[0].with_name("CT_small.dcm")
    content = path.read_bytes()
    answer = await node.upload(("Schnitt ü 1.dcm", content))
    body = await answer.json()
    assert answer.status == 200
    uids = [dumped(path, tag) for tag in ("0020,000d", "0020,000e", "0008,0018")]
    patient_id = dumped(path, "0010,0020")
    assert body["success"] is True
    assert body["message"] == "Stored 1 file"
    assert body["data"] == {
        "studyInstanceUID": uids[0],
        "seriesInstanceUID": uids[1],
        "sopInstanceUID": uids[2],
        "frameCount": 1,
        "instances": 1,
        "patientID": patient_id,
        "patientName": dumped(path, "0010,0010"),
        "orthancStudyId": public_id(patient_id, uids[0]),
        "orthancSeriesId": public_id(patient_id, *uids[:2]),
        "orthancInstanceId": public_id(patient_id, *uids),
        "storage": "hilum",
    }
    assert [(file["name"], file["outcome"]) for file in body["files"]] == [
        ("Schnitt ü 1.dcm", "stored")
    ]
    (stored,) = node.stored
    assert stored.name == sha256(content)
    assert stored.read_bytes() == content
    studies = await (await node.client.get("/api/dicom/studies")).json()
    assert [study["studyInstanceUID"] for study in studies["data"]] == [uids[0]]


async def test_the_same_file_again_adds_nothing(node: HttpNode) -> None:
    content = encoded(ct())
    await node.upload(("a", content))
    body = await (await node.upload(("a", content), ("b", content))).json()
    assert [file["outcome"] for file in body["files"]] == ["already-stored", "already-stored"]
    assert len(node.stored) == 1


async def test_many_files_are_answered_one_by_one_with_frames_of_the_first_ones_study(
    node: HttpNode,
) -> None:
    moving = ct(3, NumberOfFrames=4)
    moving.PixelData = moving.PixelData * 4
    answer = await node.upload(
        ("1.dcm", encoded(ct(1))),
        ("broken.dcm", encoded(ct(2))[:300]),
        ("notes.txt", b"no image"),
        ("empty", b""),
        ("moving.dcm", encoded(moving)),
        ("other.dcm", encoded(ct(study=2))),
    )
    body = await answer.json()
    assert answer.status == 200
    assert body["message"] == "Stored 3 of 6 files"
    assert [file["success"] for file in body["files"]] == [True, False, False, False, True, True]
    assert {file["error"]["code"] for file in body["files"][1:4]} == {"not-dicom"}
    assert [file["frameCount"] for file in body["files"] if file["success"]] == [1, 4, 1]
    assert (body["data"]["sopInstanceUID"], body["data"]["frameCount"]) == (uid(1, 1, 1), 5)
    # What could not be understood is kept for a person to look at.
    assert {path.read_bytes() for path in node.quarantined} == {
        encoded(ct(2))[:300],
        b"no image",
        b"",
    }
    assert node.spooled == []


async def test_an_upload_without_a_single_instance_fails(node: HttpNode) -> None:
    answer = await node.upload(("a", b"no image"), ("b", b"neither"))
    body = await answer.json()
    assert answer.status == 400
    assert (body["success"], body["error"]["code"]) == (False, "not-dicom")
    assert [file["name"] for file in body["files"]] == ["a", "b"]
    assert "data" not in body


async def test_an_instance_without_pixels_has_no_frames(node: HttpNode) -> None:
    report = ct()
    del report.PixelData
    body = await (await node.upload(("report", encoded(report)))).json()
    assert (body["data"]["frameCount"], body["data"]["instances"]) == (0, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed-multipart"),
        (b"--b--\r\n", 400, "invalid"),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--', 400, "invalid"),
        (
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + bytes(5000) + b"\r\n--b--",
            400,
            "malformed-multipart",
        ),
        (b"--b with something behind\r\n", 400, "malformed-multipart"),
    ],
)
async def test_a_body_without_files_is_refused(
    node: HttpNode, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await node.client.post("/api/dicom/upload", data=body, headers=headers)
    assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_a_body_that_breaks_off_keeps_what_was_whole(node: HttpNode) -> None:
    head = b'\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n'
    body = b"--b" + head % b"1" + encoded(ct(1)) + b"\r\n--b" + head % b"2" + encoded(ct(2))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await node.client.post("/api/dicom/upload", data=body, headers=headers)
    files = (await answer.json())["files"]
    assert answer.status == 200
    assert [(file["name"], file["success"]) for file in files] == [("1", True), ("2", False)]
    assert files[1]["error"]["code"] == "malformed-multipart"
    assert (len(node.stored), node.spooled) == (1, [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/dicom"},
        {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"},
    ],
)
async def test_other_kinds_of_bodies_are_415(node: HttpNode, headers: dict[str, str]) -> None:
    answer = await node.client.post("/api/dicom/upload", data=b"x", headers=headers)
    assert answer.status == 415
    assert (await answer.json())["error"]["code"] == "unsupported"


async def test_a_zip_of_nested_folders_is_unpacked(node: HttpNode) -> None:
    archive = zipped(
        **{
            "disc/DICOMDIR": b"a directory",
            "disc/A/1": encoded(ct(1)),
            "disc/B/C/2": encoded(ct(2)),
            "disc/readme.txt": b"no image",
            "__MACOSX/disc/A/._1": b"junk",
        }
    )
    body = await (await node.upload(("study.zip", archive), ("3", encoded(ct(3))))).json()
    assert [(file["name"], file["success"]) for file in body["files"]] == [
        ("disc/A/1", True),
        ("disc/B/C/2", True),
        ("disc/readme.txt", False),
        ("3", True),
    ]
    assert body["data"]["frameCount"] == 3
    assert {path.name for path in node.stored} == {sha256(encoded(ct(n))) for n in (1, 2, 3)}
    assert node.spooled == []


async def test_a_damaged_or_empty_zip_is_named_and_leaves_nothing(node: HttpNode) -> None:
    archive = zipped(a=encoded(ct(1)))
    answer = await node.upload(("cut.zip", archive[:-30]), ("empty.zip", zipped()))
    codes = [file["error"]["code"] for file in (await answer.json())["files"]]
    assert (answer.status, codes) == (400, ["bad-archive", "invalid"])
    assert node.stored == node.spooled == node.quarantined == []


async def test_concurrent_uploads_of_a_study_count_every_instance_once(node: HttpNode) -> None:
    answers = await asyncio.gather(*(node.upload((f"{n}", encoded(ct(n % 20)))) for n in range(40)))
    assert {answer.status for answer in answers} == {200}
    listed = (await (await node.client.get("/api/dicom/studies")).json())["data"]
    assert [(study["instanceCount"], study["frameCount"]) for study in listed] == [(20, 20)]
    assert len(node.stored) == 20


async def test_overrides_make_a_new_instance_beside_the_original(
    node: HttpNode, tmp_path: Path
) -> None:
    contents = [encoded(ct(1)), encoded(ct(2))]
    files = [("1", contents[0]), ("2", contents[1])]
    answer = await node.upload(*files, patientID="NEW-1", patientName="Müller^Jürgen")
    body = await answer.json()
    assert answer.status == 200
    assert (body["data"]["patientID"], body["data"]["patientName"]) == ("NEW-1", "Müller^Jürgen")
    assert [file["original"]["sopInstanceUID"] for file in body["files"]] == [
        uid(1, 1, 1),
        uid(1, 1, 2),
    ]
    new = {path for path in node.stored if path.name not in map(sha256, contents)}
    assert len(node.stored) == 4
    assert {dumped(path, "0010,0010") for path in new} == {"Müller^Jürgen"}
    assert {dumped(path, "0010,0020") for path in new} == {"NEW-1"}
    assert {dumped(path, "0020,000d") for path in new} == {body["data"]["studyInstanceUID"]}
    assert {dumped(path, "0008,0018") for path in new} == {
        file["sopInstanceUID"] for file in body["files"]
    }
    # dcmdump writes the pixels out: they are the same, byte for byte.
    for path, original in zip(sorted(new, key=instance_number), (1, 2), strict=True):
        folder = tmp_path / f"raw{original}"
        folder.mkdir()
        dcmtk.run("dcmdump", "-q", "+W", folder, path)
        (raw,) = folder.iterdir()
        assert raw.read_bytes() == bytes(ct(original).PixelData)
    # The same upload again finds everything in its place.
    again = await (await node.upload(*files, patientName="Müller^Jürgen", patientID="NEW-1")).json()
    assert {file["outcome"] for file in again["files"]} == {"already-stored"}
    assert len(node.stored) == 4


def instance_number(path: Path) -> int:
    return int(dumped(path, "0020,0013"))


async def test_an_override_of_a_compressed_file_leaves_its_frames_alone(node: HttpNode) -> None:
    original = ct()
    pixels = original.pixel_array.copy()
    original.compress(RLELossless, generate_instance_uid=False)
    body = await (await node.upload(("rle", encoded(original)), patientID="NEW")).json()
    frame = f"/api/dicom/studies/{body['data']['studyInstanceUID']}/frames/0"
    first = f"/api/dicom/studies/{original.StudyInstanceUID}/frames/0"
    shown = [await (await node.client.get(address)).read() for address in (frame, first)]
    assert shown[0] == shown[1]
    assert np.array_equal(original.pixel_array, pixels)


async def test_overrides_that_fit_no_vr_are_refused(node: HttpNode) -> None:
    answer = await node.upload(("1", encoded(ct())), patientID="A\\B")
    assert answer.status == 400
    assert "patientID" in (await answer.json())["error"]["message"]


async def test_a_full_disk_is_507_and_keeps_nothing(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path, reserve_bytes=1 << 60) as node:
        answer = await node.upload(("1", encoded(ct())))
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (507, "storage-full")
        assert node.stored == node.spooled == []


async def test_without_mongodb_uploads_are_safe_and_say_that_they_cannot_be_found_yet(
    tmp_path: Path,
) -> None:
    away = Database.connect(f"mongodb://{quote(str(tmp_path), safe='')}%2Fnone.sock", "away")
    async with http_node(away, tmp_path / "data") as node:
        app = web.Application()
        intake = Intake(node.services.ingest, visible_seconds=0.2)
        uploads = Uploads(intake, Overrides(node.services.ingest, node.services.retrieve))
        app.add_routes(uploads.routes())
        app.on_cleanup.append(intake.close)
        server = HttpServer(app, listen("127.0.0.1", 0, "HTTP"))
        await server.start()
        url = f"http://127.0.0.1:{server.port}/api/dicom/upload"

        async def send(number: int) -> tuple[int, str, str]:
            form = aiohttp.FormData()
            form.add_field("file", io.BytesIO(encoded(ct(number))), filename="a")
            answer = await node.client.post(url, data=form)
            body = await answer.json()
            return answer.status, body["message"], body["files"][0]["outcome"]

        answers = await asyncio.gather(*(send(number) for number in range(20)))
        assert set(answers) == {(202, "Stored 1 file; still being indexed", "accepted")}
        assert len(node.spooled) == 20
        assert all(is_committed(path) for path in node.spooled)
        await server.stop()
    away.close()


async def test_a_client_that_goes_away_leaves_nothing_behind(
    node: HttpNode, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(
        b"POST /api/dicom/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        b'Content-Disposition: form-data; name="file"; filename="big"\r\n\r\n'
    )
    for _ in range(8):
        writer.write(bytes(1 << 20))
        await writer.drain()
    while not node.spooled:  # noqa: ASYNC110  # nothing tells when a file appears
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(10):
        while node.spooled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert node.stored == node.quarantined == []
    printed = capsys.readouterr().out + caplog.text
    assert "Traceback" not in printed
    assert (await node.client.get("/health")).status == 200


async def test_half_a_gigabyte_passes_through_a_few_megabytes(node: HttpNode) -> None:
    size = 500 << 20
    head = ct(NumberOfFrames=size // (2 * 64 * 64))
    head.PixelData = b""
    start = encoded(head)[:-4]  # up to the length of the pixel data
    piece = bytes(1 << 20)
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        file = start + size.to_bytes(4, "little")
        digest.update(file)
        disposition = b'Content-Disposition: form-data; name="file"; filename="big"'
        yield b"--b\r\n" + disposition + b"\r\n\r\n" + file
        for _ in range(size // len(piece)):
            digest.update(piece)
            yield piece
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    await node.upload(("warm", encoded(ct(study=2))))
    before = peak_rss_bytes()
    answer = await node.client.post("/api/dicom/upload", data=body(), headers=headers)
    grown = peak_rss_bytes() - before
    assert answer.status == 200
    assert (await answer.json())["data"]["frameCount"] == size // (2 * 64 * 64)
    assert digest.hexdigest() in {path.name for path in node.stored}
    # Client and server together.
    assert grown < 40 << 20, f"{grown >> 20} MiB"


def peak_rss_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
