"""Processes that stand still: the database, the node itself."""

import signal
import threading
import time
from pathlib import Path

from scripts.chaos.case import case
from scripts.chaos.footprint import back, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.programs import Sender, Sent, echo_seconds, send
from scripts.chaos.verdict import nothing_lost
from scripts.node import Node

# What a release may take: ten seconds for the index, and the rest for a busy machine.
_LONGEST_RELEASE_SECONDS = 15


class Modality(threading.Thread):
    """Sends one small series after another, each on an association of its own."""

    def __init__(self, node: Node, folder: Path) -> None:
        super().__init__()
        self._node = node
        self._folder = folder
        self._over = threading.Event()
        self.sent = Sent()
        self.associations = 0
        self.slowest_seconds = 0.0

    def run(self) -> None:
        """Send until told to stop."""
        while not self._over.is_set():
            files = write_series(self._folder / str(self.associations), 20)
            sent = send(self._node, files)
            self.sent.add(sent)
            self.slowest_seconds = max(self.slowest_seconds, sent.seconds)
            self.associations += 1

    def stop(self) -> None:
        """Finish the association at hand and end."""
        self._over.set()
        self.join()


@case("freeze-mongod", "`mongod` stopped by SIGSTOP for a minute during ingest, then SIGCONT")
def freeze_mongod(ground: Ground, seconds: int = 60) -> str:
    """Stop the database where it is: connections stay, answers do not come."""
    mongod = ground.mongod()
    node = ground.node(HILUM_MONGODB_URI=mongod.uri)
    modalities = [Modality(node, ground.folder / f"send-{number}") for number in range(2)]
    send(node, write_series(ground.folder / "warm-up", 20))
    before = settled(node)
    for modality in modalities:
        modality.start()
    long = Sender(node, write_series(ground.folder / "long", 200))
    long.until(20)
    ground.at_end(mongod.resume)
    mongod.freeze()
    time.sleep(seconds)  # this is the fault
    echo = echo_seconds(node)
    health = node.health("/db")
    mongod.resume()
    for modality in modalities:
        modality.stop()
    total = long.finish()
    for modality in modalities:
        total.add(modality.sent)
    refused = len(total.statuses) - len(total.acknowledged)
    assert not refused, f"{refused} instances were refused"
    slowest = max(modality.slowest_seconds for modality in modalities)
    assert slowest < _LONGEST_RELEASE_SECONDS, f"an association took {slowest:.1f} s"
    assert health == 503
    found = nothing_lost(node, total.acknowledged)
    associations = sum(modality.associations for modality in modalities)
    return (
        f"all {len(total.acknowledged)} instances on {associations + 1} associations accepted; "
        f"slowest association {slowest:.1f} s, its wait for the index included; meanwhile C-ECHO "
        f"{echo:.2f} s, `/health/db` {health}; all found {found:.1f} s after the last; "
        f"{back(node, before, 48 << 20)}"
    )


@case("freeze-node", "the node itself stopped by SIGSTOP for 30 s while senders wait")
def freeze_node(ground: Ground, seconds: int = 30) -> str:
    """Stop every process of the node in mid-send, as a machine that swaps or moves does."""
    node = ground.node()
    send(node, write_series(ground.folder / "warm-up", 20))
    before = settled(node)
    series = [write_series(ground.folder / f"send-{number}", 100) for number in range(4)]
    senders = [Sender(node, files) for files in series]
    for sender in senders:
        sender.until(5)
    ground.at_end(lambda: node.send(signal.SIGCONT))
    node.send(signal.SIGSTOP)
    time.sleep(seconds)  # this is the fault
    resumed = time.monotonic()
    node.send(signal.SIGCONT)
    total = Sent()
    for sender in senders:
        total.add(sender.finish())
    finished = time.monotonic() - resumed
    assert total.acknowledged == [path for files in series for path in files]
    found = nothing_lost(node, total.acknowledged)
    return (
        f"all {len(total.acknowledged)} instances on 4 associations accepted, the last "
        f"{finished:.1f} s after SIGCONT, all found {found:.1f} s later; {back(node, before)}"
    )
