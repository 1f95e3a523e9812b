"""Storage commitment: who asks for it is told which of its instances are safe (PS3.4 Annex J).

A modality deletes its originals on the strength of what it is told. So every file is read
and compared with its digest before. What was asked for is a job: it survives the worker that
took it, and is told as soon as the peer can be reached.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog

from hilum.core.commitment import Commitment, Doubt, Reference
from hilum.core.errors import (
    Corrupt,
    HilumError,
    IndexUnavailable,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    Temporary,
)
from hilum.index.jobs import Job, JobLedger
from hilum.index.stored import StoredInstance
from hilum.services.dimse import Call, Dimse, in_thread
from hilum.services.exchange import call_json, call_of
from hilum.services.jobs import Control, Postponed
from hilum.services.retrieve import Retrieve

log = structlog.get_logger(__name__)

#: The name that Orthanc has for such jobs.
COMMITMENT: Final = "StorageCommitmentScp"
#: Some ask before they have sent everything, and what has just come is not in the index yet.
_PATIENCE_SECONDS: Final = 60.0
_SOON_SECONDS: Final = 3.0
#: A peer that is away is called again after a quarter of the time that it has been waiting.
_SHORTEST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 900.0
#: What people have ordered goes first.
_PRIORITY: Final = -1

Stored = Mapping[str, Sequence[StoredInstance]]


class Commitments:
    """Takes requests, looks at what is stored, and reports; on the loop.

    Parameters
    ----------
    give_up_seconds
        When a peer that cannot be reached is told no more.
    """

    def __init__(
        self, retrieve: Retrieve, ledger: JobLedger, give_up_seconds: float = 72 * 3600.0
    ) -> None:
        self._retrieve = retrieve
        self._ledger = ledger
        self._give_up_seconds = give_up_seconds

    async def take(self, transaction_uid: str, references: Sequence[Reference], call: Call) -> None:
        """Keep a request; whoever `call` reaches is told of it by whichever worker has time.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer: nobody will be told.
        """
        task = {
            "call": call_json(call),
            "transaction_uid": transaction_uid,
            "instances": [list(reference) for reference in references],
        }
        await self._ledger.add(COMMITMENT, task, total=1, priority=_PRIORITY)

    async def report(self, dimse: Dimse, job: Job, control: Control) -> None:
        """Do a job of this kind.

        Raises
        ------
        Postponed
            The peer or the index is away, or something asked for may still be coming.
        PeerRefused
            The peer does not want to know.
        """
        task: Mapping[str, Any] = job.task
        references = [Reference(*pair) for pair in task["instances"]]
        age = (datetime.now(UTC) - job.created_at).total_seconds()
        try:
            stored = await self._stored(references)
            if age < _PATIENCE_SECONDS and any(not stored[uid] for _, uid in references):
                raise Postponed(_SOON_SECONDS, "not all of it is here yet")
            call, uid = call_of(task), task["transaction_uid"]
            # Only when the peer is there: to read everything takes its time.
            make = partial(self._commitment, uid, references, stored, control.check)
            await in_thread(lambda: dimse.report_commitment(call, make))
        except PeerRefused as error:
            _tell_in_vain(task, error)
            raise
        except Temporary as error:
            if age > self._give_up_seconds:
                _tell_in_vain(task, error)
                raise
            pause = min(max(age / 4, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            if isinstance(error, PeerUnreachable):
                # One call finds out; else a modality that is switched off, and takes as long to
                # call as the network lets it, would keep all other jobs from being done.
                due_at = datetime.now(UTC) + timedelta(seconds=pause)
                with suppress(IndexUnavailable):
                    await self._ledger.hold_back(COMMITMENT, task["call"]["peer"], due_at)
            raise Postponed(pause, str(error)) from error
        control.done = 1

    async def _stored(self, references: Iterable[Reference]) -> Stored:
        stored: dict[str, list[StoredInstance]] = defaultdict(list)
        for instance in await self._retrieve.with_uids([uid for _, uid in references]):
            stored[instance.identity.sop_instance_uid].append(instance)
        return stored

    def _commitment(
        self,
        transaction_uid: str,
        references: Iterable[Reference],
        stored: Stored,
        check: Callable[[], None],
    ) -> Commitment:
        committed: list[Reference] = []
        doubtful: list[tuple[Reference, Doubt]] = []
        for reference in references:
            check()
            doubt = self._doubt(reference, stored.get(reference.sop_instance_uid, ()))
            if doubt is None:
                committed.append(reference)
            else:
                doubtful.append((reference, doubt))
        return Commitment(transaction_uid, committed, doubtful)

    def _doubt(self, reference: Reference, found: Sequence[StoredInstance]) -> Doubt | None:
        if not found:
            return Doubt.NO_SUCH_INSTANCE
        # The same UID may be stored in several series.
        fitting = [each for each in found if each.sop_class_uid == reference.sop_class_uid]
        if not fitting:
            return Doubt.CLASS_INSTANCE_CONFLICT
        for instance in fitting:
            try:
                self._retrieve.verify(instance)
            except (NotFound, Corrupt):
                log.exception(
                    "stored instance is damaged",
                    sop_instance_uid=reference.sop_instance_uid,
                    digest=instance.blob.digest,
                )
                return Doubt.PROCESSING_FAILURE
        return None


def _tell_in_vain(task: Mapping[str, Any], error: HilumError) -> None:
    # Whoever asked keeps its originals, and fills its disk with them.
    log.warning(
        "storage commitment not reported",
        peer=task["call"]["peer"]["ae_title"],
        transaction_uid=task["transaction_uid"],
        reason=str(error),
    )
