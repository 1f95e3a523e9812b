"""What becomes of an accepted instance, given what the index has under its identifiers."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Literal

import structlog

from hilum.core.errors import NotFound
from hilum.core.instance import Blob, Header, Instance, Origin
from hilum.index.instance_writer import Write
from hilum.index.references import Reference
from hilum.services.sameness import same_data_set
from hilum.storage.spool import SpoolEntry
from hilum.storage.store import Store

log = structlog.get_logger(__name__)

ConflictPolicy = Literal["replace", "keep", "reject"]


class Outcome(Enum):
    """What became of an accepted instance."""

    STORED = "stored"
    ALREADY_STORED = "already-stored"
    REPLACED = "replaced"
    KEPT_CURRENT = "kept-current"


@dataclass(frozen=True, slots=True)
class Pending:
    """A durable instance on its way into the index."""

    entry: SpoolEntry
    header: Header | None
    """None: to be read again from the entry's file."""
    outcome: "Future[Outcome]"
    restored: str = ""
    """The deletion that it comes back from: whatever is current by now stays so."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one pending instance comes to."""

    pending: Pending
    instance: Instance
    outcome: Outcome
    write: Write | None
    """None: the stored file holds the same data set already."""
    is_news: bool = False
    """Whether anything is told of it: not of a file that was there before it was sent."""
    again: bool = False
    """Whether the same arrival has been here before: a fault came between, and what was to
    be told of it may have been told."""
    contradicts: str | None = None
    """Digest of the other version that was current when it came."""


class Deciding:
    """Decides by the conflict policy. Thread-safe; may read from the disk."""

    def __init__(self, store: Store, policy: ConflictPolicy) -> None:
        self._store = store
        self.policy = policy

    def decide(
        self, instances: Sequence[tuple[Pending, Instance]], current: Mapping[str, Reference]
    ) -> list[Decision]:
        """Return what comes of each of these instances.

        Parameters
        ----------
        instances
            No two with the same identifiers.
        current
            What the index has of them, by public id.
        """
        return [
            self._decide(pending, instance, known)
            if (known := current.get(instance.header.identity.instance))
            else Decision(pending, instance, Outcome.STORED, Write(instance), is_news=True)
            for pending, instance in instances
        ]

    def holds_same(self, blob: Blob, entry: SpoolEntry) -> bool:
        """Return whether a stored file has the same data set as one in the spool."""
        try:
            with self._store.open(blob.digest) as stored, entry.path.open("rb") as received:
                return same_data_set(stored, received)
        except NotFound:
            return False

    def may_replace(self, blob: Blob, entry: SpoolEntry) -> bool:
        """Return whether nothing is lost by having the one in the spool for a stored file."""
        return not self._store.contains(blob.digest) or self.holds_same(blob, entry)

    def _decide(self, pending: Pending, instance: Instance, known: Reference) -> Decision:
        blob = known.current
        if blob.digest == instance.blob.digest:
            return _as_stored(pending, instance, known)
        if self.holds_same(blob, pending.entry):
            return Decision(pending, instance, Outcome.ALREADY_STORED, None)
        # A version without bytes is not kept: it is lost, or just being deleted.
        keeping = pending.restored or self.policy != "replace"
        keep = keeping and self._store.contains(blob.digest)
        outcome = Outcome.KEPT_CURRENT if keep else Outcome.REPLACED
        log.warning(
            "conflict",
            sop_instance_uid=instance.header.identity.sop_instance_uid,
            outcome=outcome.value,
            current=blob.digest,
            received=instance.blob.digest,
            source=instance.origin.source,
        )
        came = known.others.get(instance.blob.digest) if keep else None
        again = came is not None and _is_same_time(came, instance.origin)
        return Decision(
            pending,
            instance,
            outcome,
            Write(instance, supersedes=blob, keep_current=keep),
            is_news=(came is None or again) and not pending.restored,
            again=again,
            contradicts=blob.digest,
        )


def _as_stored(pending: Pending, instance: Instance, known: Reference) -> Decision:
    """Return what comes of an instance whose bytes are current.

    It is written again on purpose: a crash may have come between the document and the counts
    above it. When it came, and from where, stays as it was.
    """
    again = _is_same_time(known.origin.received_at, instance.origin)
    if not again:
        before = replace(instance, origin=known.origin)
        return Decision(pending, instance, Outcome.ALREADY_STORED, Write(before, arrived=False))
    # The last version it can have taken the place of.
    replaced = max(known.others, key=lambda digest: known.others[digest], default=None)
    return Decision(
        pending,
        instance,
        Outcome.ALREADY_STORED,
        Write(instance),
        is_news=True,
        again=True,
        contradicts=replaced,
    )


def _is_same_time(kept: datetime, origin: Origin) -> bool:
    """Return whether `kept` is when an instance came, to the millisecond that MongoDB keeps."""
    came = origin.received_at.astimezone(UTC)
    return kept == came.replace(microsecond=came.microsecond // 1000 * 1000)
