"""Delivering a series of instances to one peer, over as many associations as it takes.

An association has room for 128 presentation contexts; one that is lost half-way costs the
instance it was carrying, and the rest gets a new one as long as there is progress.
"""

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from hilum.core.errors import PeerUnreachable
from hilum.core.peer import Originator
from hilum.scp.command import Command
from hilum.scp.contexts import MAXIMUM_CONTEXTS, proposals_for
from hilum.scp.lines import Kind, Line, Lines
from hilum.scp.patience import do_nothing, patiently
from hilum.scp.send import LOOK_AHEAD, Outgoing, Sender
from hilum.scp.upper_layer import ProtocolViolation
from hilum.scp.wire import AssociationLost

log = structlog.get_logger(__name__)

#: Associations lost in a row, each with nothing delivered, after which no more are tried.
_LOSSES: Final = 2


class Delivery:
    """Context manager; leaving it releases the association.

    Parameters
    ----------
    series
        Everything that is to be sent, in the order it will be: its presentation contexts
        are proposed together.
    lines
        Where associations come from, and may go back to for others to use.
    originator
        Set when the sending is a C-MOVE of somebody else's.
    meanwhile
        Called several times a second, whatever the peer is being waited for.
    """

    def __init__(
        self,
        lines: Lines,
        series: Sequence[Outgoing],
        originator: Originator | None = None,
        meanwhile: Callable[[], None] = do_nothing,
    ) -> None:
        self._lines = lines
        self._series = series
        self._originator = originator
        self._meanwhile = meanwhile
        self._position = 0
        self._line: Line | None = None
        self._sender: Sender | None = None
        self._losses = 0
        self._unreachable: PeerUnreachable | None = None

    def send_next(self) -> Command:
        """Send the next instance of the series; return the peer's response.

        Raises
        ------
        PeerUnreachable
            There is no association, or it was lost over this instance.
        HilumError
            This instance cannot be sent; the next one may.
        """
        outgoing = self._series[self._position]
        try:
            sender = self._sender_for(outgoing)
        finally:
            self._position += 1
        try:
            response = sender.send(
                outgoing,
                self._series[self._position : self._position + LOOK_AHEAD],
                while_preparing=self._meanwhile,
                while_sending=self._meanwhile,
            )
        except AssociationLost as loss:
            self._drop(loss)
            raise
        self._losses = 0
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    def _sender_for(self, outgoing: Outgoing) -> Sender:
        if self._unreachable is not None:
            raise self._unreachable
        if self._line is not None and _kind(outgoing) not in self._line.kinds:
            self._release()
        if self._sender is None:
            self._line = self._lines.idle(_kind(outgoing)) or self._open()
            self._sender = Sender(self._line.association, self._originator)
        return self._sender

    def _open(self) -> Line:
        kinds = _kinds_for_one_association(self._series[self._position :])
        try:
            return patiently(partial(self._lines.open, kinds), self._meanwhile)
        except PeerUnreachable as error:
            # It will not be there for the next instance either, and every attempt may
            # take as long as the network lets it.
            self._unreachable = error
            raise

    def _release(self) -> None:
        if self._line is not None and self._sender is not None:
            self._sender.close()
            if not self._lines.give_back(self._line):
                # It may take as long as the peer needs to have everything in its index.
                patiently(self._line.association.release, self._meanwhile)
            self._line = self._sender = None

    def _drop(self, loss: AssociationLost) -> None:
        log.warning("association lost", peer=str(self._lines.peer), reason=str(loss))
        if self._line is not None and self._sender is not None:
            self._sender.close()
            self._lines.abort(
                self._line, loss.reason if isinstance(loss, ProtocolViolation) else None
            )
            self._line = self._sender = None
        self._losses += 1
        if self._losses >= _LOSSES:
            self._unreachable = loss


def _kind(outgoing: Outgoing) -> Kind:
    return outgoing.sop_class_uid, outgoing.transfer_syntax_uid


def _kinds_for_one_association(series: Sequence[Outgoing]) -> frozenset[Kind]:
    """Return the kinds at the head of `series` whose contexts one association can have."""
    kinds: set[Kind] = set()
    for outgoing in series:
        kind = _kind(outgoing)
        if kind not in kinds and len(proposals_for([*kinds, kind])) > MAXIMUM_CONTEXTS:
            break
        kinds.add(kind)
    return frozenset(kinds)
