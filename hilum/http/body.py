"""The body of an upload that is no multipart message: one file, from its first byte to its last."""

from collections.abc import Iterable
from typing import Protocol

from hilum.http.multipart import Event, PartBegins, PartData, PartEnds


class BodyParser(Protocol):
    """Turns the bytes of a body into parts, a piece at a time, without I/O."""

    def feed(self, data: bytes) -> Iterable[Event]:
        """Return the events that `data` completes. Exhaust it before feeding more."""
        ...

    def end(self) -> Iterable[Event]:
        """Return the events that the end of the body completes.

        Raises
        ------
        hilum.http.multipart.Malformed
            It ended too early.
        """
        ...


class WholeBody:
    """A body that is a single part (PS3.18 8.6.1.1)."""

    def __init__(self, content_type: str) -> None:
        self._begins: PartBegins | None = PartBegins("", None, content_type)

    def feed(self, data: bytes) -> list[Event]:
        """See `BodyParser.feed`."""
        return [*self._begin(), PartData(data)]

    def end(self) -> list[Event]:
        """See `BodyParser.end`: that a body came whole is for HTTP to know."""
        return [*self._begin(), PartEnds()]

    def _begin(self) -> list[Event]:
        begins, self._begins = self._begins, None
        return [] if begins is None else [begins]
