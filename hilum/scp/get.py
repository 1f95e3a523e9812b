"""C-GET as SCP, Patient Root and Study Root (PS3.4 C.4.3): back over the same association.

The requester has to have proposed, and taken the SCP role for, the storage SOP classes it
wants to receive; an instance of any other counts as failed.
"""

from contextlib import closing

from hilum.core.errors import HilumError
from hilum.core.identifier_query import parse_retrieve_identifier
from hilum.scp import identifier
from hilum.scp.contexts import GET_MODELS
from hilum.scp.request import Request
from hilum.scp.send import LOOK_AHEAD, Sender, outgoing_of
from hilum.scp.status import SOP_CLASS_NOT_SUPPORTED, Refused
from hilum.scp.suboperations import SubOperations
from hilum.scp.wire import AssociationLost


def handle(request: Request) -> None:
    """Send what the identifier selects, as C-STORE sub-operations on this association."""
    association, services = request.association, request.services
    model = GET_MODELS.get(request.context.abstract_syntax)
    if model is None:
        raise Refused(SOP_CLASS_NOT_SUPPORTED, "this context is not for C-GET")
    keys = identifier.decode(association.read_data_set(), request.context.transfer_syntax)
    query = parse_retrieve_identifier(keys, model, relational=request.option(0))
    request.stored.await_visible(services)
    selected = outgoing_of(
        services.retrieve, services.crossing.call(services.retrieve.select(query))
    )
    operations = SubOperations(request, len(selected))
    with closing(Sender(association)) as sender:
        for position, outgoing in enumerate(selected, 1):
            if operations.cancelled:
                operations.finish_cancelled()
                return
            following = selected[position : position + LOOK_AHEAD]
            try:
                response = sender.send(
                    outgoing, following, while_preparing=operations.report_if_due
                )
            except AssociationLost:
                raise
            except HilumError as error:
                operations.count_failed(outgoing, error)
                operations.report()
            else:
                operations.count(outgoing, response)
                operations.report_with_next()
    operations.finish()
