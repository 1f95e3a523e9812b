"""Every image of the corpus over HTTP: equal to the oracle, or a picture, or a clear answer."""

import hashlib
import io
import json
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.corpus import REAL_IMAGES, all_files, rows
from tests.nodes import RunningNode

pytestmark = pytest.mark.timeout(300)


def upload(node: RunningNode, path: Path) -> tuple[int, dict[str, Any]]:
    """POST a file as a browser does; return the status and the answer."""
    boundary = "0123456789abcdef"
    body = (
        (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="image.dcm"\r\n\r\n'
        ).encode()
        + path.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    request = urllib.request.Request(
        f"{node.http_url}/api/dicom/upload",
        body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    return answered(request)


def answered(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def place_of(node: RunningNode, study: str, instance: str) -> int:
    """Return the index in its study of the first frame of an instance."""
    found = node.get_json(f"/api/dicom/studies/{study}")["data"]
    return next(
        each["firstFrame"]
        for series in found["series"]
        for each in series["instances"]
        if each["sopInstanceUID"] == instance
    )


def show(node: RunningNode, stored: dict[str, Any], query: str = "") -> Image.Image:
    """GET the first frame of what was just uploaded."""
    study, instance = stored["data"]["studyInstanceUID"], stored["data"]["sopInstanceUID"]
    place = place_of(node, study, instance)
    return Image.open(io.BytesIO(node.get(f"/api/dicom/studies/{study}/frames/{place}{query}")))


def shown_or_told(node: RunningNode, stored: dict[str, Any]) -> str:
    """Return ``picture``, or the code of the client error that is the answer."""
    try:
        picture = show(node, stored)
    except urllib.error.HTTPError as refusal:
        told = json.load(refusal)["error"]
        if not 400 <= refusal.code < 500 or not told["message"]:
            raise
        return str(told["code"])
    assert picture.mode in {"L", "RGB"}
    return "picture"


def test_every_row_of_the_rendering_oracle(shared_node: RunningNode) -> None:
    if not rows("RENDER_ORACLE.csv"):
        pytest.skip("the real images are not beside this clone")
    wrong = []
    for row in rows("RENDER_ORACLE.csv"):
        status, stored = upload(shared_node, REAL_IMAGES / row["file"])
        assert status == 200, (row["file"], stored)
        window = f"?center={row['window_center']}&width={row['window_width']}"
        picture = np.asarray(show(shared_node, stored, window))
        if hashlib.sha256(picture.tobytes()).hexdigest() != row["sha256_gray8"]:
            wrong.append(row["file"])
    assert wrong == []


def test_every_file_gets_a_picture_or_a_clear_answer(shared_node: RunningNode) -> None:
    outcomes: Counter[str] = Counter()
    for path in all_files():
        status, stored = upload(shared_node, path)
        if status != 200:
            assert 400 <= status < 500, (path, stored)
            assert stored["error"]["message"]
            outcomes["refused"] += 1
            continue
        outcomes[shown_or_told(shared_node, stored)] += 1
    assert outcomes["picture"] > 0.7 * outcomes.total(), outcomes
