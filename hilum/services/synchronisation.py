"""Rebuilding the index of a running node, at somebody's wish, and how far it has come."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from hilum.core.errors import HilumError, Temporary
from hilum.index.sync_state import RUNNING, SyncState, SyncStates
from hilum.services.reindexing import Reindexed, Reindexing

log = structlog.get_logger(__name__)

_NEWS_SECONDS: Final = 1.0


class Synchronisation:
    """Has at most one rebuilding run, whichever worker is asked. Lives on the loop."""

    def __init__(self, reindexing: Reindexing, states: SyncStates) -> None:
        self._reindexing = reindexing
        self._states = states
        self._task: asyncio.Task[None] | None = None

    async def state(self) -> SyncState:
        """Return where the last one stands.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._states.read()

    async def start(self) -> bool:
        """Begin one; False if one is running already.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        if not await self._states.begin():
            return False
        self._task = asyncio.create_task(self._run())
        return True

    async def stop(self) -> None:
        """Interrupt one of this worker's: the next goes on where it was."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        state = await self._states.read()

        def note(done: int, total: int, report: Reindexed) -> None:
            nonlocal state
            failures = len(report.failures)
            state = replace(
                state, done=done, total=total, indexed=report.indexed, failures=failures
            )

        rebuilding = asyncio.create_task(self._reindexing.rebuild(note))
        try:
            while not rebuilding.done():
                await asyncio.wait([rebuilding], timeout=_NEWS_SECONDS)
                with suppress(Temporary):
                    await self._states.put(replace(state, state=RUNNING))
            state = _ended(state, rebuilding)
        except asyncio.CancelledError:
            rebuilding.cancel()
            state = replace(state, state="interrupted")
            raise
        finally:
            log.info("index rebuilt", state=state.state, files=state.done, failures=state.failures)
            with suppress(Temporary):
                await self._states.put(state)


def _ended(state: SyncState, rebuilding: "asyncio.Task[Reindexed]") -> SyncState:
    try:
        rebuilding.result()
    except HilumError as error:
        return replace(state, state="failed", reason=str(error))
    return replace(state, state="done")
