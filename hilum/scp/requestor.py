"""Asking a peer for an association (PS3.8 9.2, Sta4 and Sta5)."""

import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from hilum.core.errors import PeerUnreachable
from hilum.core.peer import Peer
from hilum.scp.association import Association, Context, TimeLimits
from hilum.scp.contexts import ACCEPTED, MAXIMUM_CONTEXTS, Proposal
from hilum.scp.negotiation import (
    APPLICATION_CONTEXT_NAME,
    UserInformation,
    decoding,
    make_user_information,
    read_pdu,
    read_user_information,
)
from hilum.scp.upper_layer import PduType, ProtocolViolation, abort_pdu
from hilum.scp.wire import AssociationLost, Wire

#: What comes back on an association of ours is responses: short.
_MAXIMUM_PDU_BYTES: Final = 32 * 1024
#: Unless it is instances.
_RECEIVING_PDU_BYTES: Final = 128 * 1024


def associate(
    peer: Peer,
    calling_ae_title: str,
    proposals: Sequence[Proposal],
    limits: TimeLimits,
    serving: Collection[str] = (),
) -> Association:
    """Open an association with `peer`; some of `proposals` may not have been accepted.

    Parameters
    ----------
    serving
        Abstract syntaxes among them on which the peer is to be the user: what it sends for
        a C-GET (PS3.7 D.3.3.4).

    Raises
    ------
    PeerUnreachable
        The peer does not answer, rejects, or aborts; the message says which.
    """
    if not 0 < len(proposals) <= MAXIMUM_CONTEXTS:
        raise ValueError(f"{len(proposals)} presentation contexts in one association")
    try:
        connection = socket.create_connection((peer.host, peer.port), limits.acse_seconds)
    except OSError as error:
        raise PeerUnreachable(f"{peer} cannot be reached: {error.strerror or error}") from error
    wire = Wire(connection)
    try:
        return _negotiate(wire, peer, calling_ae_title, proposals, limits, serving)
    except PeerUnreachable as error:
        if isinstance(error, ProtocolViolation):
            with suppress(AssociationLost):
                wire.write(abort_pdu(2, error.reason))
        wire.close()
        if isinstance(error, AssociationLost):
            raise PeerUnreachable(f"{peer}: {error}") from error
        raise


def _negotiate(
    wire: Wire,
    peer: Peer,
    calling_ae_title: str,
    proposals: Sequence[Proposal],
    limits: TimeLimits,
    serving: Collection[str],
) -> Association:
    wire.allow(limits.acse_seconds, limits.acse_seconds)
    proposed = {2 * index + 1: proposal for index, proposal in enumerate(proposals)}
    wire.write(_request(peer, calling_ae_title, proposed, serving).encode())
    pdu_type, data = read_pdu(wire, PduType.ASSOCIATE_AC, PduType.ASSOCIATE_RJ)
    if pdu_type == PduType.ASSOCIATE_RJ:
        with decoding("rejection"):
            rejection = A_ASSOCIATE_RJ()
            rejection.decode(data)
            numbers = f"{rejection.result}/{rejection.source}/{rejection.reason_diagnostic}"
            reason = f"{rejection.result_str}, {rejection.reason_str} ({numbers})"
        raise PeerUnreachable(f"{peer} rejected the association: {reason}")
    with decoding("association answer"):
        pdu = A_ASSOCIATE_AC()
        pdu.decode(data)
        answer = pdu.to_primitive()
        information = read_user_information(answer.user_information)
    return Association(
        wire,
        peer_ae_title=peer.ae_title,
        peer_address=f"{peer.host}:{peer.port}",
        contexts=_accepted(answer, proposed, serving),
        peer_maximum_pdu_bytes=information.maximum_pdu_bytes,
        peer_implementation=(
            information.implementation_version_name or information.implementation_class_uid
        ),
        limits=limits,
    )


def _request(
    peer: Peer, calling_ae_title: str, proposed: dict[int, Proposal], serving: Collection[str]
) -> Any:
    contexts = []
    for context_id, proposal in proposed.items():
        context = PresentationContext()
        context.context_id = context_id
        context.abstract_syntax = proposal.abstract_syntax
        context.transfer_syntax = list(proposal.transfer_syntaxes)
        contexts.append(context)
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT_NAME
    primitive.calling_ae_title = calling_ae_title
    primitive.called_ae_title = peer.ae_title
    primitive.presentation_context_definition_list = contexts
    maximum_pdu_bytes = _RECEIVING_PDU_BYTES if serving else _MAXIMUM_PDU_BYTES
    items = make_user_information(UserInformation(maximum_pdu_bytes=maximum_pdu_bytes))
    for uid in serving:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid = uid
        role.scu_role, role.scp_role = False, True
        items.append(role)
    primitive.user_information = items
    return A_ASSOCIATE_RQ(primitive)


def _accepted(
    answer: Any, proposed: dict[int, Proposal], serving: Collection[str]
) -> dict[int, Context]:
    """Return the accepted contexts; an answer to what was not proposed is passed over.

    Whether the role was granted is not asked: a peer that sends without saying so is served.
    """
    contexts = {}
    for result in answer.presentation_context_definition_results_list:
        proposal = proposed.get(result.context_id)
        if proposal is None or result.result != ACCEPTED or not result.transfer_syntax:
            continue
        contexts[result.context_id] = Context(
            result.context_id,
            proposal.abstract_syntax,
            str(result.transfer_syntax[0]),
            serves=proposal.abstract_syntax in serving,
            uses=proposal.abstract_syntax not in serving,
        )
    return contexts
