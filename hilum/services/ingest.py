"""Ingest: the way of an instance from the wire to its acknowledgement.

An edge writes what arrives into a spool writer and calls `Ingest.accept`. When that
returns, the bytes are on disk under a name that survives a power cut, and the edge may
acknowledge. Everything behind it, the store and the index, follows in `Promotion`.
"""

import concurrent.futures
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from hilum.core.errors import Conflict, HilumError, IdentityMismatch, Invalid, NotDicom, Temporary
from hilum.core.instance import Blob, Header, Origin
from hilum.imaging.header import is_encoded_as_stated, read_header
from hilum.services.crossing import Crossing
from hilum.services.decision import Outcome, Pending
from hilum.services.promotion import Promotion
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool, SpoolEntry, SpoolWriter

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=HilumError)

# How often a wait for the index looks whether there is any point in it.
_PATIENCE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Expected:
    """What the command of a C-STORE says its data set is (PS3.7 9.1.1)."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class ExpectedStudy:
    """Where instances are stored to, if only into one study (PS3.18 10.5.1)."""

    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """An instance whose bytes are durable."""

    header: Header
    blob: Blob
    outcome: "Future[Outcome]"
    """Resolved when the instance can be found by a query."""


class Ingest:
    """Takes instances in. Thread-safe; every method may block on the disk."""

    def __init__(
        self,
        spool: Spool,
        quarantine: Quarantine,
        promotion: Promotion,
        crossing: Crossing,
    ) -> None:
        self._spool = spool
        self._quarantine = quarantine
        self._promotion = promotion
        self._crossing = crossing

    def begin(self, origin: Origin) -> SpoolWriter:
        """Open a spool writer for the bytes of one Part 10 file.

        Raises
        ------
        StorageFull, StorageUnavailable
            Nothing can be taken in at the moment.
        """
        return self._spool.create(origin)

    def accept(
        self, writer: SpoolWriter, expected: Expected | ExpectedStudy | None = None
    ) -> Receipt:
        """Make what was written durable and queue it for the store and the index.

        Whatever cannot become an instance is kept in quarantine before the error is
        raised: nothing that arrived whole is thrown away.

        Raises
        ------
        NotDicom, Invalid
            The bytes are no instance, or lack an identifier.
        IdentityMismatch
            The data set is another instance than `expected` (PS3.4 B.2.3).
        Conflict
            Another version is stored and the policy is to reject new ones.
        StorageFull, StorageUnavailable
            The disk did not take the bytes; nothing is kept.

        Notes
        -----
        The header is read while the disk writes. No other thread takes part: handing a sync
        to one and waking up after it costs more than what is left to wait for.
        """
        writer.start_sync()
        try:
            header = _understand(writer, expected)
        except Invalid as fault:
            self._set_aside(writer.commit(), fault)
            raise
        entry = writer.commit()
        if self._promotion.rejects_conflicts:
            self._refuse_conflict(entry, header)
        return Receipt(header, entry.blob, self._enqueue(entry, header))

    def wait_visible(self, receipts: Iterable[Receipt], timeout_seconds: float) -> bool:
        """Wait until queries find all of `receipts`; False if they do not yet.

        That is when the time ran out, or sooner if the index turns out to be away. Nothing
        is lost: the spool holds the instances until the index has them.
        """
        outcomes = [receipt.outcome for receipt in receipts]
        deadline = time.monotonic() + timeout_seconds
        if not all(outcome.done() for outcome in outcomes):
            self.hurry()
        while concurrent.futures.wait(outcomes, _PATIENCE_SECONDS).not_done:
            if self._promotion.stalled or time.monotonic() > deadline:
                return False
        return True

    def hurry(self) -> None:
        """Have what was accepted made visible at once: somebody waits for it."""
        with suppress(Temporary):  # the node is stopping: its next start does it
            self._crossing.post(self._promotion.hurry)

    def replay(self, spool: Spool | None = None) -> int:
        """Queue what an earlier run acknowledged but did not finish; return how many.

        Incomplete files, which were never acknowledged, are removed by the spool.

        Parameters
        ----------
        spool
            One that a dead process left behind; by default the one received into.
        """
        count = 0
        for entry in (spool or self._spool).recover():
            self._enqueue(entry, None)
            count += 1
        return count

    def _enqueue(self, entry: SpoolEntry, header: Header | None) -> "Future[Outcome]":
        outcome: Future[Outcome] = Future()
        if self._promotion.add(Pending(entry, header, outcome)):
            self._crossing.post(self._promotion.wake)
        return outcome

    def _refuse_conflict(self, entry: SpoolEntry, header: Header) -> None:
        try:
            self._crossing.call(self._promotion.check_conflict(entry, header))
        except Conflict as conflict:
            self._set_aside(entry, conflict)
            _about(conflict, header)
            raise

    def _set_aside(self, entry: SpoolEntry, fault: HilumError) -> None:
        path = self._quarantine.keep(entry, str(fault), fault.code)
        log.warning(
            "quarantined",
            reason=str(fault),
            code=fault.code,
            digest=entry.blob.digest,
            source=entry.origin.source,
            file=path.name,
        )


def _understand(writer: SpoolWriter, expected: Expected | ExpectedStudy | None) -> Header:
    header = read_header(writer.file)
    if expected is None:
        return header
    if isinstance(expected, ExpectedStudy):
        if header.identity.study_instance_uid != expected.study_instance_uid:
            fault = IdentityMismatch(
                f"the study asked for is {expected.study_instance_uid}, "
                f"that of the data set {header.identity.study_instance_uid}"
            )
            raise _about(fault, header)
        return header
    if not is_encoded_as_stated(writer.file, header):
        # Its file meta information, made from the command, would be a lie to every reader.
        raise NotDicom(f"the data set is not encoded in {header.transfer_syntax_uid}")
    if header.sop_class_uid != expected.sop_class_uid:
        raise IdentityMismatch(
            f"SOP class of the command is {expected.sop_class_uid}, "
            f"of the data set {header.sop_class_uid}"
        )
    if header.identity.sop_instance_uid != expected.sop_instance_uid:
        raise IdentityMismatch(
            f"SOP instance of the command is {expected.sop_instance_uid}, "
            f"of the data set {header.identity.sop_instance_uid}"
        )
    return header


def _about(fault: T, header: Header) -> T:
    """Have `fault` name the instance that it is about."""
    fault.sop_class_uid = header.sop_class_uid
    fault.sop_instance_uid = header.identity.sop_instance_uid
    return fault
