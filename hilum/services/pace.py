"""How long to wait before another attempt."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of the delivery engine, in seconds."""

    first_seconds: float = 1.0
    """The longest pause after a first failure; it doubles with each one more."""
    longest_seconds: float = 300.0
    give_up_seconds: float = 72 * 3600.0
    """What is not delivered for so long is a dead letter."""
    poll_seconds: float = 0.5
    """From one look for work to the next, where nobody tells that there is any."""

    def pause_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, from 1.

        Anything up to the limit: what failed together must not come back together ("full
        jitter").
        """
        limit = self.first_seconds * 2.0 ** min(failures - 1, 40)
        return random.uniform(0, min(limit, self.longest_seconds))  # noqa: S311 - no secret
