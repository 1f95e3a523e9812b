"""Events of a node whose parts are killed while it receives: nobody who follows misses one."""

import json
import os
import signal
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import generated
from tests.e2e.test_workers import family, finish, lines, start_sending, workers
from tests.nodes import RunningNode, alive, running, wait_until

COUNT = 60


class Follower(threading.Thread):
    """Reads the changes a few at a time, as a back end does, whatever becomes of the node."""

    def __init__(self, node: RunningNode) -> None:
        super().__init__(daemon=True)
        self.changes: list[dict[str, Any]] = []
        self.done = threading.Event()
        self._node = node

    def run(self) -> None:
        last = 0
        while not self.done.is_set():
            try:
                found = self._node.get_json(f"/changes?since={last}&limit=7")
            except (OSError, urllib.error.URLError, json.JSONDecodeError):
                time.sleep(0.05)
                continue
            self.changes += found["Changes"]
            last = found["Last"]
            time.sleep(0.01)

    def instances(self) -> list[str]:
        return [each["ID"] for each in self.changes if each["ChangeType"] == "NewInstance"]


def leader(node: RunningNode) -> int:
    """The number of the worker that was the last to say that it leads."""
    return int(str(lines(node, "this worker leads")[-1]["worker"]))


@pytest.mark.timeout(120)
def test_kill_9_of_the_leader_and_of_the_node_loses_and_doubles_no_event(tmp_path: Path) -> None:
    files = []
    for study in ("one", "two"):
        for number in range(1, COUNT + 1):
            path = tmp_path / f"{study}-{number}.dcm"
            generated.ct(number, study=study).save_as(path, enforce_file_format=True)
            files.append(path)
    with running(
        tmp_path / "node", HILUM_WORKERS="2", HILUM_EVENTS_STABLE_AFTER_SECONDS="2"
    ) as node:
        follower = Follower(node)
        follower.start()
        wait_until(lambda: lines(node, "this worker leads"), 20, "somebody leads")
        wait_until(lambda: len(workers(node)) == 2, 20, "both workers are there")
        leads = f'hilum_leader{{worker="{leader(node)}"}} 1.0'
        assert leads.encode() in node.get("/metrics")

        killed: list[Callable[[], None]] = []

        def kill_leader() -> None:
            os.kill(workers(node)[leader(node)], signal.SIGKILL)
            killed.append(kill_leader)

        def kill_node() -> None:
            every = family(node)
            node.kill()
            wait_until(lambda: not any(map(alive, every)), 20, "its processes are gone")
            killed.append(kill_node)

        finish(start_sending(node, files[:20]), 0, lambda: None)
        wait_until(lambda: len(follower.changes) > 7, 20, "changes are told")
        left = set(files[20:])
        left -= set(finish(start_sending(node, files[20:70]), 20, kill_leader))
        # While nobody leads nobody gives numbers, but instances come in all the same.
        left -= set(finish(start_sending(node, files[70:]), 20, kill_node))
        assert killed == [kill_leader, kill_node]
        read = len(follower.changes)
        node.start()
        while left:
            left -= set(finish(start_sending(node, sorted(left)), 0, lambda: None))
        finish(start_sending(node, files), 0, lambda: None)  # all again: nobody is told

        ids = set(node.get_json("/instances"))
        assert len(ids) == len(files)
        wait_until(lambda: set(follower.instances()) == ids, 30, "every instance is told of")
        studies = "/studies?expand"
        wait_until(lambda: all(each["IsStable"] for each in node.get_json(studies)), 30, "quiet")

        def caught_up() -> bool:
            # What is noted as stable has been told before, if not numbered.
            if b"\nhilum_events_pending 0.0" not in node.get("/metrics"):
                return False
            [last] = node.get_json("/changes?last")["Changes"]
            return bool(follower.changes[-1] == last)

        wait_until(caught_up, 10, "the follower has read all there is")
        follower.done.set()
        follower.join()
        assert len(follower.changes) > read
        assert len(lines(node, "this worker leads")) >= 2

        # What is there now is what was read as it came: nothing has come up behind.
        everything = node.get_json("/changes?limit=10000")["Changes"]
        assert everything == follower.changes
        sequences = [each["Seq"] for each in everything]
        assert sequences == sorted(set(sequences))
        assert len(follower.instances()) == len(ids), "and none is told of twice"
        figures = node.get("/metrics").decode().splitlines()
        assert f"hilum_events_sequence_total {float(sequences[-1])}" in figures
        kinds = [each["ChangeType"] for each in everything]
        assert [kinds.count(f"New{what}") for what in ("Series", "Study", "Patient")] == [2, 2, 2]
