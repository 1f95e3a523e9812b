"""The one crossing between threads and the event loop.

Associations live in threads, MongoDB and HTTP on the loop. Whatever passes from one side
to the other passes here, so that the rules of both sides are kept in one place: the loop
is never blocked, and a thread never touches what belongs to the loop.
"""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from hilum.core.errors import Temporary

T = TypeVar("T")

#: Values handed over at once: a hand-over costs some 50 µs, a value much less.
_BATCH_SIZE = 100
#: A batch is handed over after that time, with what there is; the first one sooner, but
#: not before it can be known whether it is the only one.
_BATCH_SECONDS = 0.05
_FIRST_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What an iterator has yielded meanwhile."""

    values: list[T]
    is_last: bool = False
    error: BaseException | None = None
    """What ended the iterator, and its values do not count."""


class Crossing:
    """Calls from threads onto one running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_seconds: float | None = None) -> T:
        """Run `coroutine` on the loop and wait for its result, from another thread.

        Raises
        ------
        Temporary
            The loop has stopped, or the result did not come within the time.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError as error:  # the loop is closed: the node is stopping
            coroutine.close()
            raise Temporary("the node is stopping") from error
        try:
            return future.result(timeout_seconds)
        except concurrent.futures.TimeoutError as error:
            if future.done():  # a TimeoutError of the coroutine's own
                raise
            future.cancel()
            raise Temporary(f"no answer within {timeout_seconds} s") from error
        except concurrent.futures.CancelledError as error:
            raise Temporary("the node is stopping") from error

    def batches(self, values: AsyncIterator[T]) -> Generator[Batch[T], None, None]:
        """Iterate `values` from another thread, several at a time; the last batch says so.

        No value waits long for others to keep it company, the first least of all. Leaving the
        loop early closes `values` too.

        Raises
        ------
        Temporary
            The loop has stopped.
        """
        relay = _Relay(values)
        self.post(relay.start)
        batch = None
        try:
            while batch is None or not batch.is_last:
                batch = relay.arrived.get()
                if batch.error is not None:
                    if isinstance(batch.error, asyncio.CancelledError):
                        raise Temporary("the node is stopping") from batch.error
                    raise batch.error
                yield batch
                if not batch.is_last:
                    self.post(relay.go_on)
        finally:
            if batch is None or not batch.is_last:
                self.post(relay.stop)
                while not relay.arrived.get().is_last:
                    pass

    def post(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the loop call `function` soon, without waiting for it.

        Raises
        ------
        Temporary
            The loop has stopped.
        """
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError as error:
            raise Temporary("the node is stopping") from error


class _Relay(Generic[T]):
    """Carries values from an iterator on the loop to one thread.

    Everything but `arrived` belongs to the loop. It runs ahead of the thread by one batch.
    """

    def __init__(self, values: AsyncIterator[T]) -> None:
        self.arrived: SimpleQueue[Batch[T]] = SimpleQueue()
        self._values = values
        self._ready: list[T] = []
        self._patience_seconds = _FIRST_SECONDS
        self._on_the_way = 0
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._read())
        self._task.add_done_callback(self._end)

    def go_on(self) -> None:
        """Take note that the thread is done with a batch."""
        self._on_the_way -= 1
        self._room.set()

    def stop(self) -> None:
        """Read no further; what was read and not taken is forgotten."""
        if self._task is not None:
            self._task.cancel()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        try:
            async for value in self._values:
                self._ready.append(value)
                if len(self._ready) >= _BATCH_SIZE:
                    self._hand_over()
                elif len(self._ready) == 1:
                    if timer is not None:
                        timer.cancel()
                    timer = loop.call_later(self._patience_seconds, self._hand_over)
                while self._on_the_way > 1:
                    self._room.clear()
                    await self._room.wait()
        finally:
            if timer is not None:
                timer.cancel()
            await _close(self._values)

    def _hand_over(self) -> None:
        if self._ready:
            self.arrived.put(Batch(self._ready))
            self._ready = []
            self._on_the_way += 1
            self._patience_seconds = _BATCH_SECONDS

    def _end(self, task: asyncio.Task[None]) -> None:
        # Not in `_read`: a task that is cancelled early does not even begin.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.arrived.put(Batch(self._ready, is_last=True, error=error))


async def _close(values: AsyncIterator[T]) -> None:
    aclose = getattr(values, "aclose", None)  # async generators have it, iterators need not
    if aclose is not None:
        await aclose()
