"""What a subscription is: a name, the events it wants, and how one of them is delivered.

Webhooks and routing rules are subscriptions; `hilum.services.delivery` works them off.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from hilum.core.errors import HilumError
from hilum.core.events import Event


@dataclass(frozen=True, slots=True)
class Subscription:
    """Somebody who is told of events, each at least once, in order within a study."""

    name: str
    """Stable: where it has got to and what waits for it are kept under this name."""
    wants: Callable[[Event], bool]
    """Asked once, when the event is taken from the outbox."""
    deliver: Callable[[Event], Awaitable[None]]
    """Returns when it is done, and may be called again with the same event.

    `Temporary` has it tried again, `PeerUnreachable` has everything of this subscription wait;
    any other error of `hilum.core.errors` makes a dead letter at once.
    """
    describe: str
    """For people, without a secret: ``webhook https://…``, ``C-STORE to PACS1``."""
    select: Callable[[Sequence[Event]], Awaitable[Collection[Event]]] | None = None
    """Asked which of the events that it wants it really does, where it takes a look to say."""
    deliver_some: Callable[[Sequence[Event]], Awaitable[Sequence[HilumError | None]]] | None = None
    """Delivers successive events of a study at once, in place of `deliver`, where that is less
    work; returns for each what `deliver` would have raised. Of those in `Temporary` trouble
    the first counts as an attempt."""
    at_once: int = 1
    """How many events `deliver_some` is given at most."""
    begin: Literal["now", "oldest"] = "now"
    """Where a subscription that is new begins: behind the last event, or at the first there is."""
    parallel: int = 4
    """How many studies are worked at once."""
