"""Leading: tasks that one worker of a node does for all of them.

Which one is settled by a lease. When the leader dies another one takes over as soon as the
lease has run out; when it stops in order, at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog

from hilum.core.errors import Temporary

log = structlog.get_logger(__name__)

#: Something to do for as long as this worker leads; cancelled when it does no longer.
Task = Callable[[], Awaitable[None]]

# How often a lease is taken again while it lasts.
_RENEWALS: Final = 3
_RETRY_SECONDS: Final = 1.0


class Lease(Protocol):
    """What decides who leads: `hilum.index.lease.Lease`."""

    seconds: float

    async def take(self) -> bool:
        """Take it, or hold it for longer; return whether it is ours."""
        ...

    async def give_up(self) -> None:
        """Let another one take it."""
        ...


class Leadership:
    """Whether this worker leads, for those who want to know."""

    def __init__(self) -> None:
        self.leads = False


async def leading(lease: Lease, tasks: Sequence[Task], leadership: Leadership) -> None:
    """Do `tasks` whenever this worker leads, until cancelled.

    A task that fails is begun again after a moment, and so is one that returns.
    """
    every_seconds = lease.seconds / _RENEWALS
    try:
        while True:
            if await _taken(lease):
                await _lead(lease, tasks, leadership, every_seconds)
            await asyncio.sleep(every_seconds)
    finally:
        # The node is stopping: nobody need wait for the lease to run out.
        with suppress(Temporary, TimeoutError):
            await asyncio.wait_for(lease.give_up(), _RETRY_SECONDS)


async def _lead(
    lease: Lease, tasks: Sequence[Task], leadership: Leadership, every_seconds: float
) -> None:
    """Do `tasks` for as long as the lease is held."""
    log.info("this worker leads")
    leadership.leads = True
    running = [asyncio.create_task(_keep_doing(task)) for task in tasks]
    held_until = time.monotonic() + lease.seconds - every_seconds
    try:
        while True:
            await asyncio.sleep(every_seconds)
            asked = time.monotonic()
            if asked > held_until:  # stopped, or MongoDB away: another one may lead by now
                break
            taken = await _taken(lease, held_until - asked)
            if taken is False:
                break
            if taken:
                held_until = asked + lease.seconds - every_seconds
    finally:
        leadership.leads = False
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    log.warning("this worker leads no longer")


async def _taken(lease: Lease, patience_seconds: float | None = None) -> bool | None:
    """Return whether the lease is ours, None if nobody can say."""
    try:
        # Not `wait_for`: before Python 3.12 it may forget that it was cancelled.
        async with asyncio.timeout(patience_seconds):
            return await lease.take()
    except (Temporary, TimeoutError):
        return None


async def _keep_doing(task: Task) -> None:
    while True:
        try:
            await task()
        except Temporary as error:
            log.warning("a task of the leader waits", reason=str(error))
        except Exception:
            log.exception("a task of the leader failed")
        await asyncio.sleep(_RETRY_SECONDS)
