"""`/api/queue`: what people see of the queue, and what they do with it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hilum.http.queue_metrics import QueueFigures
from hilum.index.database import Database
from hilum.index.queue import Queue
from hilum.services.crossing import Crossing
from tests.integration.events import events
from tests.integration.http_node import HttpNode, http_node


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


@pytest.fixture
async def queue(database: Database) -> Queue:
    queue = Queue(database)
    await queue.register("backend", "webhook http://backend", 0)
    return queue


async def ask(node: HttpNode, method: str, path: str, status: int = 200) -> Any:
    async with node.client.request(method, path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_an_empty_queue(node: HttpNode) -> None:
    shown = await ask(node, "GET", "/api/queue")
    assert (shown["total"], shown["data"], shown["subscriptions"]) == (0, [], [])


async def test_pages_are_of_the_latest_first_and_counted(node: HttpNode, queue: Queue) -> None:
    await queue.register("archive", "C-STORE to ARCHIVE", 0)
    await queue.add("backend", events(range(1, 8)), 7)
    await queue.add("archive", events([3, 5]), 7)
    await queue.delivered(["backend:1", "backend:2"])
    shown = await ask(node, "GET", "/api/queue?limit=3&state=waiting&subscription=backend&offset=1")
    assert [each["id"] for each in shown["data"]] == ["backend:6", "backend:5", "backend:4"]
    assert shown["total"] == 5
    counts = {
        each["name"]: (each["waiting"], each["dead"], each["done"], each["cursor"])
        for each in shown["subscriptions"]
    }
    assert counts == {"backend": (5, 0, 2, 7), "archive": (2, 0, 0, 7)}
    every = await ask(node, "GET", "/api/queue")
    assert [each["event"]["sequence"] for each in every["data"]] == [7, 6, 5, 5, 4, 3, 3, 2, 1]
    assert (await ask(node, "GET", "/api/queue?limit=0"))["data"] == []


async def test_metrics_tell_what_waits(node: HttpNode, queue: Queue) -> None:
    await queue.add("backend", events([1, 2, 3]), 3)
    (first, *_) = await queue.waiting("backend", "study-a", 1)
    await queue.buried(first, "no more")
    crossing = Crossing(asyncio.get_running_loop())
    node.services.metrics.of_node(QueueFigures(node.services.queue, crossing))
    async with node.client.get("/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        found = {
            (sample.name, sample.labels["subscription"]): sample.value
            for family in families
            for sample in family.samples
            if "subscription" in sample.labels
        }
    assert found["hilum_queue_waiting", "backend"] == 2
    assert found["hilum_queue_dead", "backend"] == 1
    assert 0 < found["hilum_queue_oldest_seconds", "backend"] < 60


async def test_what_is_wrong_is_said(node: HttpNode, queue: Queue) -> None:
    for method, path, status in [
        ("GET", "/api/queue?state=lost", 400),
        ("GET", "/api/queue?limit=-1", 400),
        ("GET", "/api/queue/backend:1", 404),
        ("POST", "/api/queue/backend:1/retry", 404),
        ("DELETE", "/api/queue/backend:1", 404),
        ("DELETE", "/api/queue", 400),
        ("DELETE", "/api/queue?subscription=nobody", 404),
    ]:
        assert (await ask(node, method, path, status))["success"] is False


async def test_a_subscription_that_is_gone_can_be_forgotten(node: HttpNode, queue: Queue) -> None:
    await queue.add("backend", events([1, 2]), 2)
    await queue.retire_others(["another"])
    (shown,) = (await ask(node, "GET", "/api/queue"))["subscriptions"]
    assert (shown["active"], shown["waiting"]) == (False, 2)
    await ask(node, "DELETE", "/api/queue/backend:2")
    assert (await ask(node, "DELETE", "/api/queue?subscription=backend"))["data"]["removed"] == 1
    assert (await ask(node, "GET", "/api/queue"))["subscriptions"] == []
