"""Real nodes: stored over the web, found by dcmtk, deleted, had back, deleted for good."""

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import dcmtk
from tests.contract.spooling import sha256sum
from tests.generated import ct_files, uid
from tests.nodes import RunningNode, wait_until

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


def trashed(node: RunningNode) -> dict[str, str]:
    """Names and SHA-256 of the files in the trash."""
    return {path.name: sha256sum(path) for path in (node.data_dir / "trash").glob("*/*")}


def test_what_is_deleted_is_gone_until_it_is_had_back(launch: Launch, tmp_path: Path) -> None:
    node = launch(HILUM_WORKERS="2")
    paths = ct_files(tmp_path / "in", FILES)
    uids = {uid(1, 1, number) for number in range(1, FILES + 1)}
    files = {sha256sum(path): sha256sum(path) for path in paths}
    study = f"/dicom-web/studies/{uid(1)}"
    status, body = ask(node, "POST", study, related(paths))
    assert status == 200
    told = {item["00081155"]["Value"][0] for item in json.loads(body)["00081199"]["Value"]}
    assert told == found(node) == uids
    assert stored(node) == files
    frame = f"/api/dicom/studies/{uid(1)}/frames/0"
    # Of either worker, as each new connection may go to the other.
    assert {ask(node, "GET", frame)[0] for _ in range(20)} == {200}
    assert ask(node, "DELETE", study)[0] == 204
    assert {ask(node, "GET", frame)[0] for _ in range(20)} == {404}
    assert (found(node), stored(node), trashed(node)) == (set(), {}, files)
    assert ask(node, "DELETE", study)[0] == 404
    (entry,) = node.get_json("/api/trash")["data"]
    assert (entry["state"], entry["by"], entry["instanceCount"]) == ("kept", "127.0.0.1", FILES)
    assert ask(node, "POST", f"/api/trash/{entry['id']}/restore")[0] == 200
    assert (found(node), stored(node), trashed(node)) == (uids, files, {})
    answers = {ask(node, "GET", f"/dicom-web/studies?StudyInstanceUID={uid(1)}")[0] for _ in "12"}
    assert answers == {200}
    assert {ask(node, "GET", frame)[0] for _ in range(20)} == {200}

    def told() -> Counter[str]:
        events = node.get_json("/api/events?since=0&limit=1000")["data"]
        return Counter(event["kind"] for event in events)

    # It came, it went with series, study and patient, it came again.
    expected = {"new-instance": 2 * FILES, "deleted": FILES + 3, "new-study": 2}
    wait_until(lambda: {kind: told()[kind] for kind in expected} == expected)


def test_the_collector_deletes_for_good_when_the_time_is_over(
    launch: Launch, tmp_path: Path
) -> None:
    node = launch(HILUM_STORAGE_KEEP_DELETED_DAYS=str(3 / 86_400))
    paths = ct_files(tmp_path / "in", FILES)
    study = f"/dicom-web/studies/{uid(1)}"
    assert ask(node, "POST", study, related(paths))[0] == 200
    assert ask(node, "DELETE", study)[0] == 204
    # Only looked at: a file that is going cannot be read.
    trash = node.data_dir / "trash"
    wait_until(lambda: not list(trash.glob("*/*")), what="the trash is empty")
    wait_until(lambda: node.get_json("/api/trash")["data"] == [], what="and nothing is listed")
    wait_until(lambda: "deletion collected" in node.log, what="and the log says so")
    assert ask(node, "POST", study, related(paths))[0] == 200
    assert len(stored(node)) == FILES


def test_where_nothing_is_kept_the_bytes_go_at_once(launch: Launch, tmp_path: Path) -> None:
    node = launch(HILUM_STORAGE_KEEP_DELETED_DAYS="0")
    study = f"/dicom-web/studies/{uid(1)}"
    assert ask(node, "POST", study, related(ct_files(tmp_path / "in", FILES)))[0] == 200
    assert ask(node, "DELETE", study)[0] == 204
    assert (found(node), stored(node), trashed(node)) == (set(), {}, {})
    assert node.get_json("/api/trash")["data"] == []
