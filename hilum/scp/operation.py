"""An operation of query/retrieve that this node asks of a peer (PS3.4 C.4.1.2, C.4.2.2).

What C-FIND and C-MOVE have in common on the side of the user: an association of their own
with one of the two information models, an identifier, pending responses, and a final one
that is a success or an error.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from hilum.core.errors import PeerRefused, PeerUnreachable
from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag
from hilum.core.peer import Peer
from hilum.scp import identifier
from hilum.scp.association import Association, Context, Message, TimeLimits
from hilum.scp.command import Command, CommandField, is_pending
from hilum.scp.contexts import Proposal
from hilum.scp.requestor import associate
from hilum.scp.status import CANCEL, SOP_CLASS_NOT_SUPPORTED, SUBOPERATIONS_WITH_FAILURES, SUCCESS
from hilum.scp.upper_layer import ProtocolViolation
from hilum.scp.wire import AssociationLost

_UNCOMPRESSED: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_MEDIUM_PRIORITY: Final = 0
_QUERY_RETRIEVE_LEVEL: Final = json_tag("QueryRetrieveLevel")
#: How long a peer may go on after it was asked to stop.
_STOPPING_SECONDS: Final = 10.0


def never() -> bool:
    """Tell that nobody has cancelled."""
    return False


def keys_at(level: Level, keys: Attributes) -> Attributes:
    """Return `keys` with the Query/Retrieve Level (0008,0052)."""
    return {**keys, _QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": [level.value]}}


def models_for(level: Level, patient_root: str, study_root: str) -> tuple[str, str]:
    """Return the SOP classes for a level by preference: patients are only in one of them."""
    if level is Level.PATIENT:
        return patient_root, study_root
    return study_root, patient_root


@contextmanager
def operating(
    peer: Peer,
    ae_title: str,
    sop_classes: Sequence[str],
    limits: TimeLimits,
    stored: Sequence[Proposal] = (),
    serving: Sequence[str] = (),
) -> Iterator[tuple[Association, Context]]:
    """Have an association with `peer`, and the context of the first SOP class it accepts.

    Leaving by an error aborts it, unless the peer has had its say.

    Parameters
    ----------
    stored
        What the peer may send on the same association.
    serving
        Those of `sop_classes` of which this node is the provider all the same.

    Raises
    ------
    PeerUnreachable
        There is no association.
    PeerRefused
        The peer accepts none of `sop_classes`.
    """
    proposals = [Proposal(uid, _UNCOMPRESSED) for uid in sop_classes]
    provided = [*serving, *(proposal.abstract_syntax for proposal in stored)]
    association = associate(peer, ae_title, [*proposals, *stored], limits, provided)
    accepted = {each.abstract_syntax: each for each in association.contexts.values()}
    context = next((accepted[uid] for uid in sop_classes if uid in accepted), None)
    if context is None:
        association.release()
        raise PeerRefused(f"{peer} accepts none of {sop_classes}", SOP_CLASS_NOT_SUPPORTED)
    try:
        yield association, context
    except PeerRefused:
        association.release()
        raise
    except ProtocolViolation as violation:
        association.abort(violation.reason)
        raise
    except BaseException:
        association.abort()
        raise
    else:
        association.release()


@dataclass(slots=True)
class Operation:
    """One request of ours, on an association that is open.

    Parameters
    ----------
    cancelled
        Asked between responses and several times a second: whether to end it early.
    serve
        Answers what the peer asks in between: C-STORE, for a C-GET.
    """

    peer: Peer
    association: Association
    context: Context
    request: Command
    keys: Attributes
    cancelled: Callable[[], bool] = never
    serve: Callable[[Message], None] | None = None
    stopping_until: float | None = field(default=None, init=False)

    def responses(self) -> Iterator[tuple[Command, bytes]]:
        """Iterate the pending responses and the final one, with their identifiers.

        Raises
        ------
        PeerRefused
            The final one is no success, and nobody has cancelled.
        PeerUnreachable
            The association is lost, the peer silent, or deaf to being cancelled.
        """
        self.request.message_id = self.association.next_message_id()
        self.request.affected_sop_class_uid = self.context.abstract_syntax
        self.request.priority = _MEDIUM_PRIORITY
        encoded = identifier.encode(self.keys, self.context.transfer_syntax)
        for response, found in self.association.responses(
            self.context, self.request, encoded, self._stop_if_cancelled, self.serve
        ):
            if not _went_well(response):
                if response.status == CANCEL and self.stopping_until is not None:
                    return
                raise PeerRefused(self._refusal(response), response.status or 0)
            yield response, found
            self._stop_if_cancelled()

    def stop(self) -> None:
        """Ask the peer to end it; what comes meanwhile still comes."""
        if self.stopping_until is None:
            self.stopping_until = time.monotonic() + _STOPPING_SECONDS
            assert self.request.message_id is not None
            self.association.cancel(self.context, self.request.message_id)

    def _stop_if_cancelled(self) -> None:
        if self.stopping_until is None:
            if self.cancelled():
                self.stop()
        elif time.monotonic() > self.stopping_until:
            raise PeerUnreachable(f"{self.peer} goes on with what was cancelled")

    def _refusal(self, response: Command) -> str:
        name = CommandField(self.request.field).name.removesuffix("_RQ").replace("_", "-")
        comment = f": {response.error_comment}" if response.error_comment else ""
        return f"{self.peer} answered {name} with {response.status:04X}{comment}"


def _went_well(response: Command) -> bool:
    status = response.status or 0
    if status == SUBOPERATIONS_WITH_FAILURES:  # or with warnings alone (PS3.4 C.4.2.1.5)
        return not response.failed
    return status == SUCCESS or is_pending(status)


@contextmanager
def named(peer: Peer) -> Iterator[None]:
    """Name the peer in what is said of a lost association."""
    try:
        yield
    except AssociationLost as loss:
        raise PeerUnreachable(f"{peer}: {loss}") from loss
