"""The outbox: whatever writers, readers and those who number do at once, nobody misses an event."""

import asyncio
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from hilum.core.events import Draft, Event, Kind
from hilum.core.levels import Level
from hilum.index import numbering
from hilum.index.database import Database
from hilum.index.numbering import Deposed, Numbering
from hilum.index.outbox import Outbox

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)


def draft(
    study: str, number: int, *, kind: Kind = Kind.NEW_INSTANCE, since: datetime | None = None
) -> Draft:
    return Draft(
        kind=kind,
        level=Level.IMAGE,
        resource=f"{study}.{number}",
        study=study,
        study_instance_uid=study,
        at=NOW,
        occasion="",
        series_instance_uid=f"{study}.1",
        sop_instance_uid=f"{study}.{number}",
        details={"number": number},
        perhaps_since=since,
    )


async def everything(outbox: Outbox, limit: int = 7) -> list[Event]:
    """Return all events, as a reader comes to them that takes a few at a time."""
    events: list[Event] = []
    while found := await outbox.since(events[-1].sequence if events else 0, limit):
        events += found
    return events


async def numbered(database: Database) -> None:
    numbers = Numbering(database)
    await numbers.begin()
    while await numbers.round():
        pass


async def test_events_come_in_order_with_all_that_was_said(database: Database) -> None:
    outbox = Outbox(database)
    await outbox.add([draft("1.2", n) for n in range(250)])
    await outbox.add([draft("1.3", 0, kind=Kind.STABLE_STUDY)])
    assert await outbox.last() == 0
    assert await outbox.since(0, 10) == [], "nothing has a number yet"
    assert (await outbox.pending())[0] == 251
    await numbered(database)
    events = await everything(outbox)
    assert [event.sequence for event in events] == list(range(1, 252))
    assert [event.details["number"] for event in events[:-1]] == list(range(250))
    assert await outbox.last() == 251
    assert await outbox.pending() == (0, None)
    [stable] = await outbox.since(0, 10, [Kind.STABLE_STUDY])
    assert stable == events[-1]
    assert Event.from_json(stable.as_json()) == stable
    assert (stable.resource, stable.study_instance_uid, stable.at) == ("1.3.0", "1.3", NOW)
    assert await outbox.since(100, 1) == [events[100]]
    assert await outbox.since(251, 1) == []


async def test_what_may_be_there_already_is_added_once(database: Database) -> None:
    outbox = Outbox(database)
    began = datetime.now(UTC)
    await outbox.add([draft("1.2", n) for n in range(3)])
    await outbox.add([draft("1.2", n, since=began) for n in range(5)])
    await numbered(database)
    await outbox.add([draft("1.2", n, since=began) for n in range(6)])
    await numbered(database)
    assert [event.resource for event in await everything(outbox)] == [f"1.2.{n}" for n in range(6)]


async def test_readers_miss_nothing_while_writers_and_rivals_for_the_numbers_are_at_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms change in the middle of rounds, and those that are over go on writing."""
    monkeypatch.setattr(numbering, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(numbering, "_ROUND", 3)
    monkeypatch.setattr(numbering, "_AHEAD", 5)
    dice = random.Random(4711)
    done = asyncio.Event()

    async def write(study: str) -> None:
        outbox = Outbox(database)
        number = 0
        while number < 120:
            size = dice.choice((1, 1, 2, 20))
            await outbox.add([draft(study, n) for n in range(number, number + size)])
            number += size
        counts[study] = number

    async def give_numbers() -> None:
        while not done.is_set():
            running = asyncio.create_task(Numbering(database).run())
            await asyncio.wait([running], timeout=dice.uniform(0.005, 0.2))
            if dice.random() < 0.5:  # else it goes on, and meets its successor
                running.cancel()
            abandoned.append(running)

    async def read(limit: int) -> list[Event]:
        outbox = Outbox(database)
        events: list[Event] = []
        while not (done.is_set() and len(events) == sum(counts.values())):
            events += await outbox.since(events[-1].sequence if events else 0, limit)
            await asyncio.sleep(0)
        return events

    counts: dict[str, int] = {}
    abandoned: list[asyncio.Task[None]] = []
    rivals = [asyncio.create_task(give_numbers()) for _ in range(2)]
    readers = [asyncio.create_task(read(limit)) for limit in (1, 9, 500)]
    await asyncio.gather(*(write(f"1.{n}") for n in range(4)))
    done.set()
    await asyncio.gather(*rivals)
    for each in abandoned:
        each.cancel()
    ended = await asyncio.gather(*abandoned, return_exceptions=True)
    assert {type(end) for end in ended} <= {asyncio.CancelledError, Deposed}
    await numbered(database)
    read_by = await asyncio.wait_for(asyncio.gather(*readers), 30)

    assert read_by[0] == read_by[1] == read_by[2] == await everything(Outbox(database))
    by_study: dict[str, list[str]] = defaultdict(list)
    for event in read_by[0]:
        by_study[event.study].append(event.resource)
    assert by_study == {s: [f"{s}.{n}" for n in range(count)] for s, count in counts.items()}
    sequences = [event.sequence for event in read_by[0]]
    assert sequences == sorted(set(sequences))


async def test_a_term_that_is_over_publishes_nothing(database: Database) -> None:
    outbox = Outbox(database)
    first, second = Numbering(database), Numbering(database)
    await first.begin()
    await second.begin()
    await outbox.add([draft("1.2", 0)])
    with pytest.raises(Deposed):
        await first.round()
    assert await outbox.since(0, 10) == []
    await second.round()
    assert len(await outbox.since(0, 10)) == 1


async def test_a_clock_that_is_set_back_changes_no_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(database)
    for seconds in range(5):
        now = (NOW - timedelta(seconds=seconds)).timestamp()
        monkeypatch.setattr("hilum.index.outbox.time.time", lambda now=now: now)
        await outbox.add([draft("1.2", seconds)])
    await numbered(database)
    assert [event.details["number"] for event in await everything(outbox)] == list(range(5))


async def test_old_events_go_unless_somebody_is_still_to_be_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, old = Outbox(database), NOW - timedelta(days=31)
    subscriptions = database.raw["subscriptions"]
    await subscriptions.insert_one({"_id": "slow", "active": True, "cursor": 1})
    await subscriptions.insert_one({"_id": "gone", "active": False, "cursor": 0})
    with monkeypatch.context() as patch:
        patch.setattr("hilum.index.outbox.time.time", old.timestamp)
        for number in range(3):
            await outbox.add([draft("1.2", number)])
        await numbered(database)
        await outbox.add([draft("1.2", 3)])  # nobody has seen it yet
    await outbox.add([draft("1.2", 4)])
    await outbox.prune(NOW - timedelta(days=30))
    assert [event.sequence for event in await everything(outbox)] == [2, 3]
    await subscriptions.update_one({"_id": "slow"}, {"$set": {"cursor": 3}})
    await outbox.prune(NOW - timedelta(days=30))
    await numbered(database)
    assert [event.details["number"] for event in await everything(outbox)] == [3, 4]
    assert (await everything(outbox))[0].sequence > 3
