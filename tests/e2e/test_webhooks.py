"""Webhooks of a node: whatever dies, every event comes, in order within its study, and signed."""

import base64
import hashlib
import hmac
import json
import os
import random
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import dcmtk, generated
from tests.e2e.test_workers import lines, workers
from tests.nodes import RunningNode, wait_until
from tests.receivers import Posted, Receiver, Reply, receiving

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
STUDIES = ("one", "two", "three", "four")
COUNT = 40
SECONDS = 90


def hooked(receiver: Receiver, **beside: Any) -> str:
    return json.dumps({"backend": {"url": receiver.url, "secret": SECRET, **beside}})


def verified(posted: Posted) -> bool:
    """By the text of Standard Webhooks."""
    headers = posted.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + posted.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return headers["webhook-signature"] == f"v1,{digest}"


def instances(receiver: Receiver) -> set[str]:
    """The instances that the receiver has taken note of."""
    return {
        each.json["sop_instance_uid"]
        for each in receiver.taken
        if each.json["kind"] == "new-instance"
    }


def out_of_order(receiver: Receiver) -> list[str]:
    """The ids of what came first when something later of its study had come."""
    seen: set[str] = set()
    last: dict[str, int] = {}
    wrong = []
    for posted in receiver.taken:
        told = posted.json
        key = posted.headers["webhook-id"]
        if key not in seen:
            if told["sequence"] < last.get(told["study"], 0):
                wrong.append(key)
            last[told["study"]] = told["sequence"]
        seen.add(key)
    return wrong


def counts(node: RunningNode) -> dict[str, int]:
    (found,) = node.get_json("/api/queue?limit=0")["subscriptions"]
    return {state: found[state] for state in ("waiting", "dead", "done")}


def send(node: RunningNode, folder: Path, study: str, count: int = COUNT) -> set[str]:
    """Send a study and return the identifiers of its instances, as dcmdump reads them."""
    files = generated.ct_files(folder / study, count, study=study)
    assert dcmtk.storescu(node.peer, *files).acknowledged == files
    return {dcmtk.dump(file, "SOPInstanceUID")["SOPInstanceUID"] for file in files}


@pytest.mark.timeout(240)
def test_kill_9_of_leader_and_node_with_a_receiver_that_fails_hangs_and_dies(
    tmp_path: Path,
) -> None:
    chance = random.Random(1)

    def flaky(_posted: Posted) -> Reply:
        drawn = chance.random()
        if drawn < 0.01:
            return Reply(hang=True)
        return Reply(500 if drawn < 0.1 else 200)

    with receiving() as receiver:
        receiver.behaviour = flaky
        node = RunningNode(
            tmp_path / "node",
            {"HILUM_WORKERS": "2", "HILUM_EVENTS_WEBHOOKS": hooked(receiver, timeout_seconds=1)},
        ).start()
        try:
            wait_until(lambda: lines(node, "this worker leads"), SECONDS, "somebody leads")
            expected = send(node, tmp_path, "one") | send(node, tmp_path, "two")
            wait_until(lambda: len(instances(receiver)) > COUNT / 2, SECONDS, "some came")
            leader = int(str(lines(node, "this worker leads")[-1]["worker"]))
            os.kill(workers(node)[leader], signal.SIGKILL)
            receiver.stop()
            expected |= send(node, tmp_path, "three")
            wait_until(
                lambda: len(lines(node, "this worker leads")) == 2, SECONDS, "another one leads"
            )
            receiver.start()
            came = len(instances(receiver))
            wait_until(lambda: len(instances(receiver)) > came, SECONDS, "it goes on")
            node.kill()
            node.start()
            receiver.behaviour = lambda _posted: Reply()
            expected |= send(node, tmp_path, "four")
            wait_until(lambda: expected <= instances(receiver), SECONDS, "every instance is told")
            wait_until(lambda: counts(node)["waiting"] == 0, SECONDS, "nothing waits")
        finally:
            node.stop()
    assert instances(receiver) == expected
    assert out_of_order(receiver) == []
    assert all(verified(each) for each in receiver.requests)
    assert SECRET not in node.log
    assert "Traceback" not in node.log


def test_dead_letters_are_seen_counted_and_sent_again(
    launch: Callable[..., RunningNode], tmp_path: Path
) -> None:
    with receiving() as receiver:
        receiver.behaviour = lambda _posted: Reply(410)
        node = launch(HILUM_EVENTS_WEBHOOKS=hooked(receiver, kinds=["new-instance", "new-study"]))
        expected = send(node, tmp_path, "dead", 3)
        wait_until(lambda: counts(node)["dead"] == 4, 30, "three instances and their study")
        page = node.get_json("/api/queue?state=dead&limit=2")
        assert page["total"] == 4
        assert {each["error"] for each in page["data"]} == {
            "the receiver answers 410: it wants no more"
        }
        assert metric(node, "hilum_queue_dead") == 4
        receiver.behaviour = lambda _posted: Reply()
        request(node, "POST", f"/api/queue/{page['data'][0]['id']}/retry")
        wait_until(lambda: counts(node)["dead"] == 3, 30, "one is delivered")
        request(node, "POST", "/api/queue/retry?subscription=webhook.backend")
        wait_until(lambda: counts(node) == {"waiting": 0, "dead": 0, "done": 4}, 30, "all are")
        assert instances(receiver) == expected
        wait_until(lambda: metric(node, "hilum_queue_dead") == 0, 30, "and counted")


def metric(node: RunningNode, name: str) -> float:
    for family in text_string_to_metric_families(node.get("/metrics").decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels["subscription"] == "webhook.backend":
                return sample.value
    raise AssertionError(name)


def request(node: RunningNode, method: str, path: str) -> Any:
    asked = urllib.request.Request(f"{node.http_url}{path}", method=method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.loads(answer.read())
