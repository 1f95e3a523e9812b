"""C-MOVE as service class user, Patient Root and Study Root (PS3.4 C.4.2.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.core.peer import Peer
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.contexts import MOVE_MODELS
from hilum.scp.operation import Operation, keys_at, models_for, named, never, operating


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a C-MOVE or C-GET is, as the peer counts its sub-operations (PS3.4 C.4.2.1)."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0

    @classmethod
    def told_by(cls, response: Command) -> Self:
        """Return what a response says of it."""
        return cls(
            remaining=response.remaining or 0,
            completed=response.completed or 0,
            failed=response.failed or 0,
            warning=response.warning or 0,
        )

    @property
    def progress(self) -> int:
        """Percentage of what there is to send."""
        done = self.completed + self.failed + self.warning
        return 100 * done // (done + self.remaining) if done else 0


def ignore(_moved: Moved) -> None:
    """Do nothing about progress."""


def move(
    peer: Peer,
    ae_title: str,
    level: Level,
    keys: Attributes,
    destination: str,
    limits: TimeLimits | None = None,
    *,
    report: Callable[[Moved], None] = ignore,
    cancelled: Callable[[], bool] = never,
) -> Moved:
    """Have `peer` send what `keys` name to the application entity `destination`.

    Parameters
    ----------
    destination
        An AE title, as the peer knows it.
    report
        Called with every pending response.
    cancelled
        Asked several times a second: whether to cancel it now.

    Returns
    -------
    Moved
        All of it: nothing failed, unless it was cancelled.

    Raises
    ------
    PeerUnreachable
        There is no association, or it is lost; the peer is silent for too long.
    PeerRefused
        The peer answers with a failure, one that not everything was sent included, or it
        serves no C-MOVE.
    """
    moved = Moved()
    sop_classes = models_for(level, *MOVE_MODELS)
    with named(peer), operating(peer, ae_title, sop_classes, limits or TimeLimits()) as opened:
        association, context = opened
        operation = Operation(
            peer,
            association,
            context,
            Command(CommandField.C_MOVE_RQ, move_destination=destination),
            keys_at(level, keys),
            cancelled,
        )
        for response, _ in operation.responses():
            moved = Moved.told_by(response)
            report(moved)
    return moved
