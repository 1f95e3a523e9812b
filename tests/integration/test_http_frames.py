"""Frames as PNG, read back by Pillow and held against what other programs draw."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from hilum.index.database import Database
from tests import corpus
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

FRAMES = f"/api/dicom/studies/{uid(1)}/frames"


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def encoded(data_set: FileDataset) -> bytes:
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def upload(node: HttpNode, *data_sets: FileDataset) -> None:
    files = [(str(n), encoded(data_set)) for n, data_set in enumerate(data_sets)]
    answer = await node.upload(*files)
    assert all(file["success"] for file in (await answer.json())["files"])


async def picture(node: HttpNode, path: str, **parameters: str) -> NDArray[np.uint8]:
    answer = await node.client.get(path, params=parameters)
    assert answer.status == 200, await answer.text()
    assert answer.content_type == "image/png"
    return np.array(Image.open(io.BytesIO(await answer.read())))


def linear(data_set: FileDataset, center: float, width: float) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2 as it is written, in float64."""
    x = data_set.pixel_array.astype(np.float64) + float(data_set.RescaleIntercept)
    y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.floor(np.clip(y, 0, 255) + 0.5).astype(np.uint8)


async def test_a_frame_is_windowed_as_the_file_or_the_client_says(node: HttpNode) -> None:
    data_set = ct()
    await upload(node, data_set)
    own = linear(data_set, 40, 400)
    assert np.array_equal(await picture(node, f"{FRAMES}/0"), own)
    assert np.array_equal(await picture(node, f"{FRAMES}/0", invert="true"), 255 - own)
    asked = await picture(node, f"{FRAMES}/0", center="-100.5", width="1500")
    assert np.array_equal(asked, linear(data_set, -100.5, 1500))
    assert (await picture(node, f"{FRAMES}/0", size="32")).shape == (32, 32)


async def test_a_client_chooses_among_the_files_windows_and_functions(node: HttpNode) -> None:
    data_set = ct(WindowCenter=[40, 300], WindowWidth=[400, 1500])
    await upload(node, data_set)
    path = f"{FRAMES}/0"
    assert np.array_equal(await picture(node, path, windowIndex="1"), linear(data_set, 300, 1500))
    answer = await node.client.get(path, params={"windowIndex": "2"})
    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid-rendering")
    x = data_set.pixel_array - 1024.0
    sigmoid = np.floor(255 / (1 + np.exp(-4 * (x - 40) / 400)) + 0.5)
    assert np.array_equal(await picture(node, path, function="SIGMOID"), sigmoid)
    assert (await node.client.get(path, params={"function": "CUBIC"})).status == 400


async def test_stored_values_come_in_16_bits(node: HttpNode) -> None:
    data_set = ct()
    await upload(node, data_set)
    answer = await node.client.get(f"{FRAMES}/0", params={"values": "stored"})
    image = Image.open(io.BytesIO(await answer.read()))
    assert np.array_equal(np.array(image), data_set.pixel_array)
    assert image.text["Rescale Intercept"] == "-1024.0"  # type: ignore[attr-defined]
    answer = await node.client.get(f"{FRAMES}/0", params={"values": "modality"})
    assert answer.status == 400


async def test_pixels_are_those_of_the_oracle(node: HttpNode) -> None:
    rows = corpus.rows("RENDER_ORACLE.csv")
    if not rows:
        pytest.skip("the real images are not here")
    kinds = {row["file"]: row for row in corpus.rows("MANIFEST.csv")}
    native = [row for row in rows if kinds[row["file"]]["same_uid_in_set"] == "1"][:40]
    uids: set[str] = set()
    checked = 0
    for row in native:
        answer = await node.upload(("a", (corpus.REAL_IMAGES / row["file"]).read_bytes()))
        study = (await answer.json())["data"]["studyInstanceUID"]
        if study in uids:
            continue  # then the study's first frame need not be this file's
        uids.add(study)
        window = {"center": row["window_center"], "width": row["window_width"]}
        if float(row["window_width"]) < 1:
            continue
        answer = await node.client.get(f"/api/dicom/studies/{study}/frames/0", params=window)
        if answer.status == 415:
            continue  # a transfer syntax that this node does not decode
        pixels = np.array(Image.open(io.BytesIO(await answer.read())))
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["sha256_gray8"], row
        checked += 1
    assert checked > 10


async def test_frames_are_counted_over_all_series_in_order(node: HttpNode) -> None:
    single = ct(2)
    moving = ct(2, NumberOfFrames=2)
    moving.PixelData = single.PixelData + bytes(len(single.PixelData))
    last = ct(1, series=2, SeriesNumber=2)
    await upload(node, last, moving, ct(1))
    shown = [await picture(node, f"{FRAMES}/{index}") for index in range(4)]
    assert np.array_equal(shown[0], linear(ct(1), 40, 400))
    assert np.array_equal(shown[1], linear(single, 40, 400))
    assert not shown[2].any()
    answer = await node.client.get(f"{FRAMES}/2")
    assert answer.headers["X-SOP-Instance-UID"] == moving.SOPInstanceUID
    assert np.array_equal(shown[3], linear(last, 40, 400))
    answer = await node.client.get(f"{FRAMES}/4")
    assert (answer.status, (await answer.json())["error"]["code"]) == (404, "not-found")


async def test_compressed_frames_come_from_helper_processes(node: HttpNode) -> None:
    data_set = ct()
    expected = linear(data_set, 40, 400)
    data_set.compress(RLELossless, generate_instance_uid=False)
    await upload(node, data_set)
    shown = await asyncio.gather(*(picture(node, f"{FRAMES}/0", v=str(n)) for n in range(4)))
    assert all(np.array_equal(one, expected) for one in shown)


async def test_an_etag_spares_the_drawing_until_something_changes(node: HttpNode) -> None:
    await upload(node, ct())
    answer = await node.client.get(f"{FRAMES}/0")
    etag = answer.headers["ETag"]
    assert etag.startswith('"')
    assert answer.headers["Cache-Control"] == "private, no-cache"
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        again = await node.client.get(f"{FRAMES}/0", headers={"If-None-Match": known})
        assert (again.status, again.headers["ETag"], await again.read()) == (304, etag, b"")
        assert again.headers["X-SOP-Instance-UID"] == ct().SOPInstanceUID
    headers = {"If-None-Match": etag}
    assert (await node.client.get(f"{FRAMES}/0?size=32", headers=headers)).status == 200
    await upload(node, ct(RescaleIntercept=0))  # another version of the same instance
    changed = await node.client.get(f"{FRAMES}/0", headers=headers)
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


async def test_head_answers_like_get_without_the_picture(node: HttpNode) -> None:
    await upload(node, ct())
    answer = await node.client.head(f"{FRAMES}/0")
    assert (answer.status, await answer.read()) == (200, b"")
    assert answer.headers["ETag"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"{FRAMES}/0?center=40", 400, "center and width go together"),
        (f"{FRAMES}/0?center=40&width=nan", 400, "width must be a number"),
        (f"{FRAMES}/0?size=1", 400, "size must be a whole number from 16 to 8192"),
        (f"{FRAMES}/first", 400, "index must be a whole number"),
        (f"{FRAMES}/-1", 400, "index must be a whole number"),
        (f"{FRAMES}/1", 404, "has 1 frames"),
        ("/api/dicom/studies/1.2.3/frames/0", 404, "1.2.3"),
    ],
)
async def test_faulty_requests_say_what_is_wrong(
    node: HttpNode, path: str, status: int, words: str
) -> None:
    await upload(node, ct())
    answer = await node.client.get(path)
    body = await answer.json()
    assert (answer.status, body["success"]) == (status, False)
    assert words in body["error"]["message"]


async def test_a_study_without_pictures_is_404_with_the_reason(node: HttpNode) -> None:
    report = ct()
    del report.PixelData
    await upload(node, report)
    answer = await node.client.get(f"{FRAMES}/0")
    error = (await answer.json())["error"]
    assert answer.status == 404
    assert error == {"code": "no-pixel-data", "message": f"study {uid(1)} has no pixel data"}


async def test_damaged_pixels_name_the_instance(node: HttpNode) -> None:
    data_set = ct()
    data_set.compress(RLELossless, generate_instance_uid=False)
    content = bytearray(encoded(data_set))
    at = content.rindex(b"\xfe\xff\x00\xe0")  # the item that is the frame
    content[at + 8 : at + 72] = b"\xff" * 64  # its RLE header (PS3.5 G.5)
    await node.upload(("a", bytes(content)))
    answer = await node.client.get(f"{FRAMES}/0")
    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (415, "undecodable")
    assert uid(1, 1, 1) in error["message"]


async def test_a_codec_that_is_not_there_is_415_and_names_the_instance(node: HttpNode) -> None:
    data_set = ct()
    data_set.compress(RLELossless, generate_instance_uid=False)
    data_set.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    await upload(node, data_set)
    answer = await node.client.get(f"{FRAMES}/0")
    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (415, "unsupported")
    assert uid(1, 1, 1) in error["message"]


async def test_a_file_gone_from_the_store_is_an_error_without_internals(node: HttpNode) -> None:
    await upload(node, ct())
    (stored,) = node.stored
    stored.unlink()
    answer = await node.client.get(f"{FRAMES}/0")
    text = await answer.text()
    assert answer.status in (404, 500)
    assert str(node.data_dir) not in text
    assert "Traceback" not in text
