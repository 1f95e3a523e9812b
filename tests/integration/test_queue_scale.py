"""What a long queue costs MongoDB, by its own profiler: the figures that decide at a million."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import pytest

from hilum.index import queue as queue_module
from hilum.index import queue_desk as queue_desk_module
from hilum.index.database import Database
from hilum.index.queue import Queue
from hilum.index.queue_desk import QueueDesk
from hilum.index.queued import State
from tests.integration.events import event

STUDIES = 100
EACH = 20


@pytest.fixture
async def queue(database: Database) -> Queue:
    """A queue with much in it, of two subscriptions, some of it done and dead."""
    queue = Queue(database)
    events = [event(n + 1, f"study-{n // EACH}") for n in range(STUDIES * EACH)]
    for name in ("one", "two"):
        await queue.register(name, name, 0)
        for start in range(0, len(events), 1000):
            part = events[start : start + 1000]
            await queue.add(name, part, part[-1].sequence)
    await queue.delivered([f"one:{n}" for n in range(1, 501)])
    for delivery in await queue.waiting("two", "study-0", 10):
        await queue.buried(delivery, "no more")
    return queue


async def cost(database: Database, asked: Awaitable[Any]) -> tuple[int, int, bool]:
    """Return keys and documents that MongoDB has looked at, and whether it has sorted."""
    raw = database.raw
    await raw.command("profile", 2)
    await asked
    await raw.command("profile", 0)
    found = await raw["system.profile"].find({"ns": {"$not": {"$regex": "profile"}}}).to_list(None)
    await raw["system.profile"].drop()
    assert found
    return (
        sum(each.get("keysExamined", 0) for each in found),
        sum(each.get("docsExamined", 0) for each in found),
        any(each.get("hasSortStage", False) for each in found),
    )


async def test_what_is_due_is_found_without_looking_at_what_waits(
    database: Database, queue: Queue
) -> None:
    busy = [f"one:study-{n}" for n in range(3)]
    for asked, most in [
        (queue.due("one", busy, 4), 8),
        (queue.next_lane("one"), 2),
        (queue.waiting("one", "study-60", 10), 11),
    ]:
        keys, documents, sorted_ = await cost(database, asked)
        assert keys <= most
        assert documents <= most
        assert not sorted_


async def test_a_page_costs_what_it_shows_and_counts_cost_no_documents(
    database: Database, queue: Queue
) -> None:
    desk = QueueDesk(database)
    for asked in (
        desk.page(limit=50),
        desk.page([State.WAITING], "one", limit=50),
        desk.page([State.DEAD, State.DONE], limit=50),
    ):
        keys, documents, _ = await cost(database, asked)
        # Those of two subscriptions and three states are merged as they come.
        assert keys <= 50 + 6 + 5
        assert documents <= 50 + 6 + 5
    _, documents, _ = await cost(database, desk.summaries())
    assert documents <= 6


async def test_a_lane_is_gone_when_nothing_waits_in_it_and_not_before(
    database: Database, queue: Queue
) -> None:
    lane = next(each for each in await queue.due("one", [], STUDIES) if each.study == "study-50")
    found = await queue.waiting("one", lane.study, EACH + 1)
    assert len(found) == EACH
    await queue.delivered([each.id for each in found])
    # Something comes between the look into the lane and its end.
    await queue.add("one", [event(STUDIES * EACH + 1, "study-50")], STUDIES * EACH + 1)
    assert not await queue.close(lane)
    (again,) = [each for each in await queue.due("one", [], STUDIES) if each.id == lane.id]
    assert len(await queue.waiting("one", again.study, 2)) == 1


async def test_many_are_buried_tried_again_and_removed_some_at_a_time(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (queue_module, queue_desk_module):
        monkeypatch.setattr(module, "_AT_ONCE", 100)
    desk = QueueDesk(database)
    count = STUDIES * EACH
    waiting = count - 500
    keys, _, _ = await cost(database, queue.bury_older("one", datetime.now(UTC), "too long"))
    # Each is looked at twice, to find it and to change it: what is found is not more than that.
    assert keys <= 3 * waiting
    keys, _, _ = await cost(database, desk.retry_all("one"))
    assert (await desk.summaries())[0].counts == {"waiting": waiting, "dead": 0, "done": 500}
    assert keys <= 4 * waiting + 2 * STUDIES
    keys, _, _ = await cost(database, desk.remove_all("one"))
    assert keys <= 3 * count
    assert (await desk.summaries())[0].counts == {"waiting": 0, "dead": 0, "done": 0}
