"""C-FIND as SCP, Patient Root and Study Root (PS3.4 C.4.1)."""

from contextlib import closing
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from hilum.core.identifier_query import parse_identifier
from hilum.core.instance import Attributes
from hilum.core.levels import json_tag
from hilum.core.query import Query
from hilum.scp import identifier
from hilum.scp.contexts import FIND_MODELS
from hilum.scp.request import Request
from hilum.scp.status import (
    CANCEL,
    PENDING,
    PENDING_UNSUPPORTED_KEYS,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    Refused,
)

_QUERY_RETRIEVE_LEVEL = json_tag("QueryRetrieveLevel")
_RETRIEVE_AE_TITLE = json_tag("RetrieveAETitle")
_INSTANCE_AVAILABILITY = json_tag("InstanceAvailability")
_SPECIFIC_CHARACTER_SET = json_tag("SpecificCharacterSet")


def handle(request: Request) -> None:
    """Answer a C-FIND: one pending response a match, as the index delivers them."""
    model = FIND_MODELS.get(request.context.abstract_syntax)
    if model is None:
        raise Refused(SOP_CLASS_NOT_SUPPORTED, "this context is not for C-FIND")
    transfer_syntax = request.context.transfer_syntax
    keys = identifier.decode(request.association.read_data_set(), transfer_syntax)
    query = parse_identifier(
        keys,
        model,
        relational=request.option(0),
        combined_date_time=request.option(1),
        fuzzy=request.option(2),
    )
    services = request.services
    request.stored.await_visible(services)
    status = PENDING_UNSUPPORTED_KEYS if query.unsupported else PENDING
    response = request.command.response(status)
    constant = _constant(keys, query, services.ae_title)
    encoder = identifier.Encoder(transfer_syntax, identifier.character_set_of(keys))
    with closing(services.crossing.batches(services.search.find(query))) as batches:
        for batch in batches:
            if request.association.cancelled(request.message_id):
                request.respond(request.command.response(CANCEL))
                return
            replies = [{**constant, **query.select(match.attributes)} for match in batch.values]
            final = request.command.response(SUCCESS) if batch.is_last else None
            request.respond_all(response, map(encoder.encode, replies), final)


def _constant(keys: Dataset, query: Query, ae_title: str) -> Attributes:
    """Return what every reply to the request carries, whatever the match.

    Level and Retrieve AE Title (PS3.4 C.4.1.1.3.2), the availability if it was asked for,
    and keys this node does not know, without a value.
    """
    reply: dict[str, dict[str, Any]] = {}
    for tag in keys:
        if tag.tag.group > 2 and tag.tag.element != 0:
            reply[f"{int(tag.tag):08X}"] = {"vr": _vr(tag)}
    reply.pop(_SPECIFIC_CHARACTER_SET, None)
    if _INSTANCE_AVAILABILITY in reply:
        reply[_INSTANCE_AVAILABILITY]["Value"] = ["ONLINE"]
    reply[_QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [query.level.value]}
    reply[_RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [ae_title]}
    return reply


def _vr(element: Any) -> str:
    try:
        return dictionary_VR(element.tag).split(" ")[0]
    except KeyError:  # private
        return str(element.VR)
