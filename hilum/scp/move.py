"""C-MOVE as SCP, Patient Root and Study Root (PS3.4 C.4.2): to a third application entity."""

from dataclasses import replace
from typing import Final

from hilum.core.errors import HilumError, UnknownPeer
from hilum.core.identifier_query import parse_retrieve_identifier
from hilum.core.peer import Originator
from hilum.scp import identifier
from hilum.scp.contexts import MOVE_MODELS
from hilum.scp.delivery import Delivery
from hilum.scp.lines import Lines
from hilum.scp.request import Request
from hilum.scp.send import outgoing_of
from hilum.scp.status import SOP_CLASS_NOT_SUPPORTED, Refused
from hilum.scp.suboperations import SubOperations

#: A destination that does not answer is given up before the requester gives us up.
_CONNECT_SECONDS: Final = 10.0


def handle(request: Request) -> None:
    """Send what the identifier selects to the Move Destination."""
    association, services = request.association, request.services
    model = MOVE_MODELS.get(request.context.abstract_syntax)
    if model is None:
        raise Refused(SOP_CLASS_NOT_SUPPORTED, "this context is not for C-MOVE")
    keys = identifier.decode(association.read_data_set(), request.context.transfer_syntax)
    query = parse_retrieve_identifier(keys, model, relational=request.option(0))
    destination = request.command.move_destination or ""
    peer = services.destination(destination)
    if peer is None:
        raise UnknownPeer(f"unknown Move Destination {destination!r}")
    request.stored.await_visible(services)
    selected = outgoing_of(
        services.retrieve, services.crossing.call(services.retrieve.select(query))
    )
    operations = SubOperations(request, len(selected))
    limits = replace(
        services.limits,
        acse_seconds=min(services.limits.acse_seconds or _CONNECT_SECONDS, _CONNECT_SECONDS),
    )
    originator = Originator(association.peer_ae_title, request.message_id)
    cancelled = False
    # The destination's association is released before the final response is sent: what the
    # requester is told has arrived, it can then find there.
    delivery = Delivery(
        Lines(peer, services.ae_title, limits), selected, originator, operations.report_if_due
    )
    with delivery:
        for outgoing in selected:
            cancelled = operations.cancelled
            if cancelled:
                break
            try:
                operations.count(outgoing, delivery.send_next())
            except HilumError as error:
                operations.count_failed(outgoing, error)
            operations.report()
    if cancelled:
        operations.finish_cancelled()
    else:
        operations.finish()
