"""Routing: passing instances on, by rules and in shadow mode.

A rule is a subscription (`hilum.services.subscriptions`) for each of its destinations, so that
one that is away holds up no other. Whether a rule is about an instance is looked up when its
event is taken from the outbox; what is sent is what is stored at the time of sending.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, Protocol

import structlog

from hilum.core.errors import Corrupt, HilumError, Invalid, NotFound, Temporary
from hilum.core.events import Event, Kind
from hilum.core.routing import Moment, Rule, Traits
from hilum.index.consignments import Consignments
from hilum.index.stored import StoredInstance
from hilum.services.subscriptions import Subscription

log = structlog.get_logger(__name__)

_KINDS: Final = {
    Moment.ARRIVAL: Kind.NEW_INSTANCE,
    Moment.STABLE_SERIES: Kind.STABLE_SERIES,
    Moment.STABLE_STUDY: Kind.STABLE_STUDY,
}
#: Instances that have arrived and are sent at once: as many as are sent again, at worst, if the
#: node dies meanwhile.
_AT_ONCE: Final = 50
#: Instances that the error of a study or series names: people read it.
_NAMED: Final = 3
#: Studies and series of which is remembered, for another try, what has been sent.
_REMEMBERED: Final = 100


class Destination(Protocol):
    """Somebody who takes instances; runs on the loop."""

    @property
    def description(self) -> str:
        """What this is, for people, without a secret."""
        ...

    async def sender(self) -> str | None:
        """Return the AE title this sends with, as what comes from here need not go back."""
        ...

    async def send(self, instances: Sequence[StoredInstance]) -> Sequence[HilumError | None]:
        """Send instances of one study; return for each what is wrong, None if it arrived.

        `Temporary` if it is worth another try, `NotFound` if its file is gone.
        """
        ...


class Route:
    """One rule to one of its destinations.

    Parameters
    ----------
    name
        Of the subscription: ``route.RULE.DESTINATION`` or ``shadow.DESTINATION``.
    """

    def __init__(
        self, name: str, rule: Rule, destination: Destination, consignments: Consignments
    ) -> None:
        self._name = name
        self._rule = rule
        self._destination = destination
        self._consignments = consignments
        self._sent: dict[int, set[str]] = {}
        """By event, the files that have been sent when others failed."""

    def subscription(self) -> Subscription:
        """Return what the delivery engine works off."""
        arrival = self._rule.moment is Moment.ARRIVAL
        kind = _KINDS[self._rule.moment]
        return Subscription(
            name=self._name,
            wants=lambda event: event.kind is kind,
            select=self._select if arrival else None,
            deliver=self._deliver_below,
            deliver_some=self._deliver_instances if arrival else None,
            at_once=_AT_ONCE if arrival else 1,
            describe=self._destination.description,
        )

    async def _select(self, events: Sequence[Event]) -> list[Event]:
        """Return the events whose instances the rule is about, and that are still there."""
        traits = await self._consignments.traits({event.resource for event in events})
        sender = await self._destination.sender()
        return [
            event
            for event in events
            if event.resource in traits and self._is_about(traits[event.resource], sender)
        ]

    def _is_about(self, traits: Traits, sender: str | None) -> bool:
        if sender is not None and traits["calling_ae_title"] == sender:
            return False
        return self._rule.holds_for(traits)

    async def _deliver_instances(self, events: Sequence[Event]) -> list[HilumError | None]:
        """Send the instances that events are about."""
        ids = list(dict.fromkeys(event.resource for event in events))
        stored = await self._consignments.stored(ids)
        there = [each for each in ids if each in stored]
        for public_id in ids:
            if public_id not in stored:
                log.info("deleted before it was passed on", route=self._name, instance=public_id)
        results = await self._send([stored[each] for each in there])
        outcome = dict(zip(there, results, strict=True))
        return [outcome.get(event.resource) for event in events]

    async def _deliver_below(self, event: Event) -> None:
        """Send the instances of what became stable, but those that were sent in an earlier try.

        Raises
        ------
        Temporary
            Some did not arrive, and another try may help.
        Invalid
            Some did not arrive, and none will.
        """
        found = await self._consignments.below(event.level, event.resource)
        sent = self._sent.pop(event.sequence, set())
        sender = await self._destination.sender()
        left = [
            instance
            for instance, traits in found
            if self._is_about(traits, sender) and instance.blob.digest not in sent
        ]
        faults: list[tuple[StoredInstance, HilumError]] = []
        for instance, error in zip(left, await self._send(left), strict=True):
            if error is None:
                sent.add(instance.blob.digest)
            else:
                faults.append((instance, error))
        passing = [fault for fault in faults if isinstance(fault[1], Temporary)]
        if passing:
            self._remember(event.sequence, sent)
            raise passing[0][1]
        if faults:
            raise Invalid(f"{len(faults)} of {len(left)} instances: {_named(faults)}")

    def _remember(self, sequence: int, sent: set[str]) -> None:
        self._sent[sequence] = sent
        while len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]

    async def _send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        if not instances:
            return []
        results = await self._destination.send(instances)
        return [
            await self._missing(instance, error) if isinstance(error, NotFound) else error
            for instance, error in zip(instances, results, strict=True)
        ]

    async def _missing(self, instance: StoredInstance, error: NotFound) -> HilumError | None:
        """Return what is wrong with an instance whose file is gone; None if it was deleted."""
        public_id = instance.identity.instance
        current = (await self._consignments.stored([public_id])).get(public_id)
        if current is not None and current.blob == instance.blob:
            return Corrupt(str(error))
        # Deleted, or replaced: that is an event of its own.
        log.info("deleted before it was passed on", route=self._name, instance=public_id)
        return None


def _named(faults: Iterable[tuple[StoredInstance, HilumError]]) -> str:
    return "; ".join(
        f"{instance.identity.sop_instance_uid}: {error}"
        for instance, error in islice(faults, _NAMED)
    )
