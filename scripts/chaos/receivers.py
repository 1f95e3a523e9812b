"""Receivers of webhooks that fail, hang and go away, while the node is killed beside them."""

import json
import os
import random
import signal
import time
import urllib.request

from scripts.chaos.case import case
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series
from scripts.chaos.kills import mongod_pid
from scripts.chaos.programs import Sender, Sent, identities
from scripts.chaos.verdict import nothing_lost
from scripts.chaos.waiting import wait_until
from scripts.node import Node
from tests.receivers import Behaviour, Posted, Receiver, Reply, is_signed, out_of_order, receiving

_SECRET = "s3cret, and not only ASCII: ë"
_LIMIT_SECONDS = 300


@case(
    "webhooks",
    "a receiver that answers 500 to a tenth and hangs at a hundredth; `kill -9` of the node in "
    "mid-send, of the worker that leads and of `mongod`, and the receiver away for 5 s, in turn, "
    "16 times",
)
def webhooks(ground: Ground, times: int = 16, away_seconds: float = 5, count: int = 40) -> str:
    """Have every event delivered, in order within its study, whatever dies."""
    ground.workers = max(2, ground.workers)
    chance = random.Random()
    with receiving() as receiver:
        receiver.behaviour = _flaky(chance)
        hook = {"url": receiver.url, "secret": _SECRET, "timeout_seconds": 1}
        node = ground.node(HILUM_EVENTS_WEBHOOKS=json.dumps({"backend": hook}))
        sent = Sent()
        for number in range(times):
            files = write_series(ground.folder / f"send-{number}", count)
            sender = Sender(node, files)
            sender.until(chance.randrange(5, count - 5))
            if number % 4 == 0:
                node.kill()
                node.start()
            elif number % 4 == 1:
                starts = node.starts()
                os.kill(node.leader_pid(), signal.SIGKILL)
                node.wait_replaced(starts, killed=1)
            elif number % 4 == 2:
                os.kill(mongod_pid(node.data_dir), signal.SIGKILL)
            else:
                receiver.stop()
                time.sleep(away_seconds)
                receiver.start()
            sent.add(sender.finish())
        nothing_lost(node, sent.acknowledged)
        began = time.monotonic()
        stored = {identity.sop_instance_uid for identity in identities(sent.acknowledged)}
        wait_until(lambda: stored <= _told(receiver), _LIMIT_SECONDS, "every instance is told of")
        wait_until(lambda: not _waiting(node), _LIMIT_SECONDS, "nothing waits")
        seconds = time.monotonic() - began
        taken = receiver.taken
        assert out_of_order(taken) == []
        assert all(is_signed(posted, _SECRET.encode()) for posted in receiver.requests)
        assert node.tracebacks() == 0
        events = {posted.headers["webhook-id"] for posted in taken}
    return (
        f"{len(sent.acknowledged)} instances acknowledged, each told of, in order; "
        f"{len(events)} events taken by the receiver in {len(receiver.requests)} requests, "
        f"{len(taken) - len(events)} of them twice; nothing waited {seconds:.1f} s after the last"
    )


def _flaky(chance: random.Random) -> Behaviour:
    def behave(_posted: Posted) -> Reply:
        drawn = chance.random()
        return Reply(hang=True) if drawn < 0.01 else Reply(500 if drawn < 0.1 else 200)

    return behave


def _told(receiver: Receiver) -> set[str]:
    return {
        posted.json["sop_instance_uid"]
        for posted in receiver.taken
        if posted.json["kind"] == "new-instance"
    }


def _waiting(node: Node) -> int:
    url = f"http://127.0.0.1:{node.http_port}/api/queue?limit=0"
    with urllib.request.urlopen(url, timeout=30) as answer:
        (subscription,) = json.load(answer)["subscriptions"]
    return int(subscription["waiting"] + subscription["dead"])
