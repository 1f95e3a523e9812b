"""Delivery: from the outbox to those who want to know. On the leader only.

The dispatcher moves each subscription's cursor over the outbox and queues what it wants;
a courier for each subscription (`hilum.services.courier`) works its queue off. Cursor and
queue are in MongoDB: a leader that dies leaves both to the next one, which at worst delivers
again what was delivered and not yet noted.
"""

import asyncio
from collections.abc import Sequence

import structlog

from hilum.core.errors import Temporary
from hilum.core.events import Event
from hilum.index.outbox import Outbox
from hilum.index.queue import Queue
from hilum.services.courier import Courier
from hilum.services.pace import Pace
from hilum.services.subscriptions import Subscription

__all__ = ["Deliveries", "Pace", "Subscription"]

log = structlog.get_logger(__name__)

#: Events that are taken from the outbox at a time.
_AT_ONCE = 500


class Deliveries:
    """Delivers to all subscriptions; `run` is for the leader, on the loop.

    Parameters
    ----------
    outbox
        Where events come from.
    queue
        Where they wait.
    subscriptions
        Of different names.
    pace
        How long to wait for what.
    """

    def __init__(
        self,
        outbox: Outbox,
        queue: Queue,
        subscriptions: Sequence[Subscription],
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self._outbox = outbox
        self._queue = queue
        self._subscriptions = subscriptions
        self._pace = pace
        self._cursors: dict[str, int] = {}

    async def register(self) -> None:
        """Note which subscriptions there are; those that are new begin here.

        Any worker may, and each does before it takes anything in: what comes later is
        delivered even if no leader has been found yet. Idempotent.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        last = await self._outbox.last()
        for each in self._subscriptions:
            begin = last if each.begin == "now" else 0
            cursor = await self._queue.register(each.name, each.describe, begin)
            self._cursors[each.name] = cursor
        await self._queue.retire_others([each.name for each in self._subscriptions])

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                await self.register()
                break
            except Temporary as error:
                log.warning("deliveries wait", reason=str(error))
                await asyncio.sleep(self._pace.pause_seconds(3))
        couriers = {
            each.name: Courier(each, self._queue, self._pace) for each in self._subscriptions
        }
        async with asyncio.TaskGroup() as group:
            for courier in couriers.values():
                group.create_task(courier.run())
            # Nobody to tell: for the outbox to be read there is no need.
            group.create_task(self._dispatch(couriers) if couriers else _for_ever())

    async def _dispatch(self, couriers: dict[str, Courier]) -> None:
        while True:
            try:
                moved = await self._take(couriers)
            except Temporary as error:
                log.warning("deliveries wait", reason=str(error))
                await asyncio.sleep(self._pace.pause_seconds(3))
                continue
            if not moved:
                await asyncio.sleep(self._pace.poll_seconds)

    async def _take(self, couriers: dict[str, Courier]) -> bool:
        """Queue what is new in the outbox for each subscription; return whether there was any."""
        last = await self._outbox.last()
        read: dict[int, list[Event]] = {}  # most often all are at the same place
        moved = False
        for each in self._subscriptions:
            cursor = self._cursors[each.name]
            if cursor >= last:
                continue
            if cursor not in read:
                read[cursor] = await self._outbox.since(cursor, _AT_ONCE)
            events = read[cursor]
            # None: what there was is gone.
            reached = events[-1].sequence if events else last
            wanted = await _selected(each, [event for event in events if _wants(each, event)])
            await self._queue.add(each.name, wanted, reached)
            self._cursors[each.name] = reached
            moved = True
            if wanted:
                couriers[each.name].wake()
        return moved


def _wants(subscription: Subscription, event: Event) -> bool:
    try:
        return subscription.wants(event)
    except Exception:
        # Rather one too many than one too few: its delivery will tell.
        log.exception("subscription_fault", subscription=subscription.name)
        return True


async def _selected(subscription: Subscription, events: Sequence[Event]) -> list[Event]:
    if subscription.select is None or not events:
        return list(events)
    try:
        selected = {event.sequence for event in await subscription.select(events)}
    except Temporary:
        raise
    except Exception:
        log.exception("subscription_fault", subscription=subscription.name)
        return list(events)
    return [event for event in events if event.sequence in selected]


async def _for_ever() -> None:
    await asyncio.Event().wait()
