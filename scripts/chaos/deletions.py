"""Deletions, and the undoing of them, in a node that is killed."""

import json
import random
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

import pydicom

from scripts.chaos.case import case
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.programs import send
from scripts.chaos.verdict import nothing_lost
from scripts.chaos.waiting import wait_until
from scripts.node import Node

_FILES = 300
#: In which most of a deletion or of its undoing lies.
_LONGEST_SECONDS = 0.6


@case("kill-delete", "`kill -9` of every process while a study is deleted or had back, 20 times")
def kill_delete(ground: Ground, times: int = 20) -> str:
    """Kill everything at a random moment of deleting or undoing; have it all back at the end."""
    node = ground.node()
    files = write_series(ground.folder / "send", _FILES)
    study = str(pydicom.dcmread(files[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    assert len(send(node, files).acknowledged) == _FILES
    nothing_lost(node, files)
    chance = random.Random()
    interrupted = 0
    for number in range(times):
        if number % 2 == 0:
            asked = [("DELETE", f"/dicom-web/studies/{study}")]
        else:
            asked = [("POST", f"/api/trash/{each['id']}/restore") for each in _trash(node)]
        worker = threading.Thread(target=_ask_all, args=(node, asked))
        worker.start()
        worker.join(chance.uniform(0.0, _LONGEST_SECONDS))
        interrupted += worker.is_alive()
        node.kill()
        worker.join()
        node.start()
        wait_until(lambda: _settled(node), 90, "what was begun is finished")
    for each in _trash(node):
        _ask(node, "POST", f"/api/trash/{each['id']}/restore")
    wait_until(lambda: not _trash(node), 60, "the trash is empty")
    nothing_lost(node, files)
    left = [path for path in (node.data_dir / "trash").rglob("*") if path.is_file()]
    assert not left, f"left in the trash: {left}"
    return (
        f"{interrupted} of {times} were at work when they were killed; each was finished after "
        f"the start; in the end all {_FILES} instances were had back, 0 lost, 0 left in the trash"
    )


def _settled(node: Node) -> bool:
    return all(each["state"] == "kept" for each in _trash(node))


def _trash(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_ask(node, "GET", "/api/trash"))["data"]
    return found


def _ask_all(node: Node, asked: list[tuple[str, str]]) -> None:
    for method, path in asked:
        with suppress(OSError):  # the node is killed meanwhile; or nothing is there to delete
            _ask(node, method, path)


def _ask(node: Node, method: str, path: str) -> bytes:
    url = f"http://127.0.0.1:{node.http_port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        return bytes(answer.read())
