"""The courier of one subscription: works off what waits for it. On the leader only.

Lanes (`hilum.index.queue`) are worked several at a time, each in order: what fails has its
study wait, and no other. A receiver that is away has everything wait, and is probed by one
delivery after another. A lane has its turn and then lets others have theirs.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hilum.core.errors import (
    HilumError,
    IndexUnavailable,
    PeerUnreachable,
    StorageUnavailable,
    Temporary,
)
from hilum.index.queue import Queue
from hilum.index.queued import Away, Delivery, Lane
from hilum.services.pace import Pace
from hilum.services.subscriptions import Subscription

log = structlog.get_logger(__name__)

#: Deliveries of one study before others have their turn.
_TURN: Final = 100
#: In a row and of as many studies, with no success in between: it is the receiver.
_STUDIES_FAILING: Final = 3
#: How long a receiver may have itself be left alone.
_LONGEST_REST_SECONDS: Final = 3600.0
#: From one note of what is delivered to the next: they cost a sync each.
_NOTE_SECONDS: Final = 0.25
#: For the last one: the node is stopping.
_LAST_NOTE_SECONDS: Final = 2.0


class Courier:
    """Delivers to one subscription; `run` is its task, `wake` tells it that there is work."""

    def __init__(self, subscription: Subscription, queue: Queue, pace: Pace) -> None:
        self._subscription = subscription
        self._name = subscription.name
        self._queue = queue
        self._pace = pace
        self._away: Away | None = None
        self._failing: set[str] = set()
        """Studies that failed since the last success."""
        self._running: dict[str, asyncio.Task[None]] = {}
        """By lane."""
        self._delivered: list[str] = []
        """Ids of what is done and not noted yet."""
        self._noting = asyncio.Lock()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work at once."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        noting = asyncio.create_task(self._keep_noting())
        try:
            while True:
                try:
                    self._away = await self._queue.away(self._name)
                    while True:
                        await self._turn()
                except Temporary as error:
                    log.warning("deliveries wait", subscription=self._name, reason=str(error))
                    await asyncio.sleep(self._pace.pause_seconds(3))
        finally:
            tasks = [noting, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # What cannot be noted is delivered again.
            with suppress(Temporary, TimeoutError):
                async with asyncio.timeout(_LAST_NOTE_SECONDS):
                    await self._note()

    async def _turn(self) -> None:
        """Begin what is due, and wait until something has changed."""
        patience = self._pace.poll_seconds
        now = datetime.now(UTC)
        self._woken.clear()
        if self._away is not None:
            await self._hear_of_hurry()
        away = self._away
        if away is not None:
            if not self._running and away.probe_at <= now:
                lane = await self._queue.next_lane(self._name)
                if lane is not None:
                    self._begin(lane, probe=True)
            elif not self._running:
                patience = min(patience, (away.probe_at - now).total_seconds())
        elif len(self._running) < self._subscription.parallel:
            free = self._subscription.parallel - len(self._running)
            for lane in await self._queue.due(self._name, list(self._running), free):
                self._begin(lane, probe=False)
        # Not `wait_for`: before Python 3.12 it forgets that it was cancelled if it is woken, too.
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._woken.wait()

    async def _hear_of_hurry(self) -> None:
        """Take note if somebody wants the receiver tried earlier."""
        stored = await self._queue.away(self._name)
        # It may have come back meanwhile.
        if stored and self._away and stored.probe_at < self._away.probe_at:
            self._away = replace(self._away, probe_at=stored.probe_at)

    def _begin(self, lane: Lane, *, probe: bool) -> None:
        async def follow() -> None:
            try:
                await self._follow(lane, probe=probe)
            except Temporary as error:  # the index, and not the receiver
                log.warning("deliveries wait", subscription=self._name, reason=str(error))
                await asyncio.sleep(self._pace.pause_seconds(3))
            finally:
                del self._running[lane.id]
                self._woken.set()

        self._running[lane.id] = asyncio.create_task(follow())

    async def _follow(self, lane: Lane, *, probe: bool) -> None:
        """Deliver what waits in a lane, in order, until its turn is over or one fails."""
        # What is delivered and not noted would be found again.
        await self._note()
        limit = 1 if probe else _TURN
        found = await self._queue.waiting(self._name, lane.study, limit)
        step = self._subscription.at_once
        for start in range(0, len(found), step):
            if self._away is not None and not probe:
                return  # it stays due
            if not await self._deliver(found[start : start + step], lane, probe=probe):
                return
        await self._note()
        if len(found) < limit:
            await self._queue.close(lane)
        else:
            await self._queue.postpone(lane, datetime.now(UTC))

    async def _deliver(self, group: Sequence[Delivery], lane: Lane, *, probe: bool) -> bool:
        """Make deliveries; return whether the next ones of their study may follow."""
        in_order = True
        for delivery, error in zip(group, await self._attempt(group), strict=True):
            if error is None:
                await self._succeeded(delivery, probe=probe)
            elif not isinstance(error, Temporary):
                # The receiver was reached, or it never came to that: a probe has to be repeated.
                await self._bury(delivery, str(error))
            elif in_order:
                in_order = False
                await self._failed(delivery, lane, error, probe=probe)
        return in_order

    async def _attempt(self, group: Sequence[Delivery]) -> Sequence[HilumError | None]:
        """Return what is wrong with each delivery, None if it was made."""
        events = [delivery.event for delivery in group]
        try:
            if self._subscription.deliver_some is not None:
                return await self._subscription.deliver_some(events)
            for event in events:
                await self._subscription.deliver(event)
        except HilumError as error:
            return [error] * len(group)
        except Exception:  # no fault of ours may cost an event or stop the others
            log.exception("delivery_fault", delivery=group[0].id)
            return [Temporary("the node failed to deliver it; its log says why")] * len(group)
        return [None] * len(group)

    async def _succeeded(self, delivery: Delivery, *, probe: bool) -> None:
        self._delivered.append(delivery.id)
        self._failing.clear()
        if probe and self._away is not None:
            since = self._away.since
            self._away = None
            await self._queue.set_away(self._name, None)
            seconds = round((datetime.now(UTC) - since).total_seconds(), 1)
            log.info("receiver is back", subscription=self._name, seconds=seconds)

    async def _failed(
        self, delivery: Delivery, lane: Lane, error: Temporary, *, probe: bool
    ) -> None:
        await self._note()
        now = datetime.now(UTC)
        was_away = self._away is not None
        if probe or self._blames_receiver(error, lane):
            await self._set_away(error, now, probe=probe)
        pause = error.retry_after_seconds or self._pace.pause_seconds(delivery.attempts + 1)
        due_at = now + timedelta(seconds=min(pause, _LONGEST_REST_SECONDS))
        if (now - delivery.queued_at).total_seconds() > self._pace.give_up_seconds:
            await self._bury(delivery, str(error))
        else:
            await self._queue.failed(delivery, str(error), due_at)
        await self._queue.postpone(lane, due_at, probed=was_away)

    def _blames_receiver(self, error: Temporary, lane: Lane) -> bool:
        if isinstance(error, PeerUnreachable) or error.retry_after_seconds:
            return True
        if isinstance(error, IndexUnavailable | StorageUnavailable):
            return False
        self._failing.add(lane.study)
        return len(self._failing) >= _STUDIES_FAILING

    async def _set_away(self, error: Temporary, now: datetime, *, probe: bool) -> None:
        if self._away is not None and not probe:
            return  # others have found out before
        attempts = self._away.attempts + 1 if self._away else 1
        pause = error.retry_after_seconds or self._pace.pause_seconds(attempts)
        probe_at = now + timedelta(seconds=min(pause, _LONGEST_REST_SECONDS))
        since = self._away.since if self._away else now
        self._away = Away(since, attempts, probe_at, str(error))
        if attempts == 1:
            log.warning("receiver is away", subscription=self._name, reason=str(error))
        await self._queue.set_away(self._name, self._away)
        limit = now - timedelta(seconds=self._pace.give_up_seconds)
        if buried := await self._queue.bury_older(self._name, limit, str(error)):
            log.error("dead letters", subscription=self._name, count=buried, reason=str(error))

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._note()
        log.error("dead letter", delivery=delivery.id, reason=reason)
        await self._queue.buried(delivery, reason)

    async def _keep_noting(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            with suppress(Temporary):  # whoever works a lane meets it too
                await self._note()

    async def _note(self) -> None:
        """Write down what has been delivered."""
        async with self._noting:
            ids = list(self._delivered)
            if ids:
                await self._queue.delivered(ids)
                del self._delivered[: len(ids)]
