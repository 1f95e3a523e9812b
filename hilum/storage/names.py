"""The names of files in the spool. Nothing else of what was received gets into a path.

``20261122T064643.123456Z-9c2f41d000000007-CT1.dcm`` is a time of arrival (UTC), the run
that wrote the file with a number within that run, and the sender, percent-encoded. Such
names sort by time, and say all that replay has to know.

``9c2f41d000000007.slot`` is a file that was made before anything arrived for it: a run and
a number. Its mark says the rest (`hilum.storage.mark`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import quote, unquote

from hilum.core.instance import Origin
from hilum.storage.mark import origin_of

_NAME: Final = re.compile(
    r"(?P<time>\d{8}T\d{6}\.\d{6}Z)"
    r"-(?P<run>[0-9a-f]{8})(?P<number>[0-9a-f]{8,})"
    r"-(?P<source>[^/]*)\.dcm"
)
_SLOT: Final = re.compile(r"(?P<run>[0-9a-f]{8})(?P<number>[0-9a-f]{8,})\.slot")
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
# A file name may have 255 bytes; this leaves room for the other parts.
_SOURCE_CHARACTERS: Final = 160
#: In front of what the sender called this node; percent-encoded text has none.
_BETWEEN: Final = ","


@dataclass(frozen=True, slots=True)
class SpoolName:
    """What the name of a committed file says."""

    origin: Origin
    run: str
    """Eight hexadecimal digits, other ones at each start."""
    number: int
    """Counts the files of the run, from 0."""

    def __str__(self) -> str:
        time = self.origin.received_at.astimezone(UTC).strftime(_TIME)
        source = quote(self.origin.source, safe="")[:_SOURCE_CHARACTERS]
        if self.origin.by_alias:
            source += _BETWEEN + quote(self.origin.called_ae_title, safe="")
        return f"{time}-{self.run}{self.number:08x}-{source}.dcm"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return what `name` says, or None if it was not given here."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            received_at = datetime.strptime(match["time"], _TIME).replace(tzinfo=UTC)
        except ValueError:  # digits that are no time
            return None
        source, _, called = match["source"].partition(_BETWEEN)
        origin = origin_of(unquote(source), received_at, unquote(called))
        return cls(origin, match["run"], int(match["number"], 16))


@dataclass(frozen=True, slots=True)
class SlotName:
    """What the name of a file that was made ahead says."""

    run: str
    """As in `SpoolName`."""
    number: int

    def __str__(self) -> str:
        return f"{self.run}{self.number:08x}.slot"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return what `name` says, or None if it is no such name."""
        match = _SLOT.fullmatch(name)
        return None if match is None else cls(match["run"], int(match["number"], 16))
