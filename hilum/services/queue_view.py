"""The queue for people: pages, counts, another try, removal. On every worker."""

import time
from collections.abc import Collection
from typing import Final

from hilum.index.queue_desk import QueueDesk
from hilum.index.queued import Entry, State, Summary
from hilum.services.flights import Flights

_SHORTEST_SECONDS: Final = 0.5
#: Counting a million takes a second. What share of the time may go into it.
_REST: Final = 10


class QueueView:
    """Shows the queue and changes it; lives on the loop.

    Every method but `summaries` is `hilum.index.queue_desk.QueueDesk`'s.
    """

    def __init__(self, desk: QueueDesk) -> None:
        self._desk = desk
        self._summaries: list[Summary] = []
        self._stale_at = 0.0
        self._counting: Flights[None] = Flights()

    async def summaries(self) -> list[Summary]:
        """Return every subscription with its counts, which may be a moment old.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.

        Notes
        -----
        Many may ask: it is counted once for all of them, and the longer that takes the less
        often.
        """
        if time.monotonic() >= self._stale_at:
            await self._counting.join("", self._count)
        return self._summaries

    async def _count(self) -> None:
        began = time.monotonic()
        self._summaries = await self._desk.summaries()
        now = time.monotonic()
        self._stale_at = now + max(_SHORTEST_SECONDS, _REST * (now - began))

    async def page(
        self, states: Collection[State], subscription: str | None, limit: int, offset: int
    ) -> list[Entry]:
        """Return deliveries, the latest events first."""
        return await self._desk.page(states, subscription, limit=limit, offset=offset)

    async def entry(self, delivery_id: str) -> Entry:
        """Return one delivery."""
        return await self._desk.entry(delivery_id)

    async def retry(self, delivery_id: str) -> None:
        """Have one delivery made now."""
        await self._desk.retry(delivery_id)
        self._stale_at = 0

    async def retry_all(self, subscription: str | None) -> int:
        """Have all dead letters, and what waits for another attempt, delivered now."""
        retried = await self._desk.retry_all(subscription)
        self._stale_at = 0
        return retried

    async def remove(self, delivery_id: str) -> None:
        """Forget one delivery."""
        await self._desk.remove(delivery_id)
        self._stale_at = 0

    async def remove_all(self, subscription: str, states: Collection[State]) -> int:
        """Forget the deliveries of a subscription."""
        removed = await self._desk.remove_all(subscription, states)
        self._stale_at = 0
        return removed
