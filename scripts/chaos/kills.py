"""Processes that are killed: the node, its workers, its database."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

from scripts.chaos.case import case
from scripts.chaos.footprint import back, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.programs import SUCCESS, Sender, Sent, send
from scripts.chaos.verdict import nothing_lost
from scripts.chaos.waiting import wait_until

_FILES = 60


@case("kill-node", "`kill -9` of every process of the node, or of the first, in mid-send, 20 times")
def kill_node(ground: Ground, times: int = 20) -> str:
    """Kill everything as a sender counts its successes, and start again."""
    node = ground.node()
    chance = random.Random()
    total = Sent()
    for time in range(times):
        files = write_series(ground.folder / f"send-{time}", _FILES)
        sender = Sender(node, files)
        sender.until(chance.randrange(1, _FILES - 5))
        node.kill(only_first=bool(time % 2))
        total.add(sender.finish())
        node.start()
    assert len(total.acknowledged) >= times
    found = nothing_lost(node, total.acknowledged)
    return (
        f"{len(total.acknowledged)} of {len(total.statuses)} acknowledged before a kill, "
        f"0 lost; all found {found:.1f} s after the last start"
    )


@case("kill-worker", "`kill -9` of one worker in mid-send, 20 times")
def kill_worker(ground: Ground, times: int = 20) -> str:
    """Kill one worker while others hold associations; its senders try again."""
    ground.workers = max(2, ground.workers)
    node = ground.node()
    chance = random.Random()
    send(node, write_series(ground.folder / "warm-up", 5))
    before = settled(node)
    total, retried = Sent(), 0
    for number in range(times):
        series = [
            write_series(ground.folder / f"send-{number}-{sender}", _FILES) for sender in range(4)
        ]
        running = [Sender(node, files) for files in series]
        running[0].until(chance.randrange(1, _FILES - 5))
        starts = node.starts()
        os.kill(chance.choice(node.worker_pids()), signal.SIGKILL)
        for sender in running:
            total.add(sender.finish())
        node.wait_replaced(starts, killed=1)
        for files in series:
            left = [path for path in files if total.statuses[path] != SUCCESS]
            retried += len(left)
            if left:
                total.add(send(node, left))
    assert len(total.acknowledged) == times * 4 * _FILES, "not everything was taken at last"
    found = nothing_lost(node, total.acknowledged)
    return (
        f"{len(total.acknowledged)} instances on 4 associations a time, {retried} of them at a "
        f"second try; 0 lost; all found {found:.1f} s after the last; {back(node, before)}"
    )


@case("kill-mongod", "`kill -9` of `mongod` in mid-send, 20 times")
def kill_mongod(ground: Ground, times: int = 20) -> str:
    """Kill the embedded MongoDB, which the node starts again, while instances arrive."""
    node = ground.node()
    send(node, write_series(ground.folder / "warm-up", 5))
    before = settled(node)
    chance = random.Random()
    total = Sent()
    slowest = 0.0
    for number in range(times):
        files = write_series(ground.folder / f"send-{number}", _FILES)
        sender = Sender(node, files)
        sender.until(chance.randrange(1, _FILES - 5))
        pid = mongod_pid(node.data_dir)
        os.kill(pid, signal.SIGKILL)
        sent = sender.finish()
        assert sent.acknowledged == files, "a sender noticed"
        slowest = max(slowest, sent.seconds)
        total.add(sent)

        def again(gone: int = pid) -> bool:
            with suppress(OSError, ValueError):
                return mongod_pid(node.data_dir) != gone and node.health("/db") == 200
            return False

        wait_until(again, 60, "mongod is back")
    found = nothing_lost(node, total.acknowledged)
    return (
        f"all {len(total.acknowledged)} accepted, 0 lost; slowest association {slowest:.1f} s, "
        f"release included; all found {found:.1f} s after the last; {back(node, before)}"
    )


def mongod_pid(data_dir: Path) -> int:
    """Return the process of a node's embedded MongoDB."""
    return int((data_dir / "mongodb" / "mongod.lock").read_text())
