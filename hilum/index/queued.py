"""What the queue of deliveries holds, as the other rooms read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hilum.core.events import Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one subscription, not delivered yet."""

    id: str
    event: Event
    attempts: int
    """That have failed."""
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Lane:
    """The deliveries of one study that wait for one subscription."""

    id: str
    study: str
    due_at: datetime
    revision: int
    """Another one whenever something was added."""


@dataclass(frozen=True, slots=True)
class Away:
    """Since when a receiver is away, and when it is tried again, by one delivery."""

    since: datetime
    attempts: int
    probe_at: datetime
    reason: str


class State(StrEnum):
    """How far a delivery has got."""

    WAITING = "waiting"
    DEAD = "dead"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as it is shown."""

    id: str
    subscription: str
    state: State
    event: Event
    attempts: int
    """That have failed."""
    error: str | None
    """Of the last attempt that failed."""
    queued_at: datetime
    due_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A subscription and how many of its deliveries are where."""

    name: str
    describe: str
    active: bool
    """Whether the settings still have it."""
    cursor: int
    away: Away | None
    counts: Mapping[State, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    """When the first of those that wait was queued."""
