"""WADO-RS over a real node, by the clients that people use and by plain HTTP."""

import asyncio
import csv
import hashlib
import io
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
import pytest
import requests
from dicomtrolley.core import InstanceReference, SeriesReference, StudyReference
from dicomtrolley.wado_rs import WadoRS
from dicomweb_client import DICOMwebClient
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from hilum.index.database import Database
from tests import corpus
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node

T = TypeVar("T")
STUDY = f"/dicom-web/studies/{uid(1)}"
SERIES = f"{STUDY}/series/{uid(1, 1)}"
INSTANCE = f"{SERIES}/instances/{uid(1, 1, 1)}"
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


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


def dicomweb(node: HttpNode) -> DICOMwebClient:
    return DICOMwebClient(f"http://127.0.0.1:{node.port}/dicom-web")


def identifiers(data_set: pydicom.Dataset) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


def parts_of(body: bytes, content_type: str) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and content of the parts, by the rules of RFC 2046 and nothing of ours."""
    boundary = content_type.split("boundary=")[1].split(";")[0].strip('"').encode()
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
    answer = await node.client.get(path, headers={"Accept": accept} if accept else {})
    body = await answer.read()
    assert answer.status == 200, body
    return parts_of(body, answer.headers["Content-Type"])


async def test_a_study_comes_back_byte_by_byte_and_says_what_its_parts_are(node: HttpNode) -> None:
    files = [encoded(ct(number)) for number in (1, 2, 3)]
    await store(node, *files)
    answer = await node.client.get(STUDY, headers=AS_STORED)
    body = await answer.read()
    assert int(answer.headers["Content-Length"]) == len(body)
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    parts = parts_of(body, answer.headers["Content-Type"])
    assert [content for _, content in parts] == files
    base = f"http://127.0.0.1:{node.port}{SERIES}/instances"
    for number, (headers, content) in enumerate(parts, 1):
        assert headers["Content-Type"] == f"application/dicom; transfer-syntax={1.2}.840.10008.1.2.1"
        assert headers["Content-Location"] == f"{base}/{uid(1, 1, number)}"
        assert int(headers["Content-Length"]) == len(content)
