"""WADO-URI: by a client of its own, and against what numpy makes of the same pixels."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomtrolley.core import InstanceReference
from dicomtrolley.wado_uri import WadoURI
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from hilum.index.database import Database
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_stow import encoded

NAMES = ("studyUID", "seriesUID", "objectUID")
INSTANCE = {
    "requestType": "WADO",
    **dict(zip(NAMES, (uid(1), uid(1, 1), uid(1, 1, 1)), strict=True)),
}


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


async def get(node: HttpNode, accept: str = "*/*", **parameters: str) -> tuple[int, str, bytes]:
    query = {**INSTANCE, **parameters}
    async with node.client.get("/wado", params=query, headers={"Accept": accept}) as answer:
        return answer.status, answer.content_type, await answer.read()


async def pixels(node: HttpNode, **parameters: str) -> NDArray[np.uint8]:
    status, kind, content = await get(node, contentType="image/png", **parameters)
    assert (status, kind) == (200, "image/png"), content
    return np.array(Image.open(io.BytesIO(content)))


def moving(frames: int = 3) -> FileDataset:
    data_set = ct(NumberOfFrames=frames, RescaleIntercept=0)
    noise = np.random.default_rng(7).integers(0, 4096, (frames, 64, 64), "<u2")
    data_set.PixelData = noise.tobytes()
    return data_set


def windowed(values: NDArray[np.uint16], center: float, width: float) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2.1, in plain float64."""
    shade = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.floor(np.clip(shade, 0, 255) + 0.5).astype(np.uint8)


async def test_dicomtrolley_downloads_instances(node: HttpNode) -> None:
    originals = [ct(number) for number in (1, 2)]
    await node.upload(*(("a", encoded(each)) for each in originals))
    client = WadoURI(requests.Session(), f"http://127.0.0.1:{node.port}/wado")
    wanted = [
        InstanceReference(study_uid=uid(1), series_uid=uid(1, 1), instance_uid=uid(1, 1, number))
        for number in (1, 2)
    ]
    found = await asyncio.to_thread(lambda: list(client.datasets(wanted)))
    assert found == originals


async def test_the_file_comes_as_it_is_stored_or_in_the_syntax_asked_for(node: HttpNode) -> None:
    packed = ct()
    values = packed.pixel_array.copy()
    packed.compress(RLELossless, generate_instance_uid=False)
    await node.upload(("a", encoded(packed)))
    for asked, expected in (
        ({}, ExplicitVRLittleEndian),
        ({"transferSyntax": RLELossless}, RLELossless),
        ({"transferSyntax": "*"}, RLELossless),
        ({"transferSyntax": ImplicitVRLittleEndian}, ImplicitVRLittleEndian),
    ):
        status, kind, content = await get(node, contentType="application/dicom", **asked)
        assert (status, kind) == (200, "application/dicom")
        found = pydicom.dcmread(io.BytesIO(content))
        assert found.file_meta.TransferSyntaxUID == expected
        assert np.array_equal(found.pixel_array, values)
        assert expected != RLELossless or content == encoded(packed)
    asked = {"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.102"}
    assert (await get(node, **asked))[0] == 406


async def test_a_frame_in_a_window(node: HttpNode) -> None:
    original = moving()
    await node.upload(("a", encoded(original)))
    frames = original.pixel_array
    window = {"windowCenter": "2000", "windowWidth": "1500"}
    for number in (1, 2, 3):
        found = await pixels(node, frameNumber=str(number), **window)
        assert np.array_equal(found, windowed(frames[number - 1], 2000, 1500))
    assert np.array_equal(await pixels(node, **window), windowed(frames[0], 2000, 1500))
    assert (await get(node, frameNumber="4"))[0] == 404


async def test_a_region_and_a_size(node: HttpNode) -> None:
    await node.upload(("a", encoded(ct())))
    whole = await pixels(node)
    assert np.array_equal(await pixels(node, region="0.25,0.5,0.75,1"), whole[32:, 16:48])
    assert (await pixels(node, rows="16", columns="16")).shape == (16, 16)
    # As large as fits: 64 by 32 pixels into 32 by 32.
    assert (await pixels(node, region="0,0,1,0.5", rows="32", columns="32")).shape == (16, 32)
    # A side that is not given follows from the other.
    assert (await pixels(node, rows="100")).shape == (100, 100)
    assert (await pixels(node, columns="10")).shape == (10, 10)


async def test_media_types(node: HttpNode) -> None:
    report = ct(2)
    del report.PixelData
    await node.upload(("a", encoded(ct())), ("b", encoded(report)))
    assert (await get(node))[1] == "image/jpeg"
    assert (await get(node, accept="image/png"))[1] == "image/png"
    assert (await get(node, accept="image/png", contentType="image/jpeg"))[1] == "image/jpeg"
    kinds = "text/html, image/png;q=0.5, application/dicom;q=0.4"
    assert (await get(node, contentType=kinds))[1] == "image/png"
    assert (await get(node, contentType="text/html"))[0] == 406
    assert (await get(node, objectUID=uid(1, 1, 2)))[:2] == (200, "application/dicom")
    assert (await get(node, objectUID=uid(1, 1, 2), contentType="image/jpeg"))[0] == 406
    sizes = [len((await get(node, imageQuality=quality))[2]) for quality in ("5", "95")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"requestType": "wado"}, 400),
        ({"requestType": ""}, 400),
        ({"objectUID": ""}, 400),
        ({"objectUID": "a b"}, 400),
        ({"objectUID": uid("none")}, 404),
        ({"seriesUID": uid("none")}, 404),
        ({"studyUID": uid("none")}, 404),
        ({"anonymize": "yes"}, 501),
        ({"frameNumber": "0"}, 400),
        ({"windowCenter": "40"}, 400),
        ({"windowCenter": "40", "windowWidth": "0"}, 400),
        ({"rows": "0"}, 400),
        ({"rows": "100000"}, 400),
        ({"region": "0,0,1"}, 400),
        ({"region": "0,0,1,1.5"}, 400),
        ({"region": "0.5,0,0.5,1"}, 400),
        ({"imageQuality": "101"}, 400),
        ({"charset": "utf-8"}, 200),
    ],
)
async def test_what_is_asked_for_must_make_sense(
    node: HttpNode, parameters: dict[str, str], status: int
) -> None:
    await node.upload(("a", encoded(ct())))
    assert (await get(node, **parameters))[0] == status


async def test_what_is_ignored_is_said_to_be_and_a_picture_kept_is_304(node: HttpNode) -> None:
    await node.upload(("a", encoded(ct())))
    query = {**INSTANCE, "annotation": "patient", "presentationUID": "1.2"}
    answer = await node.client.get("/wado", params=query)
    assert "annotation and presentationUID" in answer.headers["Warning"]
    headers = {"If-None-Match": answer.headers["ETag"]}
    assert (await node.client.get("/wado", params=query, headers=headers)).status == 304
