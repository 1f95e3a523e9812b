"""Destinations of routing that die, while the node is killed beside them."""

import json
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.chaos.case import case
from scripts.chaos.ground import Ground
from scripts.chaos.instances import data_set_digest, write_series
from scripts.chaos.programs import Sender, Sent
from scripts.chaos.verdict import nothing_lost, stored
from scripts.chaos.waiting import wait_until
from scripts.node import Node
from tests.nodes import free_port

_FILES = 40
_LIMIT_SECONDS = 300


@dataclass
class OldPacs:
    """dcmtk's ``storescp``, which writes data sets as it receives them."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Listen."""
        self.folder.mkdir(exist_ok=True)
        options = ("-q", "+xa", "+B", "+uf", "-aet", "OLD", "-od", str(self.folder))
        self.process = subprocess.Popen(["/usr/bin/storescp", *options, str(self.port)])

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def received(self) -> Counter[str]:
        """Return how often each data set came, by its SHA-256; parts of files are others."""
        found: Counter[str] = Counter()
        for path in self.folder.iterdir():
            with suppress(AssertionError, OSError):  # begun and not finished
                found[data_set_digest(path)] += 1
        return found


@case(
    "routing",
    "everything passed on to a `storescp` and by STOW-RS to another node; `kill -9` of the node in "
    "mid-send, of the worker that leads, of the `storescp` (away 3 s) and of the other node, in "
    "turn, 12 times",
)
def routing(ground: Ground, times: int = 12, away_seconds: float = 3) -> str:
    """Have everything that was acknowledged at both destinations, whatever dies."""
    ground.workers = max(2, ground.workers)
    chance = random.Random()
    old = OldPacs(ground.folder / "old", free_port())
    ground.at_end(old.kill)
    old.start()
    archive = ground.node(ground.folder / "archive")
    node = ground.node(
        HILUM_DICOM_PEERS=json.dumps({"OLD": {"host": "127.0.0.1", "port": old.port}}),
        HILUM_ROUTING_DESTINATIONS=json.dumps(
            {"ARCHIVE": {"url": f"http://127.0.0.1:{archive.http_port}/dicom-web"}}
        ),
        HILUM_ROUTING_SHADOW="OLD,ARCHIVE",
    )
    sent = Sent()
    for number in range(times):
        files = write_series(ground.folder / f"send-{number}", _FILES)
        sender = Sender(node, files)
        sender.until(chance.randrange(5, _FILES - 5))
        match number % 4:
            case 0:
                node.kill()
                node.start()
            case 1:
                starts = node.starts()
                os.kill(node.leader_pid(), signal.SIGKILL)
                node.wait_replaced(starts, killed=1)
            case 2:
                old.kill()
                time.sleep(away_seconds)
                old.start()
            case _:
                archive.kill()
                archive.start()
        sent.add(sender.finish())
    began = time.monotonic()
    wanted = {data_set_digest(path) for path in sent.acknowledged}
    wait_until(
        lambda: (
            wanted <= old.received().keys()
            and wanted <= {data_set_digest(path) for path in stored(archive)}
        ),
        _LIMIT_SECONDS,
        "all is at both destinations",
    )
    seconds = time.monotonic() - began
    wait_until(lambda: not _left(node), _LIMIT_SECONDS, "nothing waits, and nothing was given up")
    nothing_lost(node, sent.acknowledged)
    nothing_lost(archive, sent.acknowledged)
    twice = sum(count - 1 for count in old.received().values())
    return (
        f"{len(sent.acknowledged)} of {len(sent.statuses)} instances acknowledged, every one of "
        f"them at both destinations as it was sent; the `storescp` got {twice} more than once; "
        f"all there {seconds:.1f} s after the last was sent"
    )


def _left(node: Node) -> int:
    url = f"http://127.0.0.1:{node.http_port}/api/queue?limit=0"
    with urllib.request.urlopen(url, timeout=30) as answer:
        subscriptions = json.load(answer)["subscriptions"]
    assert len(subscriptions) == 2
    return sum(each["waiting"] + each["dead"] for each in subscriptions)
