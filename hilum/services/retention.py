"""Retention: studies that are deleted by rule, and none that is off by default.

A plan says which studies the rules would delete now, and why; the same plan is what a preview
shows and what a run carries out. Deleting is `Deletion`'s: it can be undone, is logged, and told
as an event, with the reason. What is protected, not stable, or has got something new within the
last minutes is never in a plan, and is looked at again right before it is deleted.

Purges that go on for ever are of two kinds, and neither may happen here:

- *A target that cannot be reached*: the rest of the disk is full of other things, or most of the
  store is protected. Then study after study would go as soon as it is stable, to no end. So a rule
  for space deletes nothing, in the trash neither, unless the studies that may go are enough to
  reach its target, and says so.
- *Deleting that frees nothing*: a snapshot or a backup made of hard links holds the blocks. So the
  free space is measured around each removal; when `_PROOF_BYTES` were removed and less than a
  quarter of them has become free, the rule for free space halts, for this and all later runs and
  workers, until its target is changed, is reached, or a person says `hilum retention resume`.

The rule for the size of the store cannot fail to gain: it counts what the index has, and what is
deleted is not in it. A rule by age looks at each study once, however little it gains. A sender
that sends a deleted study again sends a new one: its time of arrival counts anew.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Final

import structlog

from hilum.core.errors import Conflict, NotFound
from hilum.index.retention import Candidates
from hilum.services.deletion import Deletion
from hilum.services.retention_plan import Doomed, Plan, Planner, Rule
from hilum.services.trash import Trashcan

log = structlog.get_logger(__name__)

_PROOF_BYTES: Final = 64 << 20
#: Some file systems free blocks a while after their last name is gone.
_FREED_SECONDS: Final = 10.0
_GLANCE_SECONDS: Final = 0.1


class Retention:
    """Deletes by rule. Lives on the loop; one run at a time."""

    def __init__(
        self, planner: Planner, candidates: Candidates, deletion: Deletion, trashcan: Trashcan
    ) -> None:
        self.planner = planner
        self._candidates = candidates
        self._deletion = deletion
        self._trashcan = trashcan
        self._warned: tuple[str, ...] = ()

    async def run(self) -> list[Doomed]:
        """Carry out the plan of this moment; return what was deleted.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            Some of it may be deleted. The next run makes a plan of its own.
        """
        plan = await self.planner.plan()
        self._warn(plan)
        target = self.planner.rules.keep_free_bytes
        if target and plan.free_bytes >= target:
            await self._candidates.resume()
        deleted = [
            each for each in plan.doomed if each.rule is not Rule.FREE and await self._delete(each)
        ]
        if plan.makes_room:
            waiting = deque(each for each in plan.doomed if each.rule is Rule.FREE)
            deleted += await self._make_room(target, waiting)
        if deleted:
            size_bytes = sum(each.candidate.size_bytes for each in deleted)
            log.info("retention", studies=len(deleted), size_bytes=size_bytes, more=plan.more)
        return deleted

    def _warn(self, plan: Plan) -> None:
        if plan.warnings != self._warned:  # once, and not every few minutes
            for warning in plan.warnings:
                log.warning("retention cannot do what it is to", reason=warning)
        self._warned = plan.warnings

    async def _delete(self, doomed: Doomed) -> bool:
        """Delete a study, unless it may not go any more."""
        candidate = doomed.candidate
        if not await self._candidates.still(candidate, await self.planner.eligible()):
            return False
        with suppress(NotFound):  # somebody was faster
            await self._deletion.delete(
                candidate.study_instance_uid,
                only_study=candidate.study,
                by="retention",
                reason=doomed.reason,
            )
            return True
        return False

    async def _make_room(self, target: int, waiting: "deque[Doomed]") -> list[Doomed]:
        """Remove what is in the trash, then studies, until so much is free."""
        deleted: list[Doomed] = []
        expected = gained = 0
        while (free := await self.planner.free_bytes()) < target:
            entry = await self._trashcan.oldest()
            removed = 0
            if entry is not None:
                with suppress(NotFound, Conflict):  # somebody else is at it
                    removed = await self._trashcan.collect(entry.id)
            elif not waiting:
                break
            else:
                doomed = waiting.popleft()
                if await self._delete(doomed):
                    deleted.append(doomed)
                    # With a trash its bytes are in there now, and go in the next round.
                    removed = 0 if self._deletion.keeps else doomed.candidate.size_bytes
            if removed:
                expected += removed
                gained += await self._freed(free, removed)
            if expected >= _PROOF_BYTES and gained < expected // 4:
                await self._candidates.halt(target, expected, gained)
                log.error(
                    "retention halted: what it removes frees nothing",
                    removed_bytes=expected,
                    gained_bytes=gained,
                )
                break
        return deleted

    async def _freed(self, before: int, removed: int) -> int:
        """Return how much more is free than `before`, once that is about what was removed."""
        deadline = time.monotonic() + _FREED_SECONDS
        while True:
            gained = await self.planner.free_bytes() - before
            if gained >= removed // 2 or time.monotonic() > deadline:
                return gained
            await asyncio.sleep(_GLANCE_SECONDS)


async def keep_retaining(retention: Retention, every_seconds: float) -> None:
    """Delete by rule now and then, until cancelled; for the leader.

    Not at once: who has set a rule, started a node and been frightened has time to stop it.
    """
    while True:
        await asyncio.sleep(every_seconds)
        await retention.run()
