"""Work that several ask for at the same moment is done once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    work: "asyncio.Task[T]"
    waiting: int = 0


class Flights(Generic[T]):
    """What is being made at the moment, by key; for one event loop."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    async def join(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `make` returns, or what the call of it under way for `key` does.

        Whoever asked first may go away without harm to the others. When the last one has
        gone the work is cancelled: nobody wants it.

        Raises
        ------
        Exception
            What `make` raises, to all who wait for it.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.create_task(make()))
            self._flights[key] = flight
            flight.work.add_done_callback(lambda work: self._landed(key, work))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.work)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.work.done():
                # Not to be joined any more: it ends soon, with nothing.
                self._flights.pop(key, None)
                flight.work.cancel()

    def _landed(self, key: str, work: "asyncio.Task[T]") -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.work is work:
            del self._flights[key]
        if not work.cancelled():
            work.exception()  # looked at, so that nobody complains when all have gone
