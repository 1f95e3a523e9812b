"""Delivery: every event at least once and in order within its study, whatever receivers do."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.core.errors import IndexUnavailable, Invalid
from hilum.core.events import Draft, Event, Kind
from hilum.core.levels import Level
from hilum.http.outgoing.client import Client, make_client
from hilum.http.outgoing.webhook import Webhook
from hilum.index.database import Database
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from hilum.index.queue import Queue
from hilum.index.queue_desk import QueueDesk
from hilum.index.queued import Away, Lane, State
from hilum.services.courier import Courier
from hilum.services.delivery import Deliveries, Pace, Subscription
from tests.integration.events import event
from tests.receivers import Posted, Receiver, Reply, is_signed, receiving

PACE = Pace(first_seconds=0.02, longest_seconds=0.2, poll_seconds=0.02)
SECRET = "sësame"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with make_client() as client:
        yield client


def hook(
    receiver: Receiver, client: Client, timeout_seconds: float = 20, **beside: Any
) -> Subscription:
    webhook = Webhook("hook", receiver.url, key=SECRET.encode(), timeout_seconds=timeout_seconds)

    async def deliver(event: Event) -> None:
        await webhook.post(client, event)

    return Subscription(
        "hook", wants=lambda _event: True, deliver=deliver, describe="a hook", **beside
    )


async def happen(database: Database, studies: Iterable[str]) -> list[tuple[str, int]]:
    """Have one event for each of `studies`; return what identifies them, in order."""
    drafts = [
        Draft(
            kind=Kind.NEW_INSTANCE,
            level=Level.IMAGE,
            resource=f"{study}-{number}",
            study=study,
            study_instance_uid="1.2.3",
            at=datetime_of(number),
            occasion="",
            details={"number": number},
        )
        for number, study in enumerate(studies)
    ]
    await Outbox(database).add(drafts)
    await number(database)
    return [(draft.study, draft.details["number"]) for draft in drafts]


def datetime_of(number: int) -> datetime:
    return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=number)


async def number(database: Database) -> None:
    numbering = Numbering(database)
    await numbering.begin()
    while await numbering.round():
        pass


@asynccontextmanager
async def delivering(
    database: Database, *subscriptions: Subscription, pace: Pace = PACE
) -> AsyncIterator[Deliveries]:
    deliveries = Deliveries(Outbox(database), Queue(database), subscriptions, pace)
    await deliveries.register()
    task = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        assert not task.done(), task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, what or condition
        await asyncio.sleep(0.01)


def told(requests: Sequence[Posted]) -> list[tuple[str, int]]:
    """What requests told of, as `happen` names it."""
    return [(each.json["study"], each.json["details"]["number"]) for each in requests]


def first_times(events: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """The events of each study, by when they were told of first."""
    found: dict[str, list[int]] = defaultdict(list)
    for study, which in events:
        if which not in found[study]:
            found[study].append(which)
    return dict(found)


async def counts(database: Database) -> dict[str, int]:
    (summary,) = await QueueDesk(database).summaries()
    return {state.value: summary.counts[state] for state in State}


async def settled(database: Database) -> bool:
    (summary,) = await QueueDesk(database).summaries()
    taken = summary.cursor == await Outbox(database).last()
    return taken and summary.counts[State.WAITING] == 0


async def no_lanes(database: Database) -> bool:
    return await database.raw["lanes"].count_documents({}) == 0


STUDIES = [f"study-{number % 7}" for number in range(70)]


async def test_every_event_in_order_of_its_study_signed(
    database: Database, receiver: Receiver, client: Client
) -> None:
    async with delivering(database, hook(receiver, client)):
        sent = await happen(database, STUDIES)
        await until(lambda: len(receiver.taken) >= len(sent))
        await until(lambda: settled(database))
        await until(lambda: no_lanes(database), what="no lane stays")
    assert first_times(told(receiver.taken)) == first_times(sent)
    assert len(receiver.requests) == len(sent), "once is enough where nothing fails"
    assert all(is_signed(each, SECRET.encode()) for each in receiver.requests)
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == len(sent)
    assert abs(int(receiver.requests[0].headers["webhook-timestamp"]) - time.time()) < 60
    assert await counts(database) == {"waiting": 0, "dead": 0, "done": len(sent)}


async def test_what_fails_keeps_its_study_waiting_and_no_other(
    database: Database, receiver: Receiver, client: Client
) -> None:
    others = sum(study != "study-3" for study in STUDIES)

    def behave(posted: Posted) -> Reply:
        if posted.json["study"] != "study-3":
            return Reply()
        # Not before all the others are through, and more than a few times.
        through = sum(study != "study-3" for study, _ in told(receiver.taken)) == others
        return Reply() if through and tries(3) > 8 else Reply(500)

    def tries(number: int) -> int:
        return sum(each.json["details"]["number"] == number for each in receiver.requests)

    receiver.behaviour = behave
    async with delivering(database, hook(receiver, client)):
        sent = await happen(database, STUDIES)
        await until(lambda: settled(database))
    assert first_times(told(receiver.taken)) == first_times(sent)
    assert {study for study, _ in told(receiver.taken)[:others]} == set(STUDIES) - {"study-3"}
    ids = [
        each.headers["webhook-id"]
        for each in receiver.requests
        if each.json["details"]["number"] == 3
    ]
    assert len(ids) >= 9
    assert len(set(ids)) == 1, "a receiver can tell that it is the same"


@pytest.mark.parametrize("fault", ["refuses", "hangs", "503", "500"])
async def test_a_receiver_that_is_away_is_probed_and_all_comes_when_it_is_back(
    database: Database, receiver: Receiver, client: Client, fault: str
) -> None:
    replies = {"hangs": Reply(hang=True), "503": Reply(503), "500": Reply(500), "refuses": Reply()}
    receiver.behaviour = lambda _posted: replies[fault]
    if fault == "refuses":
        receiver.stop()
    attempts = 0
    subscription = hook(receiver, client, timeout_seconds=0.5 if fault == "hangs" else 20)

    async def counted(event: Event) -> None:
        nonlocal attempts
        attempts += 1
        await subscription.deliver(event)

    desk = QueueDesk(database)

    async def away_for(probes: int) -> bool:
        (summary,) = await desk.summaries()
        return summary.away is not None and summary.away.attempts >= probes

    async with delivering(database, replace(subscription, deliver=counted)):
        sent = await happen(database, [f"study-{n % 50}" for n in range(200)])
        await until(lambda: away_for(6))
        # One by each lane that was at work when it was found out, and one a probe.
        (summary,) = await desk.summaries()
        assert summary.away is not None
        assert attempts <= subscription.parallel + summary.away.attempts
        assert summary.counts[State.WAITING] == 200
        receiver.behaviour = lambda _posted: Reply()
        receiver.stop()
        receiver.start()
        await until(lambda: settled(database))
        (summary,) = await desk.summaries()
        assert summary.away is None
    assert first_times(told(receiver.taken)) == first_times(sent)
    assert len(receiver.taken) == len(sent)


async def test_gone_is_a_dead_letter_at_once_and_the_next_one_follows(
    database: Database, receiver: Receiver, client: Client
) -> None:
    receiver.behaviour = lambda posted: Reply(410 if posted.json["details"]["number"] == 1 else 200)
    async with delivering(database, hook(receiver, client)):
        await happen(database, ["a"] * 4)
        await until(lambda: settled(database))
        assert [n for _, n in told(receiver.requests)] == [0, 1, 2, 3]
        (dead,) = await QueueDesk(database).page([State.DEAD])
        assert dead.event.details["number"] == 1
        assert (dead.attempts, dead.error) == (1, "the receiver answers 410: it wants no more")
        # Somebody has mended it, and has it delivered again.
        receiver.behaviour = lambda _posted: Reply()
        await QueueDesk(database).retry(dead.id)
        await until(lambda: len(receiver.taken) == 4)
        await until(lambda: settled(database))
    assert await counts(database) == {"waiting": 0, "dead": 0, "done": 4}
    assert receiver.requests[-1].headers["webhook-id"] == receiver.requests[1].headers["webhook-id"]


async def test_errors_that_no_retry_mends(database: Database) -> None:
    async def deliver(_event: Event) -> None:
        raise Invalid("never")

    broken = Subscription("broken", lambda _event: True, deliver, "broken")
    async with delivering(database, broken):
        await happen(database, ["a", "a", "b"])
        await until(lambda: settled(database))
    assert await counts(database) == {"waiting": 0, "dead": 3, "done": 0}


async def test_a_fault_of_ours_is_tried_again_and_stops_nobody(database: Database) -> None:
    seen: list[str] = []

    async def deliver(event: Event) -> None:
        seen.append(event.study)
        if event.study == "a" and seen.count("a") < 4:
            raise ZeroDivisionError

    async with delivering(database, Subscription("ours", lambda _event: True, deliver, "ours")):
        await happen(database, ["a", "b", "c"])
        await until(lambda: settled(database))
    assert (seen.count("a"), seen.count("b"), seen.count("c")) == (4, 1, 1)


async def test_what_cannot_be_delivered_for_too_long_is_a_dead_letter(
    database: Database, receiver: Receiver, client: Client
) -> None:
    receiver.stop()
    pace = replace(PACE, give_up_seconds=0.3)
    async with delivering(database, hook(receiver, client), pace=pace):
        sent = await happen(database, ["a", "b"] * 20)
        await until(lambda: settled(database))
        assert await counts(database) == {"waiting": 0, "dead": 40, "done": 0}
        dead = await QueueDesk(database).page([State.DEAD], limit=100)
        assert all("cannot connect to 127.0.0.1" in (each.error or "") for each in dead)
        receiver.start()
        assert await QueueDesk(database).retry_all("hook") == 40
        await until(lambda: settled(database))
    assert first_times(told(receiver.taken)) == first_times(sent)


async def test_an_attempt_of_before_does_not_bury_what_is_tried_anew(database: Database) -> None:
    queue, desk = Queue(database), QueueDesk(database)
    await queue.register("hook", "a hook", 0)
    await queue.add("hook", [event(1, "a")], 1)
    (delivery,) = await queue.waiting("hook", "a", 1)
    await queue.buried(delivery, "away for too long")
    assert await desk.retry_all("hook") == 1
    # As of a courier that was at it when both happened.
    await queue.buried(delivery, "away for too long")
    await queue.failed(delivery, "away", datetime.now(UTC))
    (entry,) = await desk.page()
    assert (entry.state, entry.attempts) == (State.WAITING, 0)


async def test_retry_after_is_respected(
    database: Database, receiver: Receiver, client: Client
) -> None:
    def behave(_posted: Posted) -> Reply:
        return Reply(429, {"Retry-After": "1"}) if len(receiver.requests) == 1 else Reply()

    receiver.behaviour = behave
    async with delivering(database, hook(receiver, client, parallel=1)):
        await happen(database, ["a", "b", "c"])
        await until(lambda: settled(database))
    first, second = receiver.requests[:2]
    assert second.at - first.at >= 1.0
    assert len(receiver.requests) == 4


async def test_redirections_are_not_followed(
    database: Database, receiver: Receiver, client: Client
) -> None:
    with receiving() as elsewhere:
        receiver.behaviour = lambda _posted: Reply(307, {"Location": elsewhere.url})
        async with delivering(database, hook(receiver, client)):
            await happen(database, ["a"])
            await until(lambda: len(receiver.requests) >= 2)
            (entry,) = await QueueDesk(database).page()
        assert elsewhere.requests == []
        assert entry.state is State.WAITING
        assert entry.error == "the receiver answers 307, and redirections are not followed"


async def test_a_new_subscription_begins_behind_the_last_event_unless_asked_otherwise(
    database: Database, receiver: Receiver, client: Client
) -> None:
    await happen(database, ["before"])
    async with delivering(database, hook(receiver, client)):
        await happen(database, ["after"])
        await until(lambda: receiver.taken)
    assert first_times(told(receiver.taken)) == {"after": [0]}
    everything: list[str] = []

    async def deliver(event: Event) -> None:
        everything.append(event.study)

    late = Subscription("late", lambda _event: True, deliver, "late", begin="oldest")
    async with delivering(database, late):
        await until(lambda: len(everything) == 2)
    assert sorted(everything) == ["after", "before"]


async def test_a_subscription_that_comes_back_goes_on_where_it_was(
    database: Database, receiver: Receiver, client: Client
) -> None:
    async with delivering(database, hook(receiver, client)):
        await happen(database, ["one"])
        await until(lambda: settled(database))
    async with delivering(database):  # the settings have none
        await happen(database, ["two"])
        (summary,) = await QueueDesk(database).summaries()
        assert not summary.active
    async with delivering(database, hook(receiver, client)):
        await until(lambda: len(receiver.taken) == 2)
    assert [study for study, _ in told(receiver.taken)] == ["one", "two"]


async def test_two_leaders_at_once_and_one_that_is_cut_off(
    database: Database, receiver: Receiver, client: Client
) -> None:
    receiver.behaviour = lambda _posted: Reply(500) if time.time() % 0.1 < 0.02 else Reply()
    subscription = hook(receiver, client)
    sent = []
    async with delivering(database, subscription):
        async with delivering(database, subscription):
            sent = await happen(database, [f"study-{n % 9}" for n in range(300)])
            await until(lambda: len(receiver.taken) > 60)
        await until(lambda: settled(database))
    assert first_times(told(receiver.taken)) == first_times(sent)


async def test_what_was_not_noted_is_delivered_again_and_nothing_is_lost(
    database: Database, receiver: Receiver, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a power cut: delivered, and nothing of it written down.
    subscription = hook(receiver, client)

    async def forget(_queue: Queue, _ids: Any) -> None:
        raise IndexUnavailable("it is cut off")

    with monkeypatch.context() as patch:
        patch.setattr(Queue, "delivered", forget)
        deliveries = Deliveries(Outbox(database), Queue(database), [subscription], PACE)
        await deliveries.register()
        sent = await happen(database, STUDIES)
        task = asyncio.create_task(deliveries.run())
        await until(lambda: len(receiver.taken) >= 10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    before = len(receiver.taken)
    async with delivering(database, subscription):
        await until(lambda: settled(database))
    assert first_times(told(receiver.taken)) == first_times(sent)
    assert len(receiver.taken) >= before + len(sent), "all of it again"


async def test_who_stops_at_the_moment_something_comes_stops(
    database: Database, receiver: Receiver, client: Client
) -> None:
    class Watched(Queue):
        looked = asyncio.Event()

        async def due(self, *arguments: Any) -> list[Lane]:
            found = await super().due(*arguments)
            self.looked.set()
            return found

    queue = Watched(database)
    courier = Courier(hook(receiver, client), queue, replace(PACE, poll_seconds=600))
    task = asyncio.create_task(courier.run())
    await queue.looked.wait()
    await asyncio.sleep(0)  # it waits for news by now
    courier.wake()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done


async def test_a_receiver_that_comes_back_while_that_is_looked_up(
    database: Database, receiver: Receiver, client: Client
) -> None:
    class Slow(Queue):
        async def away(self, subscription: str) -> Away | None:
            found = await super().away(subscription)
            if found is not None and len(receiver.requests) >= 2:
                # The probe that is under way ends before this does.
                answer.set()
                await until(courier_has_heard.is_set)
            return found

        async def set_away(self, subscription: str, away: Away | None) -> None:
            if away is None:
                courier_has_heard.set()
            await super().set_away(subscription, away)

    answer, courier_has_heard = threading.Event(), threading.Event()

    def behave(_posted: Posted) -> Reply:
        if len(receiver.requests) == 1:
            return Reply(503)
        answer.wait(10)
        return Reply()

    subscription = hook(receiver, client)
    receiver.behaviour = behave
    deliveries = Deliveries(Outbox(database), Slow(database), [subscription], PACE)
    await deliveries.register()
    task = asyncio.create_task(deliveries.run())
    await happen(database, ["a"] * 5)
    await until(lambda: task.done() or len(receiver.taken) == 5)
    assert not task.done(), task
    task.cancel()
    await asyncio.wait([task], timeout=5)
