"""Deletion: instances out of the index, then their bytes out of the store, into the trash.

What is deleted cannot be found from the moment its document is gone; its bytes follow. An
instance that is stored again at this very moment is either deleted too or stays whole.
Its document may be written before the bytes are looked for or after:

- The store takes the bytes out of their address before the index is asked whether they are
  wanted, and puts them back if they are (`Store.discard`).
- A promotion looks for the bytes at their address after it has written the document, while
  it still has them in the spool, and begins anew if they are not there: bytes, then document.

If the document is written before the index is asked, the bytes come back. If it is written
after, the address is empty when the promotion looks. Either way it has both in the end; and
bytes that a document is deleted from are still at their address then, so they are removed.

Where deletions can be undone, removed means moved to the trash (`hilum.services.trash`). That
changes nothing of the above: from their address the bytes are gone in the same step, and whoever
finds them missing there stores his own, as another file. What is put back from the trash is a
promotion like any other, with the trash in place of the spool: its file stays there until its
bytes were seen at their address after its document was written.

At every moment the bytes of a document that was deleted, and of which nobody was told that they
are gone for good, are at their address, in ``.discarded`` with a note that leads there, or in the
trash with a note that tells whose they are. The note comes first, before any document goes.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from hilum.core.errors import NotFound, Temporary
from hilum.core.events import Draft, Kind
from hilum.core.levels import Level
from hilum.index.outbox import Outbox
from hilum.index.remover import Removal, Remover
from hilum.index.trash import State, TrashNotes
from hilum.services.crossing import Crossing
from hilum.storage.cache import Cache
from hilum.storage.store import Store
from hilum.storage.trash import TrashFolder

log = structlog.get_logger(__name__)

#: Instances whose documents go at once, and then their bytes.
_BATCH_SIZE: Final = 500
#: A deletion that is at work is done with a batch long before: an older one was interrupted.
_INTERRUPTED_SECONDS: Final = 60.0
_STARTED: Final = time.monotonic()
#: After a fault, such as a MongoDB that starts more slowly than the node.
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Trash:
    """Where deletions are kept until they cannot be undone any more."""

    notes: TrashNotes
    files: TrashFolder


class Deletion:
    """Deletes studies, series and instances, all versions of each. Lives on the loop.

    Parameters
    ----------
    remover, store, crossing, cache
        What it works with.
    trash
        Where the bytes go.
    keep
        Whether they do; else they are gone at once.
    outbox
        Where it is told that something was deleted.
    """

    def __init__(
        self,
        remover: Remover,
        store: Store,
        crossing: Crossing,
        cache: Cache | None = None,
        trash: Trash | None = None,
        *,
        keep: bool = True,
        outbox: Outbox | None = None,
    ) -> None:
        self._remover = remover
        self._store = store
        self._crossing = crossing
        self._cache = cache
        self._trash = trash
        self._keep = keep
        self._outbox = outbox

    @property
    def keeps(self) -> bool:
        """Whether what is deleted goes to the trash."""
        return self._trash is not None and self._keep

    async def delete(
        self,
        study_instance_uid: str,
        series_instance_uid: str | None = None,
        sop_instance_uid: str | None = None,
        *,
        only_study: str | None = None,
        by: str = "",
        reason: str = "",
    ) -> int:
        """Delete what is in the index of a study, a series, or an instance.

        Parameters
        ----------
        study_instance_uid, series_instance_uid, sop_instance_uid
            As far down as what is deleted.
        only_study
            The public id of the study, where two patients may have one of the same UID.
        by, reason
            Who asks for it, and why, for those who look at the trash or the log.

        Returns
        -------
        int
            How many instances that was; they cannot be found any more and their bytes are
            in the trash, or gone from the disk if there is none.

        Raises
        ------
        NotFound
            The index has nothing of the kind. What has arrived and is not in the index yet
            is not deleted.
        IndexUnavailable, StorageUnavailable
            Part of it may be deleted. What was begun is finished later (`resume`), what was
            not stays.
        """
        uids = (study_instance_uid, series_instance_uid, sop_instance_uid)
        ids = await self._remover.find(*uids, only_study=only_study)
        if not ids:
            what = sop_instance_uid or series_instance_uid or study_instance_uid
            raise NotFound(f"nothing is stored of {what}")
        kept = None
        trash = self._trash if self._keep else None
        for start in range(0, len(ids), _BATCH_SIZE):
            batch = ids[start : start + _BATCH_SIZE]
            if trash is not None and (kept is None or not await trash.notes.hold(kept)):
                kept = await trash.notes.open(uids, by=by, reason=reason)
            while (removal := await self._remover.remove(batch, kept, reason)) is not None:
                await self._follow(removal)
        if trash is not None and kept is not None:
            await _close(trash, kept)
        log.info(
            "deleted",
            study_instance_uid=study_instance_uid,
            series_instance_uid=series_instance_uid,
            sop_instance_uid=sop_instance_uid,
            instances=len(ids),
            deletion=kept,
            reason=reason or None,
        )
        return len(ids)

    async def resume(self, older_than_seconds: float = _INTERRUPTED_SECONDS) -> int:
        """Finish deletions that were interrupted; return how many.

        No further document is deleted: whoever asked was not told that it was done, and what
        is there may have been stored since.

        Raises
        ------
        Temporary
            MongoDB or the store does not answer.
        """
        resumed = 0
        async for removal in self._remover.unfinished(older_than_seconds):
            await self._remover.settle(removal)
            await self._follow(removal, again=True)
            resumed += 1
        if self._trash is not None:
            notes = self._trash.notes
            async for deletion in notes.adopt(State.DELETING, older_than_seconds):
                await _close(self._trash, deletion)
        return resumed

    async def _follow(self, removal: Removal, *, again: bool = False) -> None:
        """Do what follows once the documents are gone; `again`, if some of it may be done."""
        if self._outbox is not None:
            gone = await self._remover.gone(removal)
            await self._outbox.add(deleted_events(removal, gone, again=again))
        kept = await self.clear(removal)
        await self._remover.finish(removal, kept)

    async def referred(self, removal: Removal) -> set[str]:
        """Return which digests of a deletion documents refer to: they are back.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._remover.wanted(removal)

    async def clear(self, removal: Removal) -> set[str]:
        """Take the bytes of deleted documents out of the store. Idempotent.

        Whoever goes on after a crash, or beside somebody who only seemed to be dead, may find
        files on their way that the other has taken: this begins by bringing them back.

        Returns
        -------
        set of str
            Digests that stay, as they were stored again.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            Some may still be there.
        """
        kept: set[str] = set()

        def wanted() -> set[str]:
            kept.update(self._crossing.call(self._remover.wanted(removal)))
            return kept

        folder = None
        if self._trash is not None and removal.trash is not None:
            folder = self._trash.files.folder(removal.trash)
        await asyncio.to_thread(self._store.discard, removal.digests, wanted, folder)
        if self._cache is not None:
            # Pictures and metadata of them. All that is in it can be made again.
            await asyncio.to_thread(self._cache.clear)
        return kept


async def _close(trash: Trash, deletion: str) -> None:
    if not await trash.notes.close(deletion):
        # Of what was stored again a crash may have left files here.
        await asyncio.to_thread(trash.files.remove, deletion)


def deleted_events(
    removal: Removal, gone: Mapping[Level, Collection[str]], *, again: bool = False
) -> list[Draft]:
    """Return the events of a removal: its instances, then what was emptied, from below.

    Parameters
    ----------
    removal
        Whose documents are gone.
    gone
        By level, the public ids of what is not there any more.
    again
        Whether some of the events may be in the outbox.
    """
    details = {"reason": removal.reason, "deletion": removal.trash}
    levels = (Level.IMAGE, Level.SERIES, Level.STUDY, Level.PATIENT)
    drafts: dict[tuple[Level, str], Draft] = {}
    for level in levels:
        for each in removal.instances:
            identity = each.identity
            resource = {
                Level.IMAGE: identity.instance,
                Level.SERIES: identity.series,
                Level.STUDY: identity.study,
                Level.PATIENT: identity.patient,
            }[level]
            if resource not in gone[level] or (level, resource) in drafts:
                continue
            drafts[level, resource] = Draft(
                kind=Kind.DELETED,
                level=level,
                resource=resource,
                study=identity.study,
                study_instance_uid=identity.study_instance_uid,
                series_instance_uid=(
                    identity.series_instance_uid if level in {Level.IMAGE, Level.SERIES} else None
                ),
                sop_instance_uid=identity.sop_instance_uid if level is Level.IMAGE else None,
                at=removal.begun_at,
                occasion=removal.id,
                details=details,
                perhaps_since=removal.begun_at if again else None,
            )
    return list(drafts.values())


def since_start() -> float:
    """Return for how many seconds this process has been there, about."""
    return time.monotonic() - _STARTED


async def keep_resuming(deletion: Deletion, every_seconds: float = _INTERRUPTED_SECONDS) -> None:
    """Finish what interrupted deletions have left, until cancelled.

    At first whatever nobody has touched since this process began: at a node's start it is of
    the dead. It does no harm to one that another worker has just begun.
    """
    first = True
    while True:
        try:
            if resumed := await deletion.resume(since_start() if first else _INTERRUPTED_SECONDS):
                log.info("interrupted deletions finished", deletions=resumed)
            first = False
        except Temporary as error:
            log.warning("interrupted deletions wait", reason=str(error))
            await asyncio.sleep(min(RETRY_SECONDS, every_seconds))
            continue
        await asyncio.sleep(every_seconds)
