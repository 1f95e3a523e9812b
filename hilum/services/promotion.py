"""Promotion: from the spool into the store and the index, in batches, off the hot path.

One consumer takes whatever is waiting, links the files to their content addresses, writes
the documents in one round trip and only then lets go of the spool entries. Every step can
be repeated, so a crash anywhere in between is mended by replaying the spool. While MongoDB
is away the batch at hand is tried again and the rest waits, in the spool and in the queue.

A batch costs eight round trips and a few syncs, whether it holds one instance or hundreds,
and they are paid with the processor time that receiving needs. So instances of a stream are
gathered for a moment; but nobody who waits for them is kept waiting (`Promotion.hurry`).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

import structlog

from hilum.core.errors import Conflict, HilumError, Invalid, NotFound, Temporary
from hilum.core.instance import Header, Instance
from hilum.imaging.header import read_header
from hilum.index.outbox import Outbox
from hilum.index.writer import Writer
from hilum.services.arrivals import drafts, refusal
from hilum.services.decision import ConflictPolicy, Deciding, Decision, Outcome, Pending
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import SpoolEntry
from hilum.storage.store import Store

log = structlog.get_logger(__name__)

#: More instances a batch do not make a round trip cheaper, and delay the first of them.
_BATCH_SIZE = 500
# Behind this many, a waiting instance's header is read again from its file instead of
# being kept: a day without MongoDB must not cost the node its memory.
_HEADERS_KEPT = 2_000
# From the start of one batch to the start of the next, while nobody waits. Measured with one
# association of 512-KiB instances: 0.25 s cost a third of the processor time of no pause.
_GATHER_SECONDS = 0.25
_RETRY_FIRST_SECONDS = 0.1
# How often a wait for the index looks whether there is any point in it.
_PATIENCE_SECONDS = 0.25
_RETRY_LONGEST_SECONDS = 5.0


class Promotion:
    """The consumer of the spool. Lives on the loop; `run` is its task.

    `add` and the properties are for any thread, everything else is for the loop.

    Parameters
    ----------
    on_written
        Is told the UIDs of the studies that a batch was written to.
    outbox
        Where what happened is told.
    """

    def __init__(
        self,
        store: Store,
        quarantine: Quarantine,
        writer: Writer,
        policy: ConflictPolicy = "replace",
        on_written: Callable[[Collection[str]], None] | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._writer = writer
        self._deciding = Deciding(store, policy)
        self._on_written = on_written
        self._outbox = outbox
        self._lock = threading.Lock()  # around the queue and the counters
        self._waiting: deque[Pending] = deque()
        self._batch: list[Pending] = []
        self._woken = asyncio.Event()
        self._hurried = False
        self._next_batch = 0.0  # on the monotonic clock: the first one waits for nothing
        self._idle = asyncio.Event()
        self._idle.set()
        self._stalled = False
        self.received_instances = 0
        self.received_bytes = 0

    @property
    def rejects_conflicts(self) -> bool:
        """Whether a new version of a stored instance is refused before it is acknowledged."""
        return self._deciding.policy == "reject"

    @property
    def backlog(self) -> int:
        """Instances that are acknowledged and cannot be found yet."""
        return len(self._waiting) + len(self._batch)

    @property
    def stalled(self) -> bool:
        """Whether the last attempt failed for want of MongoDB or the disk."""
        return self._stalled

    def add(self, pending: Pending) -> bool:
        """Queue one instance; return whether the consumer must be told (`wake`).

        It must for the first that waits and for the one that fills a batch. An instance in
        between costs neither a system call nor a turn of the loop.
        """
        with self._lock:
            self.received_instances += 1
            self.received_bytes += pending.entry.blob.size_bytes
            if len(self._waiting) >= _HEADERS_KEPT:
                pending = replace(pending, header=None)
            self._waiting.append(pending)
            return len(self._waiting) in {1, _BATCH_SIZE}

    def restore(self, entries: Sequence[SpoolEntry], deletion: str) -> "list[Future[Outcome]]":
        """Queue what was deleted and comes back, in this order; on the loop only.

        Parameters
        ----------
        entries
            Their files lie in the trash, and stay there until they are stored and indexed.
        deletion
            What is undone by it.
        """
        found = [Pending(entry, None, Future(), restored=deletion) for entry in entries]
        with self._lock:
            self._waiting.extend(found)
        if found:
            self.hurry()
        return [pending.outcome for pending in found]

    def wake(self) -> None:
        """Have the consumer look at what waits."""
        self._idle.clear()
        self._woken.set()

    def hurry(self) -> None:
        """Gather no longer: somebody waits for what was added."""
        self._hurried = True
        self.wake()

    async def check_conflict(self, entry: SpoolEntry, header: Header) -> None:
        """Look whether another version is stored under the same identifiers.

        Raises
        ------
        Conflict
            It is.
        IndexUnavailable
            MongoDB does not answer, so nobody knows.
        """
        identity = header.identity
        known = (await self._writer.current([identity.instance])).get(identity.instance)
        if known is None or known.current.digest == entry.blob.digest:
            return
        if not await asyncio.to_thread(self._deciding.may_replace, known.current, entry):
            instance = Instance(header, entry.blob, entry.origin)
            if self._outbox is not None:
                await self._outbox.add([refusal(instance, known.current)])
            raise Conflict(
                f"another version of {identity.sop_instance_uid} is stored "
                "and the policy is to reject new ones"
            )

    async def run(self) -> None:
        """Promote what arrives, until cancelled."""
        while True:
            await self._gathered()
            started = time.monotonic()
            with self._lock:
                count = min(len(self._waiting), _BATCH_SIZE)
                self._batch = [self._waiting.popleft() for _ in range(count)]
                self._hurried = self._hurried and bool(self._waiting)
            await self._finish(self._batch)
            self._batch = []
            self._next_batch = started + _GATHER_SECONDS

    async def _gathered(self) -> None:
        """Wait until something waits and a batch is due, full, or asked for."""
        while not self._waiting:
            self._idle.set()
            self._woken.clear()
            await self._woken.wait()
        while not self._hurried and len(self._waiting) < _BATCH_SIZE:
            seconds = self._next_batch - time.monotonic()
            if seconds <= 0:
                return
            self._woken.clear()
            # Not `wait_for`: before Python 3.12 it may forget that it was cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    async def drained(self, timeout_seconds: float) -> bool:
        """Wait until everything accepted can be found.

        False if the time ran out first, or the index turns out to be away: what is left
        waits in the spool.
        """
        deadline = time.monotonic() + timeout_seconds
        self.hurry()
        while self.backlog:
            if self._stalled or time.monotonic() > deadline:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._idle.wait()
        return True

    async def _finish(self, batch: Sequence[Pending]) -> None:
        delay_seconds = _RETRY_FIRST_SECONDS
        while batch:
            try:
                batch = await self._attempt(batch)
                self._stalled = False
            except Exception as error:  # noqa: BLE001  # whatever one instance causes must not stop the others
                present = await asyncio.to_thread(self._present, batch)
                if len(present) < len(batch):
                    batch = present
                elif isinstance(error, Temporary):
                    self._stalled = True
                    log.warning("promotion waits", reason=str(error), backlog=self.backlog)
                    await asyncio.sleep(delay_seconds)
                    delay_seconds = min(2 * delay_seconds, _RETRY_LONGEST_SECONDS)
                elif len(batch) == 1:
                    await asyncio.to_thread(self._give_up, batch[0], error)
                    return
                else:
                    for pending in batch:
                        await self._finish([pending])
                    return

    async def _attempt(self, batch: Sequence[Pending]) -> list[Pending]:
        """Promote `batch` once; return what has to be tried again.

        Handing work to a thread and back wakes two threads up: what touches no disk, as most
        often with new instances, is done here.
        """
        if all(pending.header for pending in batch):
            instances = self._read(batch)
        else:
            instances = await asyncio.to_thread(self._read, batch)
        first: dict[str, tuple[Pending, Instance]] = {}
        again: list[Pending] = []
        for pending, instance in instances:
            public_id = instance.header.identity.instance
            if public_id in first:  # a second arrival of the same instance: in its turn
                again.append(pending)
            else:
                first[public_id] = (pending, instance)
        current = await self._writer.current(list(first))
        if current:
            decisions = await asyncio.to_thread(
                self._deciding.decide, list(first.values()), current
            )
        else:
            decisions = self._deciding.decide(list(first.values()), current)
        writes = [decision.write for decision in decisions if decision.write is not None]
        await asyncio.to_thread(
            self._store.put, [d.pending.entry for d in decisions if d.write is not None]
        )
        became = await self._writer.write(writes)
        lost = {id(write) for write in became.lost}
        if self._on_written is not None:
            self._on_written({w.instance.header.identity.study_instance_uid for w in writes})
        written = [decision for decision in decisions if id(decision.write) not in lost]
        if self._outbox is not None:
            # When it can be found, and while a crash would bring it here again.
            await self._outbox.add(drafts(written, became.begun))
        done = await asyncio.to_thread(self._release, written)
        for decision in done:
            decision.pending.outcome.set_result(decision.outcome)
        finished = {id(decision) for decision in done}
        return again + [each.pending for each in decisions if id(each) not in finished]

    def _read(self, batch: Sequence[Pending]) -> list[tuple[Pending, Instance]]:
        instances: list[tuple[Pending, Instance]] = []
        for pending in batch:
            header = pending.header
            if header is None:
                try:
                    with pending.entry.path.open("rb") as file:
                        header = read_header(file)
                except Invalid as error:
                    # Only a spool that was written by other hands holds such a file.
                    self._give_up(pending, error)
                    continue
            entry = pending.entry
            instances.append((pending, Instance(header, entry.blob, entry.origin)))
        return instances

    def _is_stored(self, decision: Decision) -> bool:
        """Whether what was written of an instance has its bytes in the store, too.

        A deletion may have taken them away after they were stored and before the document was
        written. After that is the time to look (`hilum.services.deletion`), and to begin anew
        if they are gone.
        """
        return decision.write is None or self._store.contains(decision.pending.entry.blob.digest)

    def _release(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Let go of the spool entries of those that are stored, and return these."""
        stored = [decision for decision in decisions if self._is_stored(decision)]
        for decision in stored:
            entry = decision.pending.entry
            try:
                entry.remove()
            except Temporary as error:  # replayed at the next start, which changes nothing
                log.warning("spool file not removed", file=str(entry.path), reason=str(error))
        return stored

    def _present(self, batch: Sequence[Pending]) -> list[Pending]:
        """Return those whose files are there, and give up the others."""
        present = []
        for pending in batch:
            if pending.restored and not pending.entry.path.exists():
                # Another worker has brought it back; whoever waits for it looks (`Trashcan`).
                pending.outcome.set_exception(NotFound("the file is not in the trash"))
            elif _was_deleted(pending.entry):
                self._give_up(pending, NotFound("the file was deleted from the spool"))
            else:
                present.append(pending)
        return present

    def _give_up(self, pending: Pending, error: Exception) -> None:
        """Take an instance that can never be promoted out of the way, and say so."""
        entry = pending.entry
        code = error.code if isinstance(error, HilumError) else "error"
        try:
            kept = self._quarantine.keep(entry, str(error), code)
        except HilumError as fault:  # it stays in the spool, for the next start to try again
            log.warning("quarantine failed", digest=entry.blob.digest, reason=str(fault))
            kept = entry.path
        log.error(
            "promotion failed",
            file=str(kept),
            digest=entry.blob.digest,
            reason=str(error),
            exc_info=None if isinstance(error, HilumError) else error,
        )
        pending.outcome.set_exception(error)


def _was_deleted(entry: SpoolEntry) -> bool:
    # Where the folder is missing too, a disk is: that one may come back.
    return not entry.path.exists() and entry.path.parent.exists()
