"""A node of two workers that may delete: stored over the web, found by dcmtk, deleted, gone."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests import dcmtk
from tests.contract.spooling import sha256sum
from tests.generated import ct_files, uid
from tests.nodes import RunningNode

Launch = Callable[..., RunningNode]
FILES = 4


def ask(node: RunningNode, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    request = urllib.request.Request(node.http_url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def related(paths: list[Path]) -> bytes:
    parts = (b"--b\r\n\r\n" + path.read_bytes() + b"\r\n" for path in paths)
    return b"".join(parts) + b"--b--\r\n"


def found(node: RunningNode) -> set[str]:
    """SOP Instance UIDs that findscu finds in the study."""
    keys = (
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={uid(1)}",
        f"SeriesInstanceUID={uid(1, 1)}",
        "SOPInstanceUID",
    )
    options = [option for key in keys for option in ("-k", key)]
    output = dcmtk.run("findscu", "-S", *node.peer, *options).output
    return set(re.findall(r"\(0008,0018\) UI \[([\d.]+)", output))


def stored(node: RunningNode) -> dict[str, str]:
    """Names and SHA-256 of the files in the store."""
    files = (node.data_dir / "objects").glob("??/??/*")
    return {path.name: sha256sum(path) for path in files}


def test_what_is_stored_over_the_web_is_found_and_what_is_deleted_is_gone(
    launch: Launch, tmp_path: Path
) -> None:
    node = launch(HILUM_WORKERS="2", HILUM_HTTP_ALLOW_DELETE="true")
    paths = ct_files(tmp_path / "in", FILES)
    uids = {uid(1, 1, number) for number in range(1, FILES + 1)}
    study = f"/dicom-web/studies/{uid(1)}"
    status, body = ask(node, "POST", study, related(paths))
    assert status == 200
    told = {item["00081155"]["Value"][0] for item in json.loads(body)["00081199"]["Value"]}
    assert told == found(node) == uids
    assert stored(node) == {sha256sum(path): sha256sum(path) for path in paths}
    frame = f"/api/dicom/studies/{uid(1)}/frames/0"
    # Of either worker, as each new connection may go to the other.
    assert {ask(node, "GET", frame)[0] for _ in range(20)} == {200}
    assert ask(node, "DELETE", study)[0] == 204
    assert {ask(node, "GET", frame)[0] for _ in range(20)} == {404}
    assert (found(node), stored(node), ask(node, "DELETE", study)[0]) == (set(), {}, 404)
