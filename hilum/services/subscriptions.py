"""What a subscription is: a name, the events it wants, and how one of them is delivered.

Webhooks and routing rules are subscriptions; `hilum.services.delivery` works them off.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

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
    begin: Literal["now", "oldest"] = "now"
    """Where a subscription that is new begins: behind the last event, or at the first there is."""
    parallel: int = 4
    """How many studies are worked at once."""
