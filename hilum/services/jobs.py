"""Jobs: what takes long is done by whichever worker has time, and survives all of them.

A job is a row of steps. What is over is written down twice a second, and at the end; a job
that is paused, or whose worker has died, goes on behind the last step that was.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from hilum.core.errors import HilumError, IndexUnavailable, Temporary
from hilum.index.jobs import Job, JobLedger, State, Wish

log = structlog.get_logger(__name__)

#: At most this many run in one worker.
_AT_ONCE: Final = 8
#: How often a worker looks for jobs of others, and says how far its own are.
_LOOK_SECONDS: Final = 1.0
_REPORT_SECONDS: Final = 0.5
#: A job that takes its worker down with it is not tried for ever.
_ATTEMPTS: Final = 5
#: How long a worker that stops waits for its jobs to come to the end of a step.
_STOP_SECONDS: Final = 5.0


class Cancelled(HilumError):
    """Somebody has cancelled it."""

    code = "cancelled"


class Postponed(Exception):
    """The job is to be done later, by whoever has time then."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Interrupted(Exception):
    """The job stops between two of its steps, because `Control.wish` says so."""


class Control:
    """How a job's work and the rest of the node speak with each other; any thread may.

    Attributes
    ----------
    done, failed
        Steps that are over, and those of them that came to nothing. The work counts them.
    part
        What is done of the step after that, from 0 to 1.
    stopping
        Set when the work is to raise `Interrupted` at the next opportunity.
    """

    def __init__(self, job: Job) -> None:
        self.done = job.done
        self.failed = job.failed
        self.part = 0.0
        self.stopping = False
        self.wish: Wish | None = None
        self._total = job.total

    @property
    def progress(self) -> float:
        """What is done of all, from 0 to 1."""
        return min((self.done + self.part) / self._total, 1.0) if self._total else 1.0

    def check(self) -> None:
        """Raise `Interrupted` if the work is to stop here."""
        if self.stopping:
            raise Interrupted

    def stop(self, wish: Wish | None) -> None:
        """Have the work stop."""
        self.wish = wish
        self.stopping = True


Work = Callable[[Job, Control], Awaitable[None]]


class Jobs:
    """Takes jobs, runs them, and tells how they are.

    Parameters
    ----------
    kinds
        What does the work of each kind of job.
    """

    def __init__(self, ledger: JobLedger, kinds: Mapping[str, Work]) -> None:
        self._ledger = ledger
        self._kinds = kinds
        self._owner = str(uuid.uuid4())
        self._news = asyncio.Event()
        self._running: dict[str, tuple[Control, asyncio.Task[None]]] = {}

    async def submit(
        self, kind: str, task: Mapping[str, Any], total: int, priority: int = 0
    ) -> Job:
        """Have something done, some time soon.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer: nothing will be done.
        """
        job = await self._ledger.add(kind, task, total, priority)
        self._news.set()
        return job

    async def outcome(self, job_id: str) -> Job:
        """Wait until a job is over, or paused, and return it.

        Raises
        ------
        HilumError
            What it has failed with.
        """
        delay = _REPORT_SECONDS / 32
        while await self._ledger.state(job_id) in {State.PENDING, State.RUNNING}:
            running = self._running.get(job_id)
            if running is not None:
                await asyncio.wait([running[1]], timeout=_LOOK_SECONDS)
            else:  # not begun, or elsewhere
                await asyncio.sleep(delay)
                delay = min(2 * delay, _REPORT_SECONDS)
        job = await self._ledger.one(job_id)
        if job.state is State.FAILURE:
            raise error_of(job)
        return job

    async def one(self, job_id: str) -> Job:
        """Return a job.

        Raises
        ------
        NotFound
            There is none of this id, or no longer.
        """
        return await self._ledger.one(job_id)

    async def ids(self) -> list[str]:
        """Return the ids of all jobs that are not forgotten yet."""
        return await self._ledger.ids()

    async def all(self) -> list[Job]:
        """Return all jobs that are not forgotten yet, as `JobLedger.all` does."""
        return await self._ledger.all()

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; return whether there is one."""
        return await self._ledger.cancel(job_id, Cancelled.code, "")

    async def pause(self, job_id: str) -> bool:
        """Have a job stop where it is; return whether there is one."""
        return await self._ledger.pause(job_id)

    async def resume(self, job_id: str) -> bool:
        """Have a paused job go on; return whether there is one."""
        self._news.set()
        return await self._ledger.restart(job_id, State.PAUSED)

    async def forget(self, job_id: str) -> None:
        """Forget a job that is over.

        Raises
        ------
        NotFound
            There is none of this id that is.
        """
        await self._ledger.forget(job_id)

    async def resubmit(self, job_id: str) -> bool:
        """Have a failed job go on; return whether there is one."""
        self._news.set()
        return await self._ledger.restart(job_id, State.FAILURE)

    async def run(self) -> None:
        """Run jobs until cancelled; then give those that run back, for others to go on with."""
        try:
            while True:
                try:
                    await self._take()
                except IndexUnavailable as error:
                    log.warning("cannot look for jobs", reason=str(error))
                # Not `wait_for`: before Python 3.12 it may forget that it was cancelled.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._news.wait()
                self._news.clear()
        finally:
            for control, _ in self._running.values():
                control.stop(None)
            tasks = [task for _, task in self._running.values()]
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _take(self) -> None:
        while len(self._running) < _AT_ONCE:
            job = await self._ledger.claim(self._owner)
            if job is None:
                return
            control = Control(job)
            task = asyncio.create_task(self._work(job, control))
            self._running[job.id] = (control, task)

    async def _work(self, job: Job, control: Control) -> None:
        started = time.monotonic()
        state = State.PENDING
        fault: HilumError | None = None
        pause: Postponed | None = None
        telling = asyncio.create_task(self._tell(job, control, started))
        try:
            try:
                if job.attempts > _ATTEMPTS:
                    raise Temporary(f"{_ATTEMPTS} workers have died over it")  # noqa: TRY301
                await self._kinds[job.kind](job, control)
                state = State.SUCCESS
            except Interrupted:
                if control.wish is Wish.CANCEL:
                    state, fault = State.FAILURE, Cancelled("")
                elif control.wish is Wish.PAUSE:
                    state = State.PAUSED
            except Postponed as reason:
                pause = reason
            except HilumError as error:
                state, fault = State.FAILURE, error
            except Exception:
                log.exception("job failed", job=job.id, kind=job.kind)
                state, fault = State.FAILURE, HilumError("internal error, see the node's log")
        finally:
            telling.cancel()
            try:
                if pause is not None and control.wish is None:
                    await self._postpone(job, pause)
                else:
                    await self._end(job, control, started, state, fault)
            finally:
                del self._running[job.id]
                self._news.set()

    async def _end(
        self, job: Job, control: Control, started: float, state: State, fault: HilumError | None
    ) -> None:
        code, reason = (fault.code, str(fault)) if fault else ("", "")
        log.info("job ended", job=job.id, kind=job.kind, state=state.value, reason=reason)
        try:
            await self._report(job, control, started)
            await self._ledger.end(job, self._owner, state, code, reason)
        except IndexUnavailable as error:
            # It counts as running until it is found to be nobody's; then it is done again.
            log.warning("cannot say that a job ended", job=job.id, reason=str(error))

    async def _postpone(self, job: Job, pause: Postponed) -> None:
        log.info("job postponed", job=job.id, kind=job.kind, reason=str(pause))
        due_at = datetime.now(UTC) + timedelta(seconds=pause.seconds)
        with suppress(IndexUnavailable):  # else it is found to be nobody's, and done again
            await self._ledger.postpone(job, self._owner, due_at, str(pause))

    async def _tell(self, job: Job, control: Control, started: float) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            try:
                owned, wish = await self._report(job, control, started)
            except IndexUnavailable:
                continue
            if wish is not None or not owned:
                control.stop(wish)

    async def _report(self, job: Job, control: Control, started: float) -> tuple[bool, Wish | None]:
        runtime = job.runtime_seconds + time.monotonic() - started
        return await self._ledger.report(
            job, self._owner, control.done, control.failed, control.progress, runtime
        )


def error_of(job: Job) -> HilumError:
    """Return what a job has failed with, as it was raised."""

    def kinds(kind: type[HilumError]) -> list[type[HilumError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]

    kind = next((each for each in kinds(HilumError) if each.code == job.error_code), HilumError)
    return kind(job.error)
