"""Whose work is next: nobody waits for all that another has queued, or for what takes long.

There are as many places as there is work that the processors can do at once. Whoever scrolls
through a series has a queue to himself, and the queues get their turns one after the other.
Work that lasts gives its place up and goes on beside it, so that quick work passes by; a
few pieces of it may, and each owner has only so many in hand at once.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from typing import Final

#: Nearly every frame takes less; what takes more is not to hold up those.
_QUICK_SECONDS: Final = 0.25


class Turn:
    """A piece of work in hand."""

    def __init__(self, turns: "Turns", owner: str) -> None:
        self.owner = owner
        self.slow = False
        """It has given its place up, and goes on without."""
        self._turns = turns
        self._clock: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Let the time count from now on."""
        if self._clock is None:
            loop = asyncio.get_running_loop()
            self._clock = loop.call_later(_QUICK_SECONDS, self._turns.give_up, self)

    def end(self) -> None:
        """Make room for the next."""
        if self._clock is not None:
            self._clock.cancel()
        self._turns.leave(self)


class Turns:
    """The places, and the queues before them; for one event loop.

    Parameters
    ----------
    places
        For work that is quick, and what one owner may have in hand, quick or slow.
    slow_places
        For work that lasts, beside those.
    """

    def __init__(self, places: int, slow_places: int) -> None:
        self._places = places
        self._free = places
        self._free_slow = slow_places
        self._in_hand: Counter[str] = Counter()
        self._overdue: list[Turn] = []
        self._queues: OrderedDict[str, deque[asyncio.Future[Turn]]] = OrderedDict()

    async def take(self, owner: str) -> Turn:
        """Wait for a turn; its `end` is to be called."""
        if self._free and self._in_hand[owner] < self._places:
            return self._grant(owner)
        granted: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(owner, deque()).append(granted)
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                granted.result().end()
            else:
                self._forget(owner, granted)
            raise

    def give_up(self, turn: Turn) -> None:
        """Free the place of work that lasts, if there is one to go to; else as soon as there is."""
        if not self._free_slow:
            self._overdue.append(turn)
            return
        turn.slow = True
        self._free_slow -= 1
        self._free += 1
        self._next()

    def leave(self, turn: Turn) -> None:
        """Free what ended work had."""
        self._in_hand[turn.owner] -= 1
        if not self._in_hand[turn.owner]:
            del self._in_hand[turn.owner]
        with suppress(ValueError):
            self._overdue.remove(turn)
        if turn.slow:
            self._free_slow += 1
            if self._overdue:
                self.give_up(self._overdue.pop(0))
        else:
            self._free += 1
        self._next()

    def _next(self) -> None:
        """Give free places to the queues in turn."""
        while self._free:
            owner = next(
                (each for each in self._queues if self._in_hand[each] < self._places), None
            )
            if owner is None:
                return
            granted = self._queues[owner].popleft()
            self._queues.move_to_end(owner)
            if not self._queues[owner]:
                del self._queues[owner]
            if not granted.done():
                granted.set_result(self._grant(owner))

    def _grant(self, owner: str) -> Turn:
        self._free -= 1
        self._in_hand[owner] += 1
        return Turn(self, owner)

    def _forget(self, owner: str, granted: "asyncio.Future[Turn]") -> None:
        queue = self._queues.get(owner)
        if queue is not None:
            with suppress(ValueError):
                queue.remove(granted)
            if not queue:
                del self._queues[owner]
