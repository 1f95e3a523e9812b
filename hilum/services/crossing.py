"""The one crossing between threads and the event loop.

Associations live in threads, MongoDB and HTTP on the loop. Whatever passes from one side
to the other passes here, so that the rules of both sides are kept in one place: the loop
is never blocked, and a thread never touches what belongs to the loop.
"""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, TypeVar

from hilum.core.errors import Temporary

T = TypeVar("T")

#: Values fetched per crossing: a hand-over costs some 50 µs, a value much less.
_BATCH_SIZE = 100


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
        """Iterate `values` from another thread; the first batch is small, so it comes early.

        Leaving the loop early closes `values` too.
        """
        size = 1
        try:
            while True:
                batch = self.call(_take(values, size))
                yield from batch
                if len(batch) < size:
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


async def _take(values: AsyncIterator[T], size: int) -> list[T]:
    batch: list[T] = []
    while len(batch) < size:
        try:
            batch.append(await anext(values))
        except StopAsyncIteration:
            break
    return batch


async def _close(values: AsyncIterator[T]) -> None:
    aclose = getattr(values, "aclose", None)  # async generators have it, iterators need not
    if aclose is not None:
        await aclose()
