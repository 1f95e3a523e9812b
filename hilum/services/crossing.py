"""The one crossing between threads and the event loop.

Associations live in threads, MongoDB and HTTP on the loop. Whatever passes from one side
to the other passes here, so that the rules of both sides are kept in one place: the loop
is never blocked, and a thread never touches what belongs to the loop.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import closing
from typing import Any, TypeVar

from hilum.core.errors import Temporary

T = TypeVar("T")

#: Values fetched per crossing: a hand-over costs some 50 µs, a value much less.
_BATCH_SIZE = 100
#: A batch is handed over after that time, with what there is.
_BATCH_SECONDS = 0.05


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

    def iterate(self, values: AsyncIterator[T]) -> Generator[T, None, None]:
        """Iterate `values` from another thread, see `batches`."""
        with closing(self.batches(values)) as batches:
            for batch in batches:
                yield from batch

    def batches(self, values: AsyncIterator[T]) -> Generator[list[T], None, None]:
        """Iterate `values` from another thread, several at a time.

        The first comes alone, and no value waits long for others to keep it company.
        Leaving the loop early closes `values` too.
        """
        size = 1
        try:
            while True:
                batch, is_last = self.call(_take(values, size))
                if batch:
                    yield batch
                if is_last:
                    return
                size = _BATCH_SIZE
        finally:
            self.call(_close(values))

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


async def _take(values: AsyncIterator[T], size: int) -> tuple[list[T], bool]:
    """Return up to `size` values, and whether there are no more."""
    batch: list[T] = []
    until = time.monotonic() + _BATCH_SECONDS
    while len(batch) < size and not (batch and time.monotonic() > until):
        try:
            batch.append(await anext(values))
        except StopAsyncIteration:
            return batch, True
    return batch, False


async def _close(values: AsyncIterator[T]) -> None:
    aclose = getattr(values, "aclose", None)  # async generators have it, iterators need not
    if aclose is not None:
        await aclose()
