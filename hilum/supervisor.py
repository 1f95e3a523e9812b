"""The supervisor: starts the workers of a node, replaces those that die, drains them all.

Workers are equal, and each is a process of its own (`hilum.worker`). They accept on the
same two sockets, which they inherit: whoever has the fewest associations takes the next, one
that waits while a worker dies is taken by another, and a port that is taken is found out once.
What a worker acknowledged and did not finish, another finishes (`hilum.storage.spools`).

No worker outlives the supervisor, however it ends: the kernel sees to that (`hilum.core.tether`).
"""

import asyncio
import os
import secrets
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from pydantic import BaseModel

from hilum.config.section import WITH_SECRETS
from hilum.config.settings import Settings
from hilum.core.errors import Invalid, Temporary
from hilum.core.tether import tethered
from hilum.index import changes
from hilum.lifetime import background
from hilum.premises import Listeners
from hilum.scp.shares import Shares

log = structlog.get_logger(__name__)

_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 30.0
#: Who lived this long did not die of starting.
_STEADY_SECONDS: Final = 60.0
#: What the parts of a worker may take to drain, together.
_DRAIN_SECONDS: Final = 55.0


class Orders(BaseModel):
    """What a worker is told at its start, on its standard input: settings have secrets."""

    settings: Settings
    number: int
    """Which of the workers it is, from 0."""
    channel: str
    """Where the workers of this node find each other (`hilum.http.colleagues`)."""
    dicom_descriptor: int
    http_descriptor: int
    shares_descriptor: int
    """Memory that says how many connections each worker has (`hilum.scp.shares`)."""
    changes_descriptor: int
    """Memory in which they mark the studies they have written to (`hilum.index.changes`)."""


class Report(BaseModel):
    """What a worker says: that it serves, or why it cannot."""

    fault: str | None = None
    heals: bool = True
    """Whether another try may go better."""


@asynccontextmanager
async def supervising(settings: Settings, listeners: Listeners) -> AsyncIterator[None]:
    """Have as many workers as the settings say; on leaving, drain and end them.

    Entered when all of them serve. Until then whatever ends a worker, but for a signal,
    ends the node; later on only what no further try can heal.

    Raises
    ------
    Invalid, Temporary
        A worker cannot be started, and why.
    """
    channel = f"hilum-{os.getpid()}-{secrets.token_hex(8)}"
    shares = Shares(settings.workers)
    marks = changes.shared_memory()
    workers = [
        _Worker(
            Orders(
                settings=settings,
                number=number,
                channel=channel,
                dicom_descriptor=listeners.dicom.fileno(),
                http_descriptor=listeners.http.fileno(),
                shares_descriptor=shares.descriptor,
                changes_descriptor=marks,
            ),
            shares,
        )
        for number in range(settings.workers)
    ]
    async with background(asyncio.create_task(_keep(workers))):
        try:
            await asyncio.gather(*(worker.serving.wait() for worker in workers))
            yield
        finally:
            # Nobody is to wait in a queue that nobody serves any more.
            listeners.dicom.close()
            listeners.http.close()
            await asyncio.gather(*(worker.stop() for worker in workers))
            shares.close()
            os.close(marks)


async def _keep(workers: "list[_Worker]") -> None:
    await asyncio.gather(*(worker.keep() for worker in workers))


class _Worker:
    """One place among the workers, and the process that fills it at the moment."""

    def __init__(self, orders: Orders, shares: Shares) -> None:
        self.serving = asyncio.Event()
        """Set once a process has served here."""
        self._orders = orders
        self._shares = shares
        self._log = log.bind(worker=orders.number)
        self._process: Process | None = None
        self._report = Report()
        self._stopping = False

    async def keep(self) -> None:
        """Have a process here until `stop`, a new one whenever one ends.

        A pause before each new start grows while processes do not live long.

        Raises
        ------
        Invalid, Temporary
            It is of no use to try again.
        """
        pause = _SHORTEST_PAUSE_SECONDS
        while not self._stopping:
            began = time.monotonic()
            status = await self._live()
            if self._stopping:
                return
            self._judge(status)
            if time.monotonic() - began > _STEADY_SECONDS:
                pause = _SHORTEST_PAUSE_SECONDS
            self._log.error(
                "worker ended by itself",
                ended_by=_obituary(status),
                reason=self._report.fault,
                retry_seconds=pause,
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def stop(self) -> None:
        """Let the process finish what it is at, and end it when it takes too long."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        for end in (process.terminate, process.kill):
            with suppress(ProcessLookupError):
                end()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _DRAIN_SECONDS)
                return
            self._log.warning("worker does not end", seconds=_DRAIN_SECONDS)

    async def _live(self) -> int:
        """Start a process, follow it to its end, and return its exit status."""
        self._report = Report()
        orders = self._orders
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *tethered(signal.SIGKILL, sys.executable, "-m", "hilum.worker"),
                stdin=PIPE,
                stdout=PIPE,
                pass_fds=(
                    orders.dicom_descriptor,
                    orders.http_descriptor,
                    orders.shares_descriptor,
                    orders.changes_descriptor,
                ),
                # A Ctrl-C in the terminal is for the supervisor, which drains its workers. A
                # group and no session: Linux may schedule each session as one task, and
                # who hands work to another session then waits for its turn (sched(7)).
                process_group=0,
            )
        except OSError as error:
            self._report = Report(fault=f"cannot start a process: {error.strerror}")
            return os.EX_OSERR
        assert process.stdin is not None
        assert process.stdout is not None
        self._log.info("worker started", pid=process.pid)
        try:
            process.stdin.write(orders.model_dump_json(context=WITH_SECRETS).encode() + b"\n")
            process.stdin.close()
            async for line in process.stdout:
                self._report = Report.model_validate_json(line)
                if self._report.fault is None:
                    self.serving.set()
            return await process.wait()
        finally:
            self._shares.leave(orders.number)
            if process.returncode is None:  # cancelled, with a process just started
                process.kill()

    def _judge(self, status: int) -> None:
        """Raise if another try is of no use."""
        fault = self._report.fault
        if not self._report.heals:
            raise Invalid(fault or "")
        if not self.serving.is_set() and status > 0:
            raise Temporary(fault or f"worker {self._orders.number}: {_obituary(status)}")


def _obituary(status: int) -> str:
    """Return what a process ended of, in words."""
    if status >= 0:
        return f"exit status {status}"
    return signal.strsignal(-status) or f"signal {-status}"
