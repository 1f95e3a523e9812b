"""Webhooks of a node: whatever dies, every event comes, in order within its study, and signed."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.chaos.ground import ground
from scripts.chaos.receivers import webhooks
from tests import dcmtk, generated
from tests.nodes import RunningNode, wait_until
from tests.receivers import Receiver, Reply, receiving


def hooked(receiver: Receiver, **beside: Any) -> str:
    return json.dumps({"backend": {"url": receiver.url, **beside}})


def instances(receiver: Receiver) -> set[str]:
    """The instances that the receiver has taken note of."""
    return {
        each.json["sop_instance_uid"]
        for each in receiver.taken
        if each.json["kind"] == "new-instance"
    }


def counts(node: RunningNode) -> dict[str, int]:
    (found,) = node.get_json("/api/queue?limit=0")["subscriptions"]
    return {state: found[state] for state in ("waiting", "dead", "done")}


def send(node: RunningNode, folder: Path, study: str, count: int) -> set[str]:
    """Send a study and return the identifiers of its instances, as dcmdump reads them."""
    files = generated.ct_files(folder / study, count, study=study)
    assert dcmtk.storescu(node.peer, *files).acknowledged == files
    return {dcmtk.dump(file, "SOPInstanceUID")["SOPInstanceUID"] for file in files}


@pytest.mark.timeout(300)
def test_whatever_dies_every_event_comes_in_order_and_signed(tmp_path: Path) -> None:
    with ground(tmp_path, workers=2) as here:
        webhooks(here, times=3, count=20)


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
