"""WADO-RS over a real node, by the clients that people use and by plain HTTP."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pydicom
import pytest
import requests
from dicomtrolley.core import InstanceReference, SeriesReference, StudyReference
from dicomtrolley.wado_rs import WadoRS
from dicomweb_client import DICOMwebClient
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from yarl import URL

from hilum.index.database import Database
from tests import corpus
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.nodes import wait_until

T = TypeVar("T")
STUDY = f"/dicom-web/studies/{uid(1)}"
SERIES = f"{STUDY}/series/{uid(1, 1)}"
INSTANCE = f"{SERIES}/instances/{uid(1, 1, 1)}"
EXPLICIT = ExplicitVRLittleEndian
MPEG4 = "1.2.840.10008.1.2.4.102"
#: Decoders differ by rounding.
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


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


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> list[tuple[dict[str, str], bytes]]:
        return parts_of(self.body, self.headers["Content-Type"])

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


async def get(node: HttpNode, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for `path`, which is encoded already; header names have ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(f"http://127.0.0.1:{node.port}{path}", encoded=True)
    async with node.client.request(method, url, headers=named) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


async def called(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a client that blocks."""
    return await asyncio.to_thread(function, *arguments, **named)


def dicomweb(node: HttpNode) -> DICOMwebClient:
    return DICOMwebClient(f"http://127.0.0.1:{node.port}/dicom-web")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def url_of(data_set: pydicom.Dataset) -> str:
    study, series, instance = identifiers(data_set)
    return f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"


def identifiers(data_set: pydicom.Dataset) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


def parts_of(body: bytes, content_type: str) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and content of the parts, by the rules of RFC 2046 and nothing of ours."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('"').encode()
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
    parts = []
    for raw in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        parts.append((dict(line.split(": ", 1) for line in lines), content))
    return parts


async def fetched(
    node: HttpNode, path: str, accept: str | None = None
) -> list[tuple[dict[str, str], bytes]]:
    answer = await get(node, path, **({"Accept": accept} if accept else {}))
    assert answer.status == 200, answer.body
    return answer.parts


async def test_a_study_comes_back_byte_by_byte_and_says_what_its_parts_are(node: HttpNode) -> None:
    files = [encoded(ct(number)) for number in (1, 2, 3)]
    await store(node, *files)
    answer = await get(node, STUDY, Accept=AS_STORED)
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    parts = answer.parts
    assert [content for _, content in parts] == files
    base = f"http://127.0.0.1:{node.port}{SERIES}/instances"
    for number, (headers, content) in enumerate(parts, 1):
        assert headers["Content-Type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
        assert headers["Content-Location"] == f"{base}/{uid(1, 1, number)}"
        assert int(headers["Content-Length"]) == len(content)


async def test_dicomweb_client_retrieves_whatever_it_can(node: HttpNode) -> None:
    stored = [ct(number, series=series) for series in (1, 2) for number in (1, 2)]
    await store(node, *map(encoded, stored))
    client = dicomweb(node)
    study, series, instance = identifiers(stored[0])
    by_uid = {data_set.SOPInstanceUID: data_set for data_set in stored}

    study_found = await called(client.retrieve_study, study)
    assert {found.SOPInstanceUID: found for found in study_found} == by_uid
    streamed = await called(lambda: list(client.iter_study(study)))
    assert streamed == study_found
    for found in await called(client.retrieve_series, study, series):
        assert found == by_uid[found.SOPInstanceUID]
    assert len(await called(lambda: list(client.iter_series(study, series)))) == 2
    assert await called(client.retrieve_instance, study, series, instance) == stored[0]
    (frame,) = await called(client.retrieve_instance_frames, study, series, instance, [1])
    assert frame == stored[0].PixelData


async def test_dicomweb_client_gets_the_media_types_it_names(node: HttpNode) -> None:
    path = pydicom_file("SC_rgb_rle_2frame.dcm")
    await store(node, path.read_bytes())
    data_set = pydicom.dcmread(path)
    client, uids = dicomweb(node), identifiers(data_set)
    raw, packed = native_frames(path), list(generate_frames(data_set.PixelData, number_of_frames=2))
    for media_types, expected in (
        (None, packed),
        (("application/octet-stream",), raw),
        ((("application/octet-stream", EXPLICIT),), raw),
        (("image/dicom-rle",), packed),
        ((("image/x-dicom-rle", RLELossless),), packed),
        ((("*/*", "*"),), packed),
    ):
        ask = {"frame_numbers": [1, 2], "media_types": media_types}
        assert await called(client.retrieve_instance_frames, *uids, **ask) == expected
        frames = await called(lambda ask=ask: list(client.iter_instance_frames(*uids, **ask)))
        assert frames == expected
    for syntax in ("*", RLELossless, EXPLICIT, JPEG2000Lossless):
        media_types = (("application/dicom", syntax),)
        found = [
            await called(client.retrieve_instance, *uids, media_types=media_types),
            *await called(client.retrieve_series, *uids[:2], media_types=media_types),
            *await called(client.retrieve_study, uids[0], media_types=media_types),
        ]
        expected_syntax = RLELossless if syntax == "*" else syntax
        assert {each.file_meta.TransferSyntaxUID for each in found} == {expected_syntax}
        assert all(np.array_equal(each.pixel_array, data_set.pixel_array) for each in found)


async def test_dicomtrolley_downloads_studies_series_and_instances(node: HttpNode) -> None:
    stored = [ct(number, series=series) for series in (1, 2) for number in (1, 2)]
    await store(node, *map(encoded, stored))
    study, series, instance = identifiers(stored[0])
    with requests.Session() as session:
        url = f"http://127.0.0.1:{node.port}/dicom-web"
        trolley = WadoRS(session, url, http_chunk_size=4096, request_per_series=False)
        for reference, expected in (
            (StudyReference(study_uid=study), stored),
            (SeriesReference(study_uid=study, series_uid=series), stored[:2]),
            (
                InstanceReference(study_uid=study, series_uid=series, instance_uid=instance),
                stored[:1],
            ),
        ):
            found = await called(lambda what=reference: list(trolley.datasets(what)))
            assert sorted(each.SOPInstanceUID for each in found) == sorted(
                each.SOPInstanceUID for each in expected
            )
            assert all(each.PixelData in {one.PixelData for one in expected} for each in found)


async def test_explicit_little_endian_is_what_a_client_gets_that_names_no_transfer_syntax(
    node: HttpNode,
) -> None:
    packed, implicit, plain = ct(1), ct(2), ct(3)
    pixels = packed.PixelData
    packed.compress(RLELossless, generate_instance_uid=False)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    await store(node, *map(encoded, (packed, implicit, plain)))
    for accept in (None, "*/*", 'multipart/related; type="application/dicom"'):
        parts = await fetched(node, STUDY, accept)
        assert [headers["Content-Type"] for headers, _ in parts] == [
            f"application/dicom; transfer-syntax={EXPLICIT}"
        ] * 3
        read = [pydicom.dcmread(io.BytesIO(content)) for _, content in parts]
        assert [each.file_meta.TransferSyntaxUID for each in read] == [EXPLICIT] * 3
        assert [each.PixelData for each in read] == [pixels, implicit.PixelData, plain.PixelData]
        assert parts[2][1] == encoded(plain)
        # How long it will be is not known before it is made; the connection serves on.
        head = await get(node, STUDY, "HEAD", **({"Accept": accept} if accept else {}))
        assert (head.status, head.body) == (200, b"")
    as_stored = await fetched(node, STUDY, AS_STORED)
    assert [content for _, content in as_stored] == [*map(encoded, (packed, implicit, plain))]


async def test_other_transfer_syntaxes_are_made_where_they_can_be(node: HttpNode) -> None:
    image, video, report = ct(1), ct(2), ct(3)
    video.compress(RLELossless, generate_instance_uid=False)
    video.file_meta.TransferSyntaxUID = MPEG4
    del report.PixelData
    await store(node, *map(encoded, (image, video, report)))
    for syntax in (RLELossless, JPEG2000Lossless, HTJ2KLossless):
        asked = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
        answer = await get(node, STUDY, Accept=asked)
        # What cannot be had in it is left out, and the status says so (PS3.18 Table 10.4.3-1).
        assert answer.status == 206
        ((headers, content),) = answer.parts
        assert headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
        read = pydicom.dcmread(io.BytesIO(content))
        assert read.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(read.pixel_array, image.pixel_array)
        (frame,) = generate_frames(read.PixelData, number_of_frames=1)
        single = f"application/octet-stream; transfer-syntax={syntax}"
        alone = await get(node, f"{INSTANCE}/frames/1", Accept=single)
        assert alone.body == frame
    asked = f'multipart/related; type="application/dicom"; transfer-syntax={MPEG4}'
    answer = await get(node, STUDY, Accept=asked)
    assert [content for _, content in answer.parts] == [encoded(video)]
    asked = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50'
    assert (await get(node, STUDY, Accept=asked)).status == 406


async def test_what_nobody_decodes_comes_as_it_is_stored(node: HttpNode) -> None:
    video = ct(1)
    video.compress(RLELossless, generate_instance_uid=False)
    video.file_meta.TransferSyntaxUID = MPEG4
    damaged = ct(2)
    damaged.compress(RLELossless, generate_instance_uid=False)
    content = bytearray(encoded(damaged))
    at = content.rindex(b"\xfe\xff\x00\xe0")  # the item that is the frame
    content[at + 8 : at + 72] = b"\xff" * 64  # its RLE header (PS3.5 G.5)
    await store(node, encoded(video), bytes(content))
    parts = await fetched(node, STUDY)
    assert [part for _, part in parts] == [encoded(video), bytes(content)]
    assert parts[0][0]["Content-Type"] == f"application/dicom; transfer-syntax={MPEG4}"
    explicit = f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}'
    assert (await get(node, INSTANCE, Accept=explicit)).status == 406
    other = f"{SERIES}/instances/{damaged.SOPInstanceUID}"
    answer = await get(node, other, Accept=explicit)
    assert answer.status == 500
    assert damaged.SOPInstanceUID in answer.error["message"]


async def test_a_single_part_is_the_file_and_can_be_had_in_ranges(node: HttpNode) -> None:
    content = encoded(ct())
    await store(node, content)
    single = "application/dicom; transfer-syntax=*"
    answer = await get(node, INSTANCE, Accept=single)
    assert answer.headers["Content-Type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert answer.body == content
    etag = answer.headers["ETag"]
    for wanted, expected in (
        ("bytes=0-9", content[:10]),
        ("bytes=100-", content[100:]),
        ("bytes=-5", content[-5:]),
    ):
        part = await get(node, INSTANCE, Accept=single, Range=wanted, If_Range=etag)
        assert (part.status, part.body) == (206, expected)
        assert part.headers["Content-Range"].endswith(f"/{len(content)}")
    assert (await get(node, INSTANCE, Accept=single, Range="bytes=99999999-")).status == 416
    stale = await get(node, INSTANCE, Accept=single, Range="bytes=0-9", If_Range='"other"')
    assert (stale.status, stale.body) == (200, content)
    # Of a study with two instances there is no such thing.
    await store(node, encoded(ct(2)))
    assert (await get(node, STUDY, Accept=single)).status == 406


async def test_clients_are_told_what_they_have_already(node: HttpNode) -> None:
    await store(node, encoded(ct()))
    for path in (STUDY, INSTANCE, f"{INSTANCE}/frames/1"):
        first = await get(node, path)
        etag = first.headers["ETag"]
        again = await get(node, path)
        assert (again.headers["ETag"], again.body) == (etag, first.body)
        same = await get(node, path, If_None_Match=etag)
        assert (same.status, same.body) == (304, b"")
        head = await get(node, path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(first.body))
    before = (await get(node, STUDY)).headers["ETag"]
    await store(node, encoded(ct(2)))
    assert (await get(node, STUDY, If_None_Match=before)).status == 200


FRAME_FILES = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
    "rtdose_rle.dcm",
]


def pydicom_file(name: str) -> Path:
    return next(path for path in corpus.pydicom_files() if path.name == name)


def native_frames(path: Path) -> list[bytes]:
    """Return the frames as pydicom has them in memory, packed again if they are bits."""
    data_set = pydicom.dcmread(path)
    samples = pixel_array(data_set, raw=True)
    frames = samples.reshape(int(data_set.get("NumberOfFrames") or 1), -1)
    if data_set.BitsAllocated == 1:
        return [np.packbits(frame, bitorder="little").tobytes() for frame in frames]
    if (
        data_set.get("PlanarConfiguration") == 1
        and not data_set.file_meta.TransferSyntaxUID.is_compressed
    ):
        planes = samples.reshape(len(frames), -1, data_set.SamplesPerPixel)
        frames = planes.transpose(0, 2, 1).reshape(len(frames), -1)
    return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in frames]


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, over odd files
async def test_frames_are_what_pydicom_reads_from_the_same_file(node: HttpNode) -> None:
    raw = 'multipart/related; type="application/octet-stream"'
    for name in FRAME_FILES:
        path = pydicom_file(name)
        await store(node, path.read_bytes())
        data_set = pydicom.dcmread(path)
        # All of these are the same image, compressed without loss or not at all.
        same = name.startswith("MR_small")
        expected = native_frames(pydicom_file("MR_small.dcm") if same else path)
        numbers = ",".join(str(number) for number in range(1, len(expected) + 1))
        url = url_of(data_set)
        parts = await fetched(node, f"{url}/frames/{numbers}", raw)
        assert [content for _, content in parts] == expected, name
        types = {headers["Content-Type"] for headers, _ in parts}
        assert types == {f"application/octet-stream; transfer-syntax={EXPLICIT}"}
        last = f"{url}/frames/{len(expected)}"
        single = await get(node, last, Accept="application/octet-stream")
        assert single.body == expected[-1], name


async def test_compressed_frames_come_as_they_are_stored(node: HttpNode) -> None:
    for name, media_type in (
        ("MR_small_RLE.dcm", "image/dicom-rle"),
        ("JPEG-lossy.dcm", "image/jpeg"),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls"),
        ("MR_small_jp2klossless.dcm", "image/jp2"),
        ("examples_ybr_color.dcm", "image/jpeg"),
        ("SC_rgb_rle_2frame.dcm", "image/dicom-rle"),
    ):
        path = pydicom_file(name)
        await store(node, path.read_bytes())
        data_set = pydicom.dcmread(path)
        count = int(data_set.get("NumberOfFrames") or 1)
        expected = list(generate_frames(data_set.PixelData, number_of_frames=count))
        syntax = data_set.file_meta.TransferSyntaxUID
        numbers = ",".join(map(str, range(1, count + 1)))
        url = f"{url_of(data_set)}/frames/{numbers}"
        for accept in (
            None,
            'multipart/related; type="*/*"',  # dicomweb-client
            'multipart/related; type="application/octet-stream"; transfer-syntax=*',  # OHIF
            f"multipart/related; type={media_type}",
            f'multipart/related; type="{media_type}"; transfer-syntax={syntax}',
            f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}',
        ):
            parts = await fetched(node, url, accept)
            assert [content for _, content in parts] == expected, (name, accept)
            assert {headers["Content-Type"] for headers, _ in parts} == {
                f"{media_type}; transfer-syntax={syntax}"
            }
        found = await called(
            dicomweb(node).retrieve_instance_frames, *identifiers(data_set), [count]
        )
        assert found == expected[-1:]
        single = await get(node, f"{url_of(data_set)}/frames/1", Accept="image/*")
        assert single.body == expected[0]
        assert (await get(node, url, Accept="image/webp")).status == 406


async def test_a_frame_in_several_fragments_comes_in_one_piece(node: HttpNode) -> None:
    data_set = ct()
    data_set.compress(RLELossless, generate_instance_uid=False)
    (frame,) = generate_frames(data_set.PixelData, number_of_frames=1)
    half = len(frame) // 4 * 2
    items = (b"", frame[:half], frame[half:])
    data_set.PixelData = (
        b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    await store(node, encoded(data_set))
    ((_, content),) = await fetched(node, f"{INSTANCE}/frames/1", "*/*")
    assert content == frame


async def test_frames_come_in_the_order_they_are_asked_for(node: HttpNode) -> None:
    path = pydicom_file("rtdose.dcm")
    await store(node, path.read_bytes())
    url = f"{url_of(pydicom.dcmread(path))}/frames"
    frames = native_frames(path)
    for text, expected in (
        ("2,1", [frames[1], frames[0]]),
        ("3-5", frames[2:5]),
        ("1,14-15,1", [frames[0], frames[13], frames[14], frames[0]]),
        ("2%2C4", [frames[1], frames[3]]),
    ):
        parts = await fetched(node, f"{url}/{text}")
        assert [content for _, content in parts] == expected


async def test_faulty_requests_are_refused_as_the_standard_has_it(node: HttpNode) -> None:
    await store(node, encoded(ct()))
    for path, status in (
        ("/dicom-web/studies/1.2.3", 404),
        (f"{STUDY}/series/1.2.3", 404),
        (f"{SERIES}/instances/1.2.3", 404),
        (f"/dicom-web/studies/1.2.3/series/{uid(1, 1)}", 404),
        ("/dicom-web/studies/..%2F..%2Fetc", 400),
        (f"{INSTANCE}/frames/2", 404),
        (f"{INSTANCE}/frames/1,99999999999", 400),
        (f"{INSTANCE}/frames/0", 400),
        (f"{INSTANCE}/frames/1,", 400),
        (f"{INSTANCE}/frames/2-1", 400),
        (f"{INSTANCE}/frames/one", 400),
        (f"{INSTANCE}/frames/-1", 400),
    ):
        answer = await get(node, path)
        assert answer.status == status, path
        assert answer.error["message"]


async def test_the_parameter_accept_goes_before_the_header(node: HttpNode) -> None:
    """PS3.18 8.7.5: the header counts where the parameter names nothing there is."""
    content = encoded(ct())
    await store(node, content)
    single = await get(node, f"{INSTANCE}?accept=application/dicom", Accept=AS_STORED)
    assert single.body == content
    header = await get(node, f"{INSTANCE}?accept=image/png", Accept=AS_STORED)
    assert [part for _, part in header.parts] == [content]
    assert (await get(node, f"{INSTANCE}?accept=image/png", Accept="image/gif")).status == 406


async def test_what_cannot_be_had_in_a_form_is_406_and_says_which_forms_there_are(
    node: HttpNode,
) -> None:
    await store(node, encoded(ct()))
    for path in (STUDY, f"{INSTANCE}/frames/1"):
        answer = await get(node, path, Accept="text/plain")
        assert (answer.status, answer.error["code"]) == (406, "not-acceptable")
        assert "application/" in answer.error["message"]


async def test_an_instance_without_pixels_has_no_frames(node: HttpNode) -> None:
    report = ct()
    del report.PixelData
    await store(node, encoded(report))
    answer = await get(node, f"{INSTANCE}/frames/1")
    assert (answer.status, answer.error["code"]) == (404, "no-pixel-data")


async def test_a_data_set_that_came_bare_leaves_as_a_file(node: HttpNode) -> None:
    data_set = ct()
    body = encoded(data_set)
    bare = body[body.index(b"\x08\x00\x05\x00CS") :]  # Specific Character Set, its first element
    await store(node, bare)
    ((_, content),) = await fetched(node, INSTANCE, AS_STORED)
    assert content.endswith(bare)
    read = pydicom.dcmread(io.BytesIO(content))
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read == data_set


async def test_files_gone_or_cut_short_are_told_before_anything_is_sent(node: HttpNode) -> None:
    await store(node, *(encoded(ct(number)) for number in (1, 2)))
    victim = node.stored[0]
    victim.chmod(0o644)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-100])
    for gone in (False, True):
        if gone:
            victim.unlink()
        answer = await get(node, STUDY)
        assert (answer.status, answer.error["code"]) == (500, "corrupt")
        assert str(node.data_dir) not in answer.error["message"]


async def test_a_file_lost_on_the_way_breaks_the_answer_off(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(node, *(encoded(ct(number)) for number in (1, 2)))
    checked = node.services.retrieve.check

    def check_then_lose(instances: Any) -> None:
        instances = list(instances)
        checked(instances)
        digest = instances[1].blob.digest
        next(path for path in node.stored if path.name == digest).unlink()

    monkeypatch.setattr(node.services.retrieve, "check", check_then_lose)
    with pytest.raises(aiohttp.ClientPayloadError):  # begun well, and not ended
        await get(node, STUDY)
    assert (await get(node, "/health")).status == 200


async def test_a_client_that_goes_away_ends_its_answer(node: HttpNode) -> None:
    await store(node, *(encoded(ct(number, size=1024)) for number in range(1, 9)))
    open_before = descriptors()
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(f"GET {STUDY} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.transport.abort()
    await called(wait_until, lambda: descriptors() <= open_before, what="all is closed")
    assert len(await fetched(node, STUDY)) == 8


async def test_a_client_that_reads_slowly_gets_all_and_keeps_nobody_waiting(
    node: HttpNode,
) -> None:
    files = [encoded(ct(number, size=1024)) for number in range(1, 9)]
    await store(node, *files)
    async with AsyncExitStack() as stack:
        # More answers than there are threads wait for their clients meanwhile.
        asked = [node.client.get(STUDY, headers={"Accept": AS_STORED}) for _ in range(12)]
        answers = [await stack.enter_async_context(each) for each in asked]
        async with asyncio.timeout(10):
            assert (await get(node, INSTANCE)).status == 200
        for answer in answers:
            parts = parts_of(await answer.read(), answer.headers["Content-Type"])
            assert [content for _, content in parts] == files


async def test_http_1_0_clients_get_an_answer_that_ends_with_the_connection(
    node: HttpNode,
) -> None:
    packed = ct()
    packed.compress(RLELossless, generate_instance_uid=False)
    await store(node, encoded(packed))
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(f"GET {STUDY} HTTP/1.0\r\nHost: node\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    content_type = next(line for line in head.decode().split("\r\n") if "boundary=" in line)
    ((_, content),) = parts_of(body, content_type)
    assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == EXPLICIT


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, over odd files
@pytest.mark.skipif(not corpus.rows("ORACLE.csv"), reason="the real images are not here")
async def test_frames_of_real_images_equal_the_oracle(node: HttpNode) -> None:
    """One file for each transfer syntax and kind of pixels; colours that nobody converted."""
    manifest = {row["file"]: row for row in corpus.rows("MANIFEST.csv")}
    kinds = set()
    for row in corpus.rows("ORACLE.csv"):
        about = manifest[row["file"]]
        kind = (about["ts_uid"], about["photometric"], about["bits_allocated"])
        if not row["pixel_dtype"] or kind in kinds or about["photometric"].startswith("YBR_FULL"):
            continue
        if about["ts_uid"] in LOSSY or int(about["size"]) > 2 << 20:
            continue
        data_set = pydicom.dcmread(corpus.REAL_IMAGES / row["file"], stop_before_pixels=True)
        if "StudyInstanceUID" not in data_set or "SeriesInstanceUID" not in data_set:
            continue
        if data_set.get("PlanarConfiguration") == 1 or about["bits_allocated"] == "1":
            continue
        kinds.add(kind)
        await store(node, (corpus.REAL_IMAGES / row["file"]).read_bytes())
        path = f"{url_of(data_set)}/frames/1-{row['frames_decoded']}"
        parts = await fetched(node, path, 'multipart/related; type="application/octet-stream"')
        pixels = np.frombuffer(b"".join(content for _, content in parts), np.uint8)
        dtype = np.dtype(row["pixel_dtype"])
        samples = pixels.view(dtype.newbyteorder("<")).astype(dtype)
        found = hashlib.sha256(samples.tobytes()).hexdigest()
        assert found == row["pixel_sha256_pydicom_raw"], row["file"]
    assert len(kinds) > 10
