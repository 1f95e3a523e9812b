"""Rendered resources and thumbnails, read back by Pillow and held against the standard."""

import asyncio
import email
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from email.policy import HTTP
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.uid import MPEG2MPML, RLELossless

from hilum.index.database import Database
from tests import corpus
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

STUDY = f"/dicom-web/studies/{uid(1)}"
SERIES = f"{STUDY}/series/{uid(1, 1)}"
INSTANCE = f"{SERIES}/instances/{uid(1, 1, 1)}"


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


async def upload(node: HttpNode, *data_sets: FileDataset) -> None:
    files = []
    for number, data_set in enumerate(data_sets):
        buffer = io.BytesIO()
        data_set.save_as(buffer, enforce_file_format=True)
        files.append((str(number), buffer.getvalue()))
    answer = await node.upload(*files)
    assert all(file["success"] for file in (await answer.json())["files"])


def moving(frames: int, number: int = 1, **values: Any) -> FileDataset:
    """A film whose frame `i` is all of the modality value `i`."""
    data_set = ct(number, NumberOfFrames=frames, RescaleIntercept=0, **values)
    data_set.PixelData = np.repeat(np.arange(frames, dtype="<u2"), 64 * 64).tobytes()
    return data_set


#: Under this window a modality value of i is shown as shade i.
IDENTITY = "128,256,linear"


async def picture(
    node: HttpNode, path: str, accept: str = "image/png", **parameters: str
) -> NDArray[np.uint8]:
    answer = await node.client.get(path, params=parameters, headers={"Accept": accept})
    assert answer.status == 200, await answer.text()
    assert answer.content_type == accept
    return np.array(Image.open(io.BytesIO(await answer.read())))


async def parts(node: HttpNode, path: str, accept: str, **parameters: str) -> list[Any]:
    answer = await node.client.get(path, params=parameters, headers={"Accept": accept})
    assert answer.status == 200, await answer.text()
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + await answer.read(), policy=HTTP)
    return list(message.iter_parts())


def shade(part: Any) -> int:
    """The one shade of a picture that has but one."""
    (value,) = set(np.array(Image.open(io.BytesIO(part.get_payload(decode=True)))).flat)
    return int(value)


def linear(data_set: FileDataset, center: float, width: float) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2.1 as it is written, in float64."""
    x = data_set.pixel_array.astype(np.float64) + float(data_set.RescaleIntercept)
    y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.floor(np.clip(y, 0, 255) + 0.5).astype(np.uint8)


#: What a client accepts, and what it gets.
NEGOTIATED = (
    (None, "image/jpeg"),
    ("*/*", "image/jpeg"),
    ("image/*", "image/jpeg"),
    ("image/png", "image/png"),
    ("image/webp", "image/webp"),
    ("image/jpeg;q=0.5, image/png", "image/png"),
    ("text/html, image/webp, */*;q=0.1", "image/webp"),
)


async def test_the_client_chooses_the_format(node: HttpNode) -> None:
    data_set = ct()
    await upload(node, data_set)
    expected = linear(data_set, 40, 400).astype(int)
    for accept, kind in NEGOTIATED:
        for path in (f"{INSTANCE}/rendered", f"{INSTANCE}/frames/1/rendered"):
            headers = {"Accept": accept} if accept else {}
            answer = await node.client.get(path, headers=headers, skip_auto_headers=["Accept"])
            assert (answer.status, answer.content_type) == (200, kind), accept
            shown = Image.open(io.BytesIO(await answer.read()))
            assert shown.get_format_mimetype() == kind
            difference = np.abs(np.asarray(shown.convert("L")).astype(int) - expected)
            # Noise is the worst that can happen to a lossy format.
            assert np.median(difference) <= (0 if kind == "image/png" else 10)
            assert difference.max() <= (0 if kind == "image/png" else 120)


async def test_a_client_that_takes_no_picture_gets_406(node: HttpNode) -> None:
    await upload(node, ct())
    for accept in ("text/html", "application/dicom", "image/gif", "image/png;q=0"):
        for path in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/1"):
            for resource in ("rendered", "thumbnail"):
                answer = await node.client.get(f"{path}/{resource}", headers={"Accept": accept})
                assert answer.status == 406, (accept, path)


async def test_a_window_is_applied_by_the_function_named(node: HttpNode) -> None:
    data_set = ct()
    await upload(node, data_set)
    path = f"{INSTANCE}/rendered"
    shown = await picture(node, path, window="-100.5,1500,linear")
    np.testing.assert_array_equal(shown, linear(data_set, -100.5, 1500))
    x = data_set.pixel_array - 1024.0
    sigmoid = np.floor(255 / (1 + np.exp(-4 * (x - 40) / 400)) + 0.5)
    np.testing.assert_array_equal(await picture(node, path, window="40,400,sigmoid"), sigmoid)
    exact = np.floor(np.clip((x - 40) / 400 + 0.5, 0, 1) * 255 + 0.5)
    np.testing.assert_array_equal(await picture(node, path, window="40,400,linear-exact"), exact)


async def test_a_presentation_lut_shape_and_overlays_are_options(node: HttpNode) -> None:
    data_set = ct(PhotometricInterpretation="MONOCHROME1")
    for number, value in ((0x10, 2), (0x11, 8), (0x100, 1)):
        data_set.add_new((0x6000, number), "US", value)
    data_set.add_new((0x6000, 0x50), "SS", [1, 1])
    data_set.add_new((0x6000, 0x3000), "OW", bytes([0xFF, 0x0F]))
    await upload(node, data_set)
    path, upright = f"{INSTANCE}/rendered", linear(data_set, 40, 400)
    np.testing.assert_array_equal(await picture(node, path), 255 - upright)
    shown = await picture(node, path, presentation="identity")
    np.testing.assert_array_equal(shown, upright)
    drawn = await picture(node, path, presentation="identity", overlays="true")
    upright[0, :8] = upright[1, :4] = 255
    np.testing.assert_array_equal(drawn, upright)


async def test_quality_is_that_of_the_encoder(node: HttpNode) -> None:
    await upload(node, ct())
    sizes = []
    for quality in ("5", "50", "100"):
        answer = await node.client.get(f"{INSTANCE}/rendered", params={"quality": quality})
        sizes.append(len(await answer.read()))
    assert sizes[0] < sizes[1] < sizes[2]


MALFORMED = (
    "window=40",
    "window=40,400,cubic",
    "window=a,400,linear",
    "window=40,0.5,linear",
    "window=40,-1,sigmoid",
    "viewport=100",
    "viewport=0,10",
    "viewport=10,10,0,0,0,5",
    "viewport=10,10,-1,0,5,5",
    "viewport=10,10,60,60,10,10",
    "viewport=10.5,10",
    "viewport=65535,65535",
    "viewport=1,2,3,4,5,6,7",
    "quality=0",
    "quality=101",
    "quality=high",
    "annotation=everything",
    "overlays=perhaps",
    "presentation=lin-od",
    "iccprofile=cmyk",
    "quality=5&quality=6",
)


async def test_a_malformed_parameter_is_400(node: HttpNode) -> None:
    await upload(node, ct())
    for query in MALFORMED:
        answer = await node.client.get(f"{INSTANCE}/rendered?{query}")
        assert answer.status == 400, (query, await answer.text())


async def test_what_is_not_done_is_said(node: HttpNode) -> None:
    await upload(node, ct())
    path = f"{INSTANCE}/rendered"
    answer = await node.client.get(path, params={"annotation": "patient", "iccprofile": "yes"})
    assert answer.status == 200
    assert answer.headers["Warning"].startswith("299 ")
    assert "annotation and iccprofile" in answer.headers["Warning"]
    accept = {"Accept": 'multipart/related; type="image/jpeg"'}
    several = f"{INSTANCE}/frames/1,1/rendered"
    answer = await node.client.get(several, params={"annotation": "patient"}, headers=accept)
    await answer.read()
    assert "annotation" in answer.headers["Warning"]
    answer = await node.client.get(path, params={"iccprofile": "no"})
    assert "Warning" not in answer.headers


async def test_a_viewport_cuts_mirrors_and_fills(node: HttpNode) -> None:
    data_set = ct(WindowCenter=1024)
    cells = np.kron(np.array([[0, 1000], [2000, 3000]], "<u2"), np.ones((32, 32), "<u2"))
    data_set.PixelData, data_set.RescaleIntercept = cells.tobytes(), 0
    await upload(node, data_set)
    window = {"window": "1500,3001,linear"}
    shades = [0, 85, 170, 255]

    async def shown(viewport: str) -> NDArray[np.uint8]:
        return await picture(node, f"{INSTANCE}/rendered", viewport=viewport, **window)

    whole = await shown("128,256")
    assert whole.shape == (128, 128)
    corners = whole[8, 8], whole[8, -8], whole[-8, 8], whole[-8, -8]
    assert list(corners) == shades
    quarter = await shown("100,50,32,0,32,32")
    assert quarter.shape == (50, 50)
    assert set(quarter.flat) == {85}
    mirrored = await shown("64,64,0,0,-64,64")
    np.testing.assert_array_equal(mirrored, (await shown("64,64"))[:, ::-1])
    rotated = await shown("64,64,,,-64,-64")
    np.testing.assert_array_equal(rotated, (await shown("64,64"))[::-1, ::-1])
    assert (await shown("10,64,0,0,64,32")).shape == (5, 10)


async def test_pixels_that_are_not_square_fill_a_viewport_undistorted(node: HttpNode) -> None:
    await upload(node, ct(PixelSpacing=[2, 1]))
    path = f"{INSTANCE}/rendered"
    assert (await picture(node, path)).shape == (64, 64)
    assert (await picture(node, path, viewport="64,64")).shape == (64, 32)
    assert (await picture(node, f"{INSTANCE}/thumbnail")).shape == (256, 128)


async def test_frames_are_counted_from_one(node: HttpNode) -> None:
    await upload(node, moving(5))
    path = f"{INSTANCE}/frames"
    for number in (1, 5):
        shown = await picture(node, f"{path}/{number}/rendered", window=IDENTITY)
        assert set(shown.flat) == {number - 1}
    assert set((await picture(node, f"{INSTANCE}/rendered", window=IDENTITY)).flat) == {0}
    thumbnail = await picture(node, f"{INSTANCE}/thumbnail", window=IDENTITY)
    assert set(thumbnail.flat) == {2}
    assert max(thumbnail.shape) == 256
    for wrong, status in (("6", 404), ("0", 400), ("1,x", 400), ("1-3", 400)):
        answer = await node.client.get(f"{path}/{wrong}/rendered", headers={"Accept": "*/*"})
        assert answer.status == status, wrong


async def test_several_frames_come_as_parts_in_the_order_asked_for(node: HttpNode) -> None:
    await upload(node, moving(12))
    path = f"{INSTANCE}/frames/9,2,9,12/rendered"
    accept = 'multipart/related; type="image/png"'
    found = await parts(node, path, accept, window=IDENTITY)
    assert [shade(part) for part in found] == [8, 1, 8, 11]
    assert {part.get_content_type() for part in found} == {"image/png"}
    assert found[0]["Content-Location"].endswith(f"{INSTANCE}/frames/9/rendered")
    # Any form will do: then several pictures come as parts, and JPEG is the default.
    assert [part.get_content_type() for part in await parts(node, path, "*/*")] == [
        "image/jpeg"
    ] * 4
    # So they do to a client that names the media type of one picture alone.
    answer = await node.client.get(path, headers={"Accept": "image/webp"})
    assert answer.headers["Content-Type"].startswith('multipart/related; type="image/webp"')
    await answer.read()
    answer = await node.client.get(path, headers={"Accept": "text/html"})
    assert answer.status == 406
    answer = await node.client.get(f"{INSTANCE}/frames/1,13/rendered", headers={"Accept": accept})
    assert answer.status == 404


async def test_a_series_has_one_picture_or_all(node: HttpNode) -> None:
    flat = [moving(1, number) for number in (1, 2, 3)]
    for number, data_set in enumerate(flat, 1):
        data_set.PixelData = np.full((64, 64), 10 * number, "<u2").tobytes()
    other = moving(2, 9, series=2, SeriesNumber=2)
    report = ct(4)
    del report.PixelData
    await upload(node, *flat, other, report)
    assert set((await picture(node, f"{SERIES}/rendered", window=IDENTITY)).flat) == {20}
    assert set((await picture(node, f"{SERIES}/thumbnail", window=IDENTITY)).flat) == {20}
    accept = 'multipart/related; type="image/png"'
    found = await parts(node, f"{SERIES}/rendered", accept, window=IDENTITY)
    assert [shade(part) for part in found] == [10, 20, 30]
    found = await parts(node, f"{STUDY}/rendered", accept, window=IDENTITY)
    assert [shade(part) for part in found] == [10, 20, 30, 0, 1]
    assert (await picture(node, f"{STUDY}/thumbnail", viewport="100,50")).shape == (50, 50)


async def test_what_cannot_be_drawn_is_a_clear_refusal(node: HttpNode) -> None:
    report = ct(1)
    del report.PixelData
    film = ct(2, series=2)
    film.file_meta.TransferSyntaxUID = MPEG2MPML
    film.PixelData = (
        b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\0\0\x01\xb3\xfe\xff\xdd\xe0\0\0\0\0"
    )
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    await upload(node, report, film)
    answer = await node.client.get(f"{INSTANCE}/rendered")
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "no-pixel-data"
    answer = await node.client.get(f"{STUDY}/series/{uid(1, 2)}/rendered")
    assert answer.status == 415
    assert "MPEG2" in (await answer.json())["error"]["message"]
    for path in (f"{STUDY}1", f"{STUDY}/series/1.2.3", f"{SERIES}/instances/1.2"):
        assert (await node.client.get(f"{path}/rendered")).status == 404
        assert (await node.client.get(f"{path}/thumbnail")).status == 404
    assert (await node.client.get(f"/dicom-web/studies/{65 * chr(49)}/rendered")).status == 400


async def test_an_etag_tells_renderings_apart(node: HttpNode) -> None:
    await upload(node, ct())
    path = f"{INSTANCE}/rendered"
    first = await node.client.get(path)
    tag = first.headers["ETag"]
    again = await node.client.get(path, headers={"If-None-Match": tag})
    assert (again.status, again.headers["ETag"]) == (304, tag)
    for change in ({"quality": "3"}, {"window": "1,2,linear"}, {"viewport": "9,9"}):
        answer = await node.client.get(path, params=change, headers={"If-None-Match": tag})
        assert (answer.status, answer.headers["ETag"] == tag) == (200, False)
    other = await node.client.get(path, headers={"If-None-Match": tag, "Accept": "image/png"})
    assert other.status == 200


async def test_a_range_is_a_part_of_the_picture(node: HttpNode) -> None:
    await upload(node, ct())
    whole = await (await node.client.get(f"{INSTANCE}/rendered")).read()
    answer = await node.client.get(f"{INSTANCE}/rendered", headers={"Range": "bytes=5-24"})
    assert (answer.status, await answer.read()) == (206, whole[5:25])


async def test_compressed_frames_are_drawn_alike(node: HttpNode) -> None:
    data_set = ct()
    expected = linear(data_set, 40, 400)
    data_set.compress(RLELossless, generate_instance_uid=False)
    await upload(node, data_set)
    np.testing.assert_array_equal(await picture(node, f"{INSTANCE}/rendered"), expected)


async def test_pixels_are_those_of_the_oracle(node: HttpNode) -> None:
    """Orthanc drew these through the very same parameters."""
    rows = corpus.rows("RENDER_ORACLE.csv")
    if not rows:
        pytest.skip("the real images are not here")
    kinds = {row["file"]: row for row in corpus.rows("MANIFEST.csv")}
    checked = 0
    for row in rows[::4]:
        if kinds[row["file"]]["same_uid_in_set"] != "1":
            continue
        answer = await node.upload(("a", (corpus.REAL_IMAGES / row["file"]).read_bytes()))
        if answer.status != 200:
            continue  # without identifiers
        data = (await answer.json())["data"]
        path = (
            f"/dicom-web/studies/{data['studyInstanceUID']}/series/{data['seriesInstanceUID']}"
            f"/instances/{data['sopInstanceUID']}/frames/{row['frame']}/rendered"
        )
        window = f"{row['window_center']},{row['window_width']},linear"
        shown = await picture(node, path, window=window)
        assert hashlib.sha256(shown.tobytes()).hexdigest() == row["sha256_gray8"], row
        checked += 1
    assert checked > 10


async def test_dicomweb_client_gets_pictures(node: HttpNode) -> None:
    await upload(node, moving(5))
    client = DICOMwebClient(f"http://127.0.0.1:{node.port}/dicom-web")
    place, png = (uid(1), uid(1, 1), uid(1, 1, 1)), {"media_types": ("image/png",)}
    window = {"params": {"window": IDENTITY}}

    async def shades(function: Callable[..., bytes], *arguments: Any, **options: Any) -> set[int]:
        picture = await asyncio.to_thread(function, *arguments, **options)
        return set(np.array(Image.open(io.BytesIO(picture))).flat)

    assert await shades(client.retrieve_instance_rendered, *place, **png, **window) == {0}
    frame = client.retrieve_instance_frames_rendered
    assert await shades(frame, *place, [4], **png, **window) == {3}
    assert await shades(client.retrieve_series_rendered, *place[:2], **png, **window) == {2}
    # Without media types it takes what comes.
    jpeg = await asyncio.to_thread(client.retrieve_instance_rendered, *place)
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG"
    assert b"image/png" in await asyncio.to_thread(frame, *place, [1, 2], **png)
