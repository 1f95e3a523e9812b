"""Storage Commitment Push Model as SCP (PS3.4 Annex J): the request, and the report.

N-ACTION is answered when the request is kept. The report, N-EVENT-REPORT, goes over an
association of the node's own to the peer of the asking AE title: most who ask have released
theirs by then, and listen.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from hilum.core.commitment import Commitment, Reference
from hilum.core.errors import Invalid, PeerRefused, UnknownPeer
from hilum.core.identifiers import parse_uid
from hilum.core.instance import Attributes
from hilum.core.levels import json_tag
from hilum.core.peer import Peer
from hilum.scp import identifier
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.contexts import COMMITMENT
from hilum.scp.operation import named, operating
from hilum.scp.patience import do_nothing
from hilum.scp.request import Request
from hilum.scp.status import (
    NO_SUCH_ACTION,
    NO_SUCH_CLASS,
    NO_SUCH_INSTANCE,
    SUCCESS,
    UNRECOGNIZED_OPERATION,
    Refused,
)
from hilum.services.dimse import Call

log = structlog.get_logger(__name__)

#: The one instance of the SOP class (PS3.4 J.3.5).
_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
_REQUEST_COMMITMENT: Final = 1
#: Modalities are switched off at night, and called again.
_CONNECT_SECONDS: Final = 10.0
#: Event types (PS3.4 J.3.3.1): all is committed to, or not all.
_SUCCESSFUL: Final = 1
_FAILURES_EXIST: Final = 2


def handle(request: Request) -> None:
    """Take a request for storage commitment."""
    _check(request)
    association, services = request.association, request.services
    keys = identifier.decode(association.read_data_set(), request.context.transfer_syntax)
    transaction_uid = parse_uid(_text(keys, "TransactionUID"), "Transaction UID")
    references = _references(keys)
    peer = services.destination(association.peer_ae_title)
    if peer is None:
        raise UnknownPeer(f"no address to report to: {association.peer_ae_title!r} is no peer")
    request.stored.await_visible(services)
    # As it is called, so it calls back.
    call = Call(peer, association.called_ae_title or services.ae_title)
    services.crossing.call(services.commitments.take(transaction_uid, references, call))
    log.info(
        "storage commitment requested",
        caller=association.peer_ae_title,
        transaction_uid=transaction_uid,
        instances=len(references),
    )
    response = request.command.response(SUCCESS)
    response.action_type_id = request.command.action_type_id
    request.respond(response)


def report(
    peer: Peer, ae_title: str, limits: TimeLimits, commitment: Callable[[], Commitment]
) -> None:
    """Tell `peer` what it has asked for.

    Parameters
    ----------
    commitment
        Called when the peer is there; may take a while.

    Raises
    ------
    PeerUnreachable
        There is no association, or it is lost; the peer is silent for too long.
    PeerRefused
        The peer answers with a failure, or takes no reports.
    """
    connecting = min(limits.acse_seconds or _CONNECT_SECONDS, _CONNECT_SECONDS)
    limits = replace(limits, acse_seconds=connecting)
    with (
        named(peer),
        operating(peer, ae_title, [COMMITMENT], limits, serving=[COMMITMENT]) as (
            association,
            context,
        ),
    ):
        made = commitment()
        event = Command(
            CommandField.N_EVENT_REPORT_RQ,
            message_id=association.next_message_id(),
            affected_sop_class_uid=COMMITMENT,
            affected_sop_instance_uid=_INSTANCE,
            event_type_id=_FAILURES_EXIST if made.doubtful else _SUCCESSFUL,
        )
        encoded = identifier.encode(_information(made, ae_title), context.transfer_syntax)
        for response, _ in association.responses(context, event, encoded, do_nothing):
            status = response.status or 0
            if status != SUCCESS:
                raise PeerRefused(f"{peer} answered N-EVENT-REPORT with {status:04X}", status)
    log.info(
        "storage commitment reported",
        peer=str(peer),
        transaction_uid=made.transaction_uid,
        committed=len(made.committed),
        failed=len(made.doubtful),
    )


def _check(request: Request) -> None:
    command = request.command
    if request.context.abstract_syntax != COMMITMENT:
        raise Refused(UNRECOGNIZED_OPERATION, "this context is not for N-ACTION")
    if command.requested_sop_class_uid != COMMITMENT:
        raise Refused(NO_SUCH_CLASS, f"no such class: {command.requested_sop_class_uid}")
    if command.requested_sop_instance_uid != _INSTANCE:
        raise Refused(NO_SUCH_INSTANCE, f"no such instance: {command.requested_sop_instance_uid}")
    if command.action_type_id != _REQUEST_COMMITMENT:
        raise Refused(NO_SUCH_ACTION, f"no such action: {command.action_type_id}")


def _references(keys: Dataset) -> list[Reference]:
    items = keys.get("ReferencedSOPSequence")
    if not isinstance(items, Items) or not items:
        raise Invalid("Referenced SOP Sequence is empty")
    references = [
        Reference(
            parse_uid(_text(item, "ReferencedSOPClassUID"), "Referenced SOP Class UID"),
            parse_uid(_text(item, "ReferencedSOPInstanceUID"), "Referenced SOP Instance UID"),
        )
        for item in items
    ]
    return list(dict.fromkeys(references))


def _text(keys: Dataset, keyword: str) -> str:
    return str(keys.get(keyword) or "")


def _information(commitment: Commitment, ae_title: str) -> Attributes:
    """Return the Event Information (PS3.4 Table J.3-2)."""
    attributes: dict[str, dict[str, Any]] = {
        json_tag("TransactionUID"): {"vr": "UI", "Value": [commitment.transaction_uid]},
        json_tag("RetrieveAETitle"): {"vr": "AE", "Value": [ae_title]},
    }
    if commitment.committed:
        attributes[json_tag("ReferencedSOPSequence")] = _sequence(map(_item, commitment.committed))
    if commitment.doubtful:
        attributes[json_tag("FailedSOPSequence")] = _sequence(
            {**_item(reference), json_tag("FailureReason"): {"vr": "US", "Value": [int(doubt)]}}
            for reference, doubt in commitment.doubtful
        )
    return attributes


def _sequence(items: Iterable[Attributes]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}


def _item(reference: Reference) -> Attributes:
    return {
        json_tag("ReferencedSOPClassUID"): {"vr": "UI", "Value": [reference.sop_class_uid]},
        json_tag("ReferencedSOPInstanceUID"): {"vr": "UI", "Value": [reference.sop_instance_uid]},
    }
