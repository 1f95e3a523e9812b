"""Asking a peer for an association (PS3.8 9.2, Sta4 and Sta5)."""

import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from hilum.core.errors import PeerUnreachable
from hilum.core.peer import Peer
from hilum.scp.associate import AssociateAnswer, UserInformation, read_answer, write_request
from hilum.scp.association import Association, Context, TimeLimits
from hilum.scp.contexts import ACCEPTED, MAXIMUM_CONTEXTS, Proposal, Proposed, Roles
from hilum.scp.negotiation import read_pdu
from hilum.scp.upper_layer import PduType, ProtocolViolation, abort_pdu
from hilum.scp.wire import AssociationLost, Wire

#: What comes back on an association of ours is responses: short.
_MAXIMUM_PDU_BYTES: Final = 32 * 1024
#: Unless it is instances.
_RECEIVING_PDU_BYTES: Final = 128 * 1024
_RESULTS: Final = {1: "permanently", 2: "transiently"}
#: Source and reason of a rejection (PS3.8 Table 9-21).
_REASONS: Final = {
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


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
    wire.write(_request(peer, calling_ae_title, proposed, serving))
    pdu_type, data = read_pdu(wire, PduType.ASSOCIATE_AC, PduType.ASSOCIATE_RJ)
    if pdu_type == PduType.ASSOCIATE_RJ:
        raise PeerUnreachable(f"{peer} rejected the association{_why(data)}")
    answer = read_answer(data)
    return Association(
        wire,
        peer_ae_title=peer.ae_title,
        peer_address=f"{peer.host}:{peer.port}",
        contexts=_accepted(answer, proposed, serving),
        peer_maximum_pdu_bytes=answer.information.maximum_pdu_bytes,
        peer_implementation=(
            answer.information.implementation_version_name
            or answer.information.implementation_class_uid
        ),
        limits=limits,
    )


def _why(rejection: bytes) -> str:
    """Return what an A-ASSOCIATE-RJ says, as far as it says anything."""
    result, source, reason = rejection[7:10].ljust(3, b"\0")
    words = (_RESULTS.get(result), _REASONS.get((source, reason)))
    told = ", ".join(filter(None, (words[0] and f" {words[0]}", words[1])))
    return f"{told} ({result}/{source}/{reason})"


def _request(
    peer: Peer, calling_ae_title: str, proposed: dict[int, Proposal], serving: Collection[str]
) -> bytes:
    information = UserInformation(
        maximum_pdu_bytes=_RECEIVING_PDU_BYTES if serving else _MAXIMUM_PDU_BYTES,
        roles={uid: Roles(scu=False, scp=True) for uid in serving},
    )
    contexts = [
        Proposed(context_id, each.abstract_syntax, each.transfer_syntaxes)
        for context_id, each in proposed.items()
    ]
    return write_request(peer.ae_title, calling_ae_title, contexts, information)


def _accepted(
    answer: AssociateAnswer, proposed: dict[int, Proposal], serving: Collection[str]
) -> dict[int, Context]:
    """Return the accepted contexts; an answer to what was not proposed is passed over.

    Whether the role was granted is not asked: a peer that sends without saying so is served.
    """
    contexts = {}
    for result in answer.answers:
        proposal = proposed.get(result.id)
        if proposal is None or result.result != ACCEPTED or not result.transfer_syntax:
            continue
        contexts[result.id] = Context(
            result.id,
            proposal.abstract_syntax,
            result.transfer_syntax,
            serves=proposal.abstract_syntax in serving,
            uses=proposal.abstract_syntax not in serving,
        )
    return contexts
