"""C-GET as service class user, Patient Root and Study Root (PS3.4 C.4.3.2).

What comes is stored as if it had been sent here: the same code answers, on an association
that this node has asked for.
"""

from collections.abc import Callable
from typing import Final

from pydicom.uid import AllTransferSyntaxes
from pynetdicom.presentation import StoragePresentationContexts

from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Peer
from hilum.scp.command import Command, CommandField
from hilum.scp.contexts import GET_MODELS, SERVICE_TRANSFER_SYNTAXES, Proposal
from hilum.scp.move_scu import Moved, ignore
from hilum.scp.operation import Operation, keys_at, models_for, named, never, operating
from hilum.scp.request import Services
from hilum.scp.session import Session

#: Uncompressed ones first: a peer that cannot compress may take the first it is offered.
_TRANSFER_SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    *(str(uid) for uid in AllTransferSyntaxes if uid not in SERVICE_TRANSFER_SYNTAXES),
)
#: The classes that objects are of: as many as an association has room for.
_STORED: Final = [
    Proposal(str(context.abstract_syntax), _TRANSFER_SYNTAXES)
    for context in StoragePresentationContexts
]


def get(
    peer: Peer,
    level: Level,
    keys: Attributes,
    services: Services,
    *,
    ae_title: str,
    report: Callable[[Moved], None] = ignore,
    cancelled: Callable[[], bool] = never,
) -> Moved:
    """Have `peer` send what `keys` name over the association it is asked on, and store it.

    Parameters
    ----------
    services
        Where it is stored; its time limits.
    report, cancelled
        As for `hilum.scp.move_scu.move`.

    Returns
    -------
    Moved
        All of it: nothing failed, unless it was cancelled. Queries find it.

    Raises
    ------
    PeerUnreachable
        There is no association, or it is lost; the peer is silent for too long.
    PeerRefused
        The peer answers with a failure, one that not everything was sent included, or it
        serves no C-GET.
    """
    moved = Moved()
    sop_classes = models_for(level, *GET_MODELS)
    with named(peer), operating(peer, ae_title, sop_classes, services.limits, _STORED) as opened:
        association, context = opened
        session = Session(association, services)
        operation = Operation(
            peer,
            association,
            context,
            Command(CommandField.C_GET_RQ),
            keys_at(level, keys),
            cancelled,
            session.answer,
        )
        for response, _ in operation.responses():
            moved = Moved.told_by(response)
            report(moved)
        session.await_visible()
    return moved
