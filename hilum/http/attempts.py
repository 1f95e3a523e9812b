"""Wrong passwords, counted: who has tried too many has to wait.

What counts is how many *different* wrong passwords came from one address for one name within a
minute. A program that has an old password and asks with it all day guesses nothing, and must
not lock out the one beside it that has the new one.

Whoever is at the limit is not told whether the next password is right: neither is the user
himself, from that address. From other addresses he is, and so are other users from this one.
"""

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from time import monotonic
from typing import Final

#: Different wrong passwords, from one address for one name, within the window.
MOST_GUESSES: Final = 10
WINDOW_SECONDS: Final = 60.0
#: Names and addresses are the caller's to choose, and so is how many there are of them. Whoever
#: has the oldest forgotten, so as to begin anew, has had to ask so many times for it.
_MOST_WINDOWS: Final = 10_000


@dataclass(slots=True)
class _Window:
    began: float
    guesses: set[bytes] = field(default_factory=set)


class Attempts:
    """Wrong passwords of the last minute, of one process, in bounded memory."""

    def __init__(self) -> None:
        # Oldest first: all are as long.
        self._windows: dict[bytes, _Window] = {}
        # Nobody is to find passwords in a dump of the memory that are nearly right.
        self._key = os.urandom(16)

    def seconds_to_wait(self, address: str, name: str) -> float:
        """Return how long nobody at this address may try a password for this name; mostly 0."""
        self._forget()
        window = self._windows.get(self._digest(address, name))
        if window is None or len(window.guesses) < MOST_GUESSES:
            return 0.0
        return window.began + WINDOW_SECONDS - monotonic()

    def note(self, address: str, name: str, password: str) -> bool:
        """Count a wrong password; return whether it was the last one that may be tried."""
        self._forget()
        key = self._digest(address, name)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            window = self._windows[key] = _Window(monotonic())
        guess = self._digest(password)
        new = guess not in window.guesses
        window.guesses.add(guess)
        return new and len(window.guesses) >= MOST_GUESSES

    def _forget(self) -> None:
        end = monotonic() - WINDOW_SECONDS
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest].began > end:
                return
            del self._windows[oldest]

    def _digest(self, *texts: str) -> bytes:
        parts = (text.encode() for text in texts)
        return blake2b(b"\0".join(parts), digest_size=16, key=self._key).digest()
