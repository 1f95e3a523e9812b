"""Associations to one peer: those in use, and those that wait a moment for more to send.

What arrives one by one is passed on one by one, and an association for each would cost more
than the instances. Whoever sends takes an idle one that was asked for the right kind of
instance, else opens one, and gives it back.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeAlias

from hilum.core.errors import PeerUnreachable
from hilum.core.peer import Peer
from hilum.scp.association import Association, TimeLimits
from hilum.scp.contexts import MAXIMUM_CONTEXTS, proposals_for
from hilum.scp.requestor import associate
from hilum.scp.upper_layer import AbortReason

#: SOP class and transfer syntax of an instance.
Kind: TypeAlias = tuple[str, str]

#: Kinds that are proposed because they came before.
_KINDS_KEPT: Final = 32
_STOPPING: Final = "the node is stopping"


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """An association, and the kinds of instances that it was asked for."""

    association: Association
    kinds: frozenset[Kind]


class Lines:
    """Associations to one peer. Every method may be called from any thread.

    Parameters
    ----------
    idle_seconds
        How long one is kept that has nothing to send; 0: not at all.
    """

    def __init__(
        self, peer: Peer, ae_title: str, limits: TimeLimits, idle_seconds: float = 0.0
    ) -> None:
        self.peer = peer
        self._ae_title = ae_title
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._lock = Lock()
        self._idle: list[tuple[float, Line]] = []  # since when, the latest last
        self._busy: set[Line] = set()
        self._kinds: dict[Kind, None] = {}  # that came before, the latest last
        self._closed = False

    def idle(self, kind: Kind) -> Line | None:
        """Return an idle association that was asked for `kind`, if there is one."""
        while (line := self._take(kind)) is not None:
            if not line.association.disturbed():
                return line
            # Nothing comes unasked but the end: the peer has released it, or is gone.
            self.abort(line)
        return None

    def open(self, kinds: Collection[Kind]) -> Line:
        """Open an association for instances of `kinds`.

        Parameters
        ----------
        kinds
            As many as one association has contexts for (`proposals_for`).

        Raises
        ------
        PeerUnreachable
            The peer does not answer, rejects, or aborts; or `close` was called.
        """
        if self._closed:
            raise PeerUnreachable(_STOPPING)
        wanted = self._with_earlier(kinds)
        proposals = proposals_for(sorted(wanted))
        association = associate(self.peer, self._ae_title, proposals, self._limits)
        line = Line(association, wanted)
        with self._lock:
            if not self._closed:
                self._busy.add(line)
                return line
        association.abort()
        raise PeerUnreachable(_STOPPING)

    def give_back(self, line: Line) -> bool:
        """Take back an association that is as it was; False if it has to be released instead."""
        with self._lock:
            self._busy.discard(line)
            if self._closed or not self._idle_seconds:
                return False
            self._idle.append((time.monotonic(), line))
            return True

    def abort(self, line: Line, reason: AbortReason | None = None) -> None:
        """Abort an association that was lost, or as good as."""
        with self._lock:
            self._busy.discard(line)
        line.association.abort(reason)

    def release_idle(self) -> None:
        """Release what has had nothing to send for long enough."""
        until = time.monotonic() - self._idle_seconds
        with self._lock:
            due = [each for each in self._idle if self._closed or each[0] <= until]
            self._idle = [each for each in self._idle if each not in due]
        for _, line in due:
            line.association.release()

    def close(self) -> None:
        """Release what is idle, interrupt what is in use, and open nothing any more."""
        with self._lock:
            self._closed = True
            for line in self._busy:
                line.association.interrupt()
        self.release_idle()

    def _take(self, kind: Kind) -> Line | None:
        with self._lock:
            for position in reversed(range(len(self._idle))):
                line = self._idle[position][1]
                if kind in line.kinds:
                    del self._idle[position]
                    self._busy.add(line)
                    return line
        return None

    def _with_earlier(self, kinds: Collection[Kind]) -> frozenset[Kind]:
        """Return `kinds` and such as came before, and so may come again on the association."""
        if not self._idle_seconds:
            return frozenset(kinds)
        with self._lock:
            earlier = list(self._kinds)
            self._kinds = dict.fromkeys([*(k for k in earlier if k not in kinds), *kinds])
            while len(self._kinds) > _KINDS_KEPT:
                del self._kinds[next(iter(self._kinds))]
        wanted = set(kinds)
        for kind in reversed(earlier):
            if len(proposals_for([*wanted, kind])) <= MAXIMUM_CONTEXTS:
                wanted.add(kind)
        return frozenset(wanted)
