"""Jobs of several workers over one database: nothing that was promised is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from hilum.core.errors import PeerUnreachable, Temporary
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.exports import ExportLedger
from hilum.index.jobs import Job, JobLedger, State
from hilum.index.resource import Resource
from hilum.services.jobs import Cancelled, Control, Jobs

Work = Callable[[Job, Control], Awaitable[None]]


@asynccontextmanager
async def worker(database: Database, work: Work) -> AsyncIterator[Jobs]:
    """A worker that knows one kind of job."""
    jobs = Jobs(JobLedger(database), {"count": work})
    running = asyncio.create_task(jobs.run())
    try:
        yield jobs
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def counting(steps: list[int], gate: asyncio.Event, stop_at: int = 0) -> Work:
    """Return work that counts its steps, and waits at one of them until the gate opens."""

    async def work(job: Job, control: Control) -> None:
        while control.done < job.total:
            while control.done == stop_at and not gate.is_set():
                control.check()
                await asyncio.sleep(0.01)
            control.check()
            steps.append(control.done)
            control.done += 1

    return work


async def until(jobs: Jobs, job: Job, condition: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(20):
        while True:
            found = await jobs.one(job.id)
            if condition(found):
                return found
            await asyncio.sleep(0.02)


def opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


async def test_job_is_done_and_told(database: Database) -> None:
    steps: list[int] = []
    async with worker(database, counting(steps, opened())) as jobs:
        job = await jobs.submit("count", {}, 3)
        done = await jobs.outcome(job.id)
    assert (done.state, done.done, done.progress, steps) == (State.SUCCESS, 3, 1.0, [0, 1, 2])
    assert done.completed_at is not None


async def test_failure_is_raised_where_it_is_waited_for(database: Database) -> None:
    async def fail(_job: Job, _control: Control) -> None:
        raise PeerUnreachable("nobody there")

    async with worker(database, fail) as jobs:
        job = await jobs.submit("count", {}, 1)
        with pytest.raises(PeerUnreachable, match="nobody there"):
            await jobs.outcome(job.id)


async def test_fault_of_ours_is_a_failure_without_internals(database: Database) -> None:
    async def fault(_job: Job, _control: Control) -> None:
        raise ZeroDivisionError("secret")

    async with worker(database, fault) as jobs:
        job = await jobs.submit("count", {}, 1)
        failed = await until(jobs, job, lambda job: job.state is State.FAILURE)
    assert "secret" not in failed.error


async def test_any_worker_pauses_resumes_and_cancels(database: Database) -> None:
    steps: list[int] = []
    gate = asyncio.Event()
    other = Jobs(JobLedger(database), {})  # that runs nothing itself
    async with worker(database, counting(steps, gate, stop_at=2)) as jobs:
        job = await jobs.submit("count", {}, 4)
        await until(other, job, lambda job: job.done == 2)
        assert await other.pause(job.id)
        paused = await until(other, job, lambda job: job.state is State.PAUSED)
        assert (paused.done, steps) == (2, [0, 1])
        assert await other.resume(job.id)
        await until(other, job, lambda job: job.state is State.RUNNING)
        assert await other.cancel(job.id)
        with pytest.raises(Cancelled):
            await other.outcome(job.id)
        gate.set()
        assert not await other.resume(job.id)
        assert await other.resubmit(job.id)
        done = await other.outcome(job.id)
    assert (done.state, steps) == (State.SUCCESS, [0, 1, 2, 3])


async def test_worker_that_stops_leaves_its_job_to_the_next(database: Database) -> None:
    steps: list[int] = []
    async with worker(database, counting(steps, asyncio.Event(), stop_at=2)) as jobs:
        job = await jobs.submit("count", {}, 4)
        await until(jobs, job, lambda job: job.done == 2)
    assert (await JobLedger(database).one(job.id)).state is State.PENDING
    async with worker(database, counting(steps, opened())) as jobs:
        await jobs.outcome(job.id)
    assert steps == [0, 1, 2, 3]


async def test_job_of_a_dead_worker_is_taken_over(database: Database) -> None:
    ledger = JobLedger(database)
    job = await ledger.add("count", {}, 3, 0)
    assert await ledger.claim("dead") is not None
    assert await ledger.report(job, "dead", 1, 0, 0.3, 1.0) == (True, None)
    assert await ledger.claim("other") is None  # not yet: it may be alive
    silent_since = datetime.now(UTC) - timedelta(seconds=60)
    await database.raw["jobs"].update_one({"_id": job.id}, {"$set": {"seen_at": silent_since}})
    steps: list[int] = []
    async with worker(database, counting(steps, opened())) as jobs:
        done = await jobs.outcome(job.id)
    assert (done.attempts, steps) == (2, [1, 2])
    # Should it only have slept: the job is no longer its own.
    assert await ledger.report(job, "dead", 3, 0, 1.0, 2.0) == (False, None)


async def test_job_that_takes_workers_down_is_given_up(database: Database) -> None:
    ledger = JobLedger(database)
    job = await ledger.add("count", {}, 1, 0)
    changes = {"state": "Running", "attempts": 5, "seen_at": datetime(2026, 1, 1, tzinfo=UTC)}
    await database.raw["jobs"].update_one({"_id": job.id}, {"$set": changes})
    async with worker(database, counting([], opened())) as jobs:
        with pytest.raises(Temporary, match="5 workers have died"):
            await jobs.outcome(job.id)


async def test_urgent_jobs_first(database: Database) -> None:
    ledger = JobLedger(database)
    added = [await ledger.add("count", {}, 1, priority) for priority in (0, 5, 0, 9)]
    claimed = [await ledger.claim("one") for _ in added]
    assert [job.id for job in claimed if job] == [added[n].id for n in (3, 1, 0, 2)]


async def test_exports_of_several_workers_have_numbers_without_gaps(database: Database) -> None:
    at = datetime.now(UTC)
    resource = Resource(
        level=Level.STUDY, id="study", patient="patient", study="study", series="",
        main={}, patient_main={}, patient_id="P", uids=("1.2",), received_at=at, updated_at=at,
        stable=True, source="", remote_address="", called_ae_title="", studies=1,
        series_count=1, instances=1, size_bytes=1,
    )  # fmt: skip
    ledgers = [ExportLedger(database) for _ in range(4)]
    await asyncio.gather(*[ledger.add([resource] * 5, "store") for ledger in ledgers])
    found, last = await ledgers[0].since(0, 0)
    assert [export.sequence for export in found] == list(range(1, 21))
    assert last == 20
    await ledgers[0].clear()
    await ledgers[1].add([resource], "store")
    assert [export.sequence for export in (await ledgers[2].since(0, 0))[0]] == [21]


async def test_jobs_for_a_peer_that_is_away_wait_and_others_do_not(database: Database) -> None:
    """A modality that is switched off may have a hundred of them."""
    ledger = JobLedger(database)
    away, here = {"ae_title": "CT1", "host": "ct1", "port": 104}, {"ae_title": "CT2"}
    for peer in (away, away, here):
        await ledger.add("report", {"call": {"peer": peer}}, 1, 0)
    called = await ledger.claim("somebody")
    assert called is not None
    later = datetime.now(UTC) + timedelta(minutes=5)
    await ledger.postpone(called, "somebody", later, "away")
    await ledger.hold_back("report", away, later)
    other = await ledger.claim("somebody")
    assert other is not None
    assert other.task["call"]["peer"] == here
    assert await ledger.claim("somebody") is None
    await ledger.hold_back("report", away, datetime.now(UTC))  # no earlier than that
    assert await ledger.claim("somebody") is None
