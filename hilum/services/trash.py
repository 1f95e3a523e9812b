"""The trash: deletions that can be undone, and the collector that ends that.

Undoing is promotion with the trash in place of the spool: each file is linked to its address,
its document written, and only then is it let go of here. So it may be interrupted anywhere, and
begun again, and it meets stores and deletions of the same instance as any other promotion does.
What has become current under the same identifiers in the meantime stays current; what comes
back is then one of its other versions.

Of a deletion that is undone and collected at the same time one comes first (`TrashNotes.claim`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hilum.core.errors import Conflict, Corrupt, HilumError, NotFound, Temporary
from hilum.index.remover import Removal
from hilum.index.trash import State, TrashEntry
from hilum.services.decision import Outcome
from hilum.services.deletion import RETRY_SECONDS, Deletion, Trash, since_start
from hilum.services.promotion import Promotion
from hilum.storage.spool import SpoolEntry

log = structlog.get_logger(__name__)

#: Whoever works on a deletion says so for each batch, and is done with one long before.
_INTERRUPTED_SECONDS: Final = 60.0
#: How late the collector may be, at most.
_COLLECTING_SECONDS: Final = 3600.0
#: As often as the cache is held against the space that is left.
_GIVING_WAY_SECONDS: Final = 2.0


class Trashcan:
    """Lists, undoes and collects deletions. Lives on the loop.

    Parameters
    ----------
    trash
        Where they are.
    promotion
        What brings instances back.
    deletion
        What has put them there.
    """

    def __init__(self, trash: Trash, promotion: Promotion, deletion: Deletion) -> None:
        self._notes = trash.notes
        self._files = trash.files
        self._promotion = promotion
        self._deletion = deletion
        self._restoring: set[asyncio.Task[int]] = set()

    async def entries(self, limit: int, offset: int = 0) -> list[TrashEntry]:
        """Return deletions in the trash, the newest first.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._notes.entries(limit, offset)

    async def total(self) -> tuple[int, int]:
        """Return how many deletions there are, and how many bytes could be collected.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._notes.total()

    async def entry(self, deletion: str) -> TrashEntry:
        """Return one deletion.

        Raises
        ------
        NotFound
            It is not in the trash, or not any more: it is undone, or collected.
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._notes.entry(deletion)

    async def restore(self, deletion: str, patience_seconds: float = 10.0) -> int | None:
        """Undo a deletion.

        Returns
        -------
        int
            How many instances are back: in the store, and found by queries. None if that
            takes longer than the patience; it goes on all the same.

        Raises
        ------
        NotFound
            It is not in the trash, or not any more.
        Conflict
            It is being restored or collected at this moment, or still being deleted.
        Corrupt
            Some of it cannot be restored; that is still in the trash, or in quarantine.
        IndexUnavailable
            MongoDB does not answer. What was begun is finished later (`resume`).
        """
        await self._notes.claim(deletion, State.RESTORING)
        work = asyncio.create_task(self._restore(deletion))
        self._restoring.add(work)
        work.add_done_callback(self._restored)
        done, _ = await asyncio.wait([work], timeout=patience_seconds)
        return work.result() if done else None

    def _restored(self, work: "asyncio.Task[int]") -> None:
        self._restoring.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            log.warning("deletion not undone yet", reason=str(error))

    async def _restore(self, deletion: str) -> int:
        instances = 0
        failed = 0
        async for removal in self._notes.removals(deletion):
            await self._notes.turn(deletion, State.RESTORING, State.RESTORING)
            lost = await self._restore_batch(deletion, removal)
            instances += len(removal.instances)
            failed += lost
            if not lost:
                await self._notes.drop(removal)
        if failed:
            await self._notes.turn(deletion, State.RESTORING, State.KEPT)
            raise Corrupt(f"{failed} files of deletion {deletion} cannot be restored")
        await self._notes.forget(deletion)
        await asyncio.to_thread(self._files.leave, deletion)
        log.info("deletion undone", deletion=deletion, instances=instances)
        return instances

    async def _restore_batch(self, deletion: str, removal: Removal) -> int:
        """Bring a batch back; return how many files are not back."""
        digests = removal.digests
        present = await asyncio.to_thread(self._files.present, deletion, digests)
        if present < digests:
            # Restored before an interruption, most often. But whoever finished the deletion may
            # have been killed beside another one who had just taken the files out.
            await self._deletion.clear(removal)
            present = await asyncio.to_thread(self._files.present, deletion, digests)
        back: set[str] = set()
        most = max(len(each.files) for each in removal.instances)
        for place in range(most):
            # What was current first, and alone: the others then find it so.
            entries = [
                SpoolEntry(self._files.path(deletion, file.blob.digest), file.blob, file.origin)
                for each in removal.instances
                for file in each.files[place : place + 1]
                if file.blob.digest in present
            ]
            outcomes = self._promotion.restore(entries, deletion)
            done = await asyncio.gather(*map(_succeeded, outcomes))
            back.update(e.blob.digest for e, ok in zip(entries, done, strict=True) if ok)
        doubtful = digests - back
        if doubtful:
            # Back by another worker, or sent again. Or lost before they were deleted: then
            # nobody is told that they are back.
            doubtful -= await self._deletion.referred(removal)
            doubtful -= await self._notes.elsewhere(removal, doubtful)
        if doubtful:
            log.error("files of a deletion are not back", deletion=deletion, files=len(doubtful))
        return len(doubtful)

    async def collect(self, deletion: str) -> int:
        """Delete a deletion's bytes for good, and return how many those were.

        Raises
        ------
        NotFound
            It is not in the trash, or not any more.
        Conflict
            It is being restored or collected at this moment, or still being deleted.
        StorageUnavailable, IndexUnavailable
            What was begun is finished later (`resume`).
        """
        entry = await self._notes.entry(deletion)
        await self._notes.claim(deletion, State.COLLECTING)
        await self._collect(deletion)
        log.info(
            "deletion collected",
            deletion=deletion,
            study_instance_uid=entry.study_instance_uid,
            instances=entry.instances,
            size_bytes=entry.size_bytes,
        )
        return entry.size_bytes

    async def _collect(self, deletion: str) -> None:
        # Files first: without its notes nobody would know what they are.
        await asyncio.to_thread(self._files.remove, deletion)
        await self._notes.forget(deletion)

    async def empty(
        self,
        older_than: timedelta = timedelta(0),
        enough: Callable[[], Awaitable[bool]] | None = None,
    ) -> int:
        """Collect deletions, the oldest first; return how many bytes those were.

        Parameters
        ----------
        older_than
            Only such as were deleted so long ago.
        enough
            Asked before each: whether to stop.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            Some may be left.
        """
        latest = datetime.now(UTC) - older_than
        collected = 0
        while enough is None or not await enough():
            entry = await self._notes.oldest(latest)
            if entry is None:
                break
            with suppress(NotFound, Conflict):  # somebody else is at it
                collected += await self.collect(entry.id)
        return collected

    async def oldest(self) -> TrashEntry | None:
        """Return the deletion that would be collected first, if there is one."""
        return await self._notes.oldest()

    async def free_bytes(self) -> int:
        """Return what is free on the file system of the trash.

        Raises
        ------
        StorageUnavailable
            It cannot be asked.
        """
        return await asyncio.to_thread(self._files.free_bytes)

    async def give_way(self, reserve_bytes: int) -> int:
        """Collect deletions, the oldest first, until the disk has room again.

        That is one and a half times the reserve: below the reserve instances are refused,
        and the trash has to be gone before.

        Returns
        -------
        int
            How many bytes those were.
        """
        wanted = reserve_bytes * 3 // 2

        async def enough() -> bool:
            return await self.free_bytes() >= wanted

        if await enough():
            return 0
        collected = await self.empty(enough=enough)
        if collected:
            log.warning("the trash has given way: the disk is nearly full", size_bytes=collected)
        return collected

    async def resume(self, older_than_seconds: float = _INTERRUPTED_SECONDS) -> int:
        """Finish what was interrupted of undoing and collecting; return how many deletions.

        Raises
        ------
        Temporary
            MongoDB or the store does not answer.
        """
        resumed = 0
        async for deletion in self._notes.adopt(State.COLLECTING, older_than_seconds):
            await self._collect(deletion)
            resumed += 1
        async for deletion in self._notes.adopt(State.RESTORING, older_than_seconds):
            with suppress(Corrupt):  # told as it happened
                await self._restore(deletion)
            resumed += 1
        return resumed


async def _succeeded(outcome: "Future[Outcome]") -> bool:
    """Wait until an instance is promoted, or given up; return which."""
    try:
        await asyncio.wrap_future(outcome)
    except HilumError:
        return False
    return True


async def keep_finishing(trashcan: Trashcan, every_seconds: float = _INTERRUPTED_SECONDS) -> None:
    """Finish what interrupted work on the trash has left, until cancelled.

    At first whatever nobody has touched since this process began, as `Deletion` does.
    """
    first = True
    while True:
        try:
            if resumed := await trashcan.resume(since_start() if first else _INTERRUPTED_SECONDS):
                log.info("interrupted work on the trash finished", deletions=resumed)
            first = False
        except Temporary as error:
            log.warning("interrupted work on the trash waits", reason=str(error))
            await asyncio.sleep(min(RETRY_SECONDS, every_seconds))
            continue
        await asyncio.sleep(every_seconds)


async def keep_collecting(trashcan: Trashcan, keep: timedelta) -> None:
    """Collect what was deleted longer ago than `keep`, until cancelled; for the leader."""
    every_seconds = min(keep.total_seconds() or _COLLECTING_SECONDS, _COLLECTING_SECONDS)
    while True:
        await trashcan.empty(keep)
        await asyncio.sleep(every_seconds)


async def keep_giving_way(
    trashcan: Trashcan, reserve_bytes: int, every_seconds: float = _GIVING_WAY_SECONDS
) -> None:
    """Make room on the disk before instances are refused, until cancelled; for the leader."""
    while True:
        await trashcan.give_way(reserve_bytes)
        await asyncio.sleep(every_seconds)
