"""Reindexing: what the store holds into the index, without the help of what the index held.

Files are taken in the order in which they arrived, so that of values that instances of a
series disagree about the same one wins as when they were received, and that of several
versions of an instance each finds the one before it. Which version is current:

- the one that the index has as current, if there is such a one and its file is there;
- else the one that the conflict policy makes it, as if they arrived now, one after the other:
  the newest under ``replace``, the oldest under ``keep`` and ``reject``.

Everything may be repeated, and be done beside a node that receives and deletes: the index
guards each write (`hilum.index.writer`), and a document whose file was deleted at that moment
is deleted after it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hilum.core.errors import HilumError, NotFound
from hilum.core.instance import Blob, Instance
from hilum.imaging.header import read_header
from hilum.index.bookmark import Bookmark
from hilum.index.instance_writer import Write
from hilum.index.references import Reference, References
from hilum.index.remover import Remover
from hilum.index.writer import Writer
from hilum.services.decision import ConflictPolicy
from hilum.services.sameness import same_data_set
from hilum.storage.store import Store

log = structlog.get_logger(__name__)

#: Files whose documents go to the index in one round trip.
_BATCH_SIZE: Final = 500
# A node that serves meanwhile has these threads for others too.
_READS_AT_ONCE: Final = 4
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass
class Reindexed:
    """What became of stored files."""

    indexed: int = 0
    """The index knew nothing of them."""
    known: int = 0
    """It did; what it says of them was written anew."""
    failures: dict[str, str] = field(default_factory=dict)
    """By digest, why a file could not be indexed."""

    @property
    def files(self) -> int:
        """All that were looked at."""
        return self.indexed + self.known + len(self.failures)

    def add(self, other: "Reindexed") -> None:
        """Count in what became of further files."""
        self.indexed += other.indexed
        self.known += other.known
        self.failures |= other.failures


class Reindexing:
    """Indexes stored files. Lives on the loop.

    Parameters
    ----------
    policy
        Which version of an instance is to be current where the index does not know.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        references: References,
        remover: Remover,
        bookmark: Bookmark,
        policy: ConflictPolicy = "replace",
    ) -> None:
        self._store = store
        self._writer = writer
        self._references = references
        self._remover = remover
        self._bookmark = bookmark
        self._policy = policy
        self._turns = asyncio.Semaphore(_READS_AT_ONCE)

    async def rebuild(
        self, on_progress: Callable[[int, int, Reindexed], None] | None = None
    ) -> Reindexed:
        """Index everything that is stored. Goes on where an earlier call was interrupted.

        Parameters
        ----------
        on_progress
            Is called after each batch with the number of files done, of all files, and what
            became of those of this call.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            What is done is kept, and the next call goes on behind it.
        """
        report = Reindexed()
        places = await asyncio.to_thread(self._places)
        last = await self._bookmark.place()
        done = sum(place <= last for place in places) if last else 0
        for start in range(done, len(places), _BATCH_SIZE):
            batch = places[start : start + _BATCH_SIZE]
            if on_progress is not None:
                on_progress(start, len(places), report)
            report.add(await self.index([_digest(place) for place in batch]))
            await self._bookmark.put(batch[-1])
        await self._bookmark.remove()
        if on_progress is not None:
            on_progress(len(places), len(places), report)
        return report

    def _places(self) -> list[str]:
        """Return a place for every stored file, sortable by time of arrival."""
        places = []
        for digest in self._store.digests():
            with suppress(NotFound):  # deleted at this moment
                places.append(_place(self._store.origin(digest).received_at, digest))
        places.sort()
        return places

    async def index(self, digests: Sequence[str]) -> Reindexed:
        """Index stored files, oldest first. Idempotent.

        Parameters
        ----------
        digests
            The files, in the order of their arrival.

        Returns
        -------
        Reindexed
            What became of them; of those that are not stored, a failure each.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            Some of them may be indexed.
        """
        report = Reindexed()
        for start in range(0, len(digests), _BATCH_SIZE):
            await self._index(digests[start : start + _BATCH_SIZE], report)
        return report

    async def _index(self, digests: Sequence[str], report: Reindexed) -> None:
        reads = [self._read_in_turn(digest) for digest in digests]
        waiting: list[Instance] = []
        for digest, read in zip(digests, await asyncio.gather(*reads), strict=True):
            if isinstance(read, Instance):
                waiting.append(read)
            else:
                log.warning("not indexed", digest=digest, reason=str(read))
                report.failures[digest] = str(read)
        while waiting:
            waiting = await self._attempt(waiting, report)

    async def _read_in_turn(self, digest: str) -> Instance | HilumError:
        async with self._turns:
            return await asyncio.to_thread(self._read, digest)

    def _read(self, digest: str) -> Instance | HilumError:
        try:
            with self._store.open(digest) as file:
                header = read_header(file)
            blob = Blob(digest, self._store.size(digest))
            return Instance(header, blob, self._store.origin(digest))
        except (HilumError, OSError) as error:
            return error if isinstance(error, HilumError) else NotFound(str(error.strerror))

    async def _attempt(self, waiting: Sequence[Instance], report: Reindexed) -> list[Instance]:
        """Write what can be written in one go; return what has to wait for that."""
        first: dict[str, Instance] = {}
        again = [
            instance
            for instance in waiting
            if first.setdefault(instance.header.identity.instance, instance) is not instance
        ]
        known = await self._references.of(first)
        if known:
            decisions = await asyncio.to_thread(self._decide, first, known)
        else:
            decisions = {key: Write(instance, arrived=False) for key, instance in first.items()}
        writes = [write for write in decisions.values() if write is not None]
        lost = {id(write) for write in (await self._writer.write(writes)).lost}
        await self._take_back([write for write in writes if id(write) not in lost])
        for key, write in decisions.items():
            if write is not None and id(write) in lost:
                again.insert(0, first[key])
            elif key in known and first[key].blob.digest in known[key].digests:
                report.known += 1
            else:
                report.indexed += 1
        return again

    def _decide(
        self, instances: dict[str, Instance], known: dict[str, Reference]
    ) -> dict[str, Write | None]:
        return {
            key: self._write(instance, known[key])
            if key in known
            else Write(instance, arrived=False)
            for key, instance in instances.items()
        }

    def _write(self, instance: Instance, known: Reference) -> Write | None:
        """Return what is to be written of an instance that the index knows; None: nothing."""
        digest = instance.blob.digest
        if digest == known.current.digest:
            # When it came the index knows better than a file whose mark was lost in a copy.
            return Write(Instance(instance.header, instance.blob, known.origin), arrived=False)
        if not self._store.contains(known.current.digest):
            present = [each for each in known.others if self._store.contains(each)]
            if digest in present and digest != max(present, key=lambda each: known.others[each]):
                return None
            return Write(instance, supersedes=known.current, arrived=False)
        if digest in known.others:
            return None
        keep = (
            self._policy != "replace"
            or instance.origin.received_at < known.origin.received_at
            or self._holds_same(known.current.digest, digest)
        )
        # One that is kept for no reason but that it is there is named all the same: so that
        # whoever deletes the instance deletes all of its files.
        return Write(instance, supersedes=known.current, keep_current=keep, arrived=False)

    def _holds_same(self, current: str, other: str) -> bool:
        with self._store.open(current) as one, self._store.open(other) as two:
            return same_data_set(one, two)

    async def _take_back(self, writes: Sequence[Write]) -> None:
        """Delete the documents of instances whose files were all deleted meanwhile.

        A deletion deletes documents first and then files that no document refers to
        (`hilum.services.deletion`): these documents came too late for it to notice.
        """
        gone = await asyncio.to_thread(self._gone, writes)
        if gone:
            known = await self._references.of(gone)
            left = [key for key, each in known.items() if not any(map(self._stored, each.digests))]
            # What it notes of them is finished by whoever finishes interrupted deletions.
            await self._remover.remove(left)

    def _gone(self, writes: Sequence[Write]) -> list[str]:
        return [
            write.instance.header.identity.instance
            for write in writes
            if not self._stored(write.instance.blob.digest)
        ]

    def _stored(self, digest: str) -> bool:
        return self._store.contains(digest)


def _place(arrived: datetime, digest: str) -> str:
    return f"{(arrived - _EPOCH) // _MICROSECOND:020d} {digest}"


def _digest(place: str) -> str:
    return place.rpartition(" ")[2]
