"""Leading: one at a time, another one when it is gone, and its tasks for exactly as long."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from hilum.core.errors import IndexUnavailable
from hilum.index.database import Database
from hilum.index.lease import Lease
from hilum.services import leading as module
from hilum.services.leading import Leadership, leading


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 10 s")


class Worker:
    """One who would lead; its only task is to be seen doing it."""

    def __init__(self, lease: Lease) -> None:
        self.leadership = Leadership()
        self.at_work = 0
        self.begun = 0
        self.running = asyncio.create_task(leading(lease, [self._work], self.leadership))

    async def _work(self) -> None:
        self.begun += 1
        self.at_work += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.at_work -= 1

    async def stop(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running


async def test_a_lease_has_one_holder_until_it_runs_out(database: Database) -> None:
    one, other = (Lease(database, "x") for _ in range(2))
    assert await asyncio.gather(one.take(), one.take()) == [True, True]
    assert not await other.take()
    assert await Lease(database, "y").take(), "another lease is another thing"
    await database.raw["leases"].update_one(
        {"_id": "x"}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}]
    )
    assert await other.take()
    assert not await one.take()
    await one.give_up()
    assert not await one.take(), "it was not its own to give up"
    await other.give_up()
    assert await one.take()


async def test_of_many_who_begin_at_once_one_gets_it(database: Database) -> None:
    leases = [Lease(database, "x") for _ in range(8)]
    assert sum(await asyncio.gather(*(lease.take() for lease in leases))) == 1


async def test_the_next_leads_at_once_when_a_leader_stops(database: Database) -> None:
    workers = [Worker(Lease(database, "leader", seconds=1.5)) for _ in range(3)]
    await until(lambda: sum(worker.leadership.leads for worker in workers) == 1)
    [leader] = [worker for worker in workers if worker.leadership.leads]
    await until(lambda: leader.at_work)
    await leader.stop()
    assert not leader.at_work
    others = [worker for worker in workers if worker is not leader]
    await until(lambda: sum(worker.at_work for worker in others) == 1)
    await asyncio.gather(*(worker.stop() for worker in others))


async def test_who_cannot_renew_its_lease_stops_before_another_begins(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(database, "leader", seconds=0.6)
    leader = Worker(lease)
    await until(lambda: leader.at_work)

    async def away() -> bool:
        raise IndexUnavailable("MongoDB does not answer")

    monkeypatch.setattr(lease, "take", away)
    follower = Worker(Lease(database, "leader", seconds=0.6))
    overlapped = False

    def led_on() -> bool:
        nonlocal overlapped
        overlapped |= bool(leader.at_work and follower.at_work)
        return bool(follower.at_work)

    await until(led_on)
    assert not overlapped
    assert not leader.leadership.leads
    await leader.stop()
    await follower.stop()


async def test_a_task_that_fails_is_begun_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)
    times = 0

    async def fail() -> None:
        nonlocal times
        times += 1
        raise IndexUnavailable("away") if times % 2 else ValueError("a fault of ours")

    steady = Worker(Lease(database, "steady"))
    running = asyncio.create_task(leading(Lease(database, "leader"), [fail], Leadership()))
    await until(lambda: times > 4)
    assert steady.begun == 1, "what goes on is left alone"
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await steady.stop()
