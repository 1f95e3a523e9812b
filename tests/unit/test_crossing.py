"""From the event loop to a thread: in order, early, not too much at a time, and to the end."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing

import pytest

from hilum.core.errors import NotFound, Temporary
from hilum.services.crossing import Crossing


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000])
def test_all_values_arrive_in_order_and_the_last_batch_says_so(
    loop: asyncio.AbstractEventLoop, count: int
) -> None:
    batches = list(Crossing(loop).batches(numbers(count)))
    assert [number for batch in batches for number in batch.values] == list(range(count))
    assert [batch.is_last for batch in batches] == [False] * (len(batches) - 1) + [True]


def test_one_value_and_the_end_come_together(loop: asyncio.AbstractEventLoop) -> None:
    assert len(list(Crossing(loop).batches(numbers(1)))) == 1


def test_a_value_does_not_wait_for_the_next(loop: asyncio.AbstractEventLoop) -> None:
    gate = asyncio.Event()

    async def halting() -> AsyncGenerator[int, None]:
        yield 1
        await gate.wait()
        yield 2

    batches = Crossing(loop).batches(halting())
    assert next(batches).values == [1]
    loop.call_soon_threadsafe(gate.set)
    assert [number for batch in batches for number in batch.values] == [2]


def test_nothing_runs_far_ahead_of_the_thread(loop: asyncio.AbstractEventLoop) -> None:
    read = 0

    async def counted() -> AsyncGenerator[int, None]:
        nonlocal read
        async for number in numbers(100_000):
            read += 1
            yield number

    taken = 0
    with closing(Crossing(loop).batches(counted())) as batches:
        for batch in batches:
            taken += len(batch.values)
            assert read - taken <= 200
            if taken > 2000:
                break


def test_leaving_early_closes_what_is_iterated(loop: asyncio.AbstractEventLoop) -> None:
    closed = threading.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            closed.set()

    with closing(Crossing(loop).batches(endless())) as batches:
        next(batches)
    assert closed.is_set()


def test_an_error_arrives_in_the_thread(loop: asyncio.AbstractEventLoop) -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):
        list(Crossing(loop).batches(failing()))


def test_a_node_that_stops_leaves_nobody_waiting(loop: asyncio.AbstractEventLoop) -> None:
    async def silent() -> AsyncGenerator[int, None]:
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.Event().wait()
        yield 1

    with pytest.raises(Temporary):
        list(Crossing(loop).batches(silent()))


def test_nor_does_one_that_stops_before_it_has_begun(loop: asyncio.AbstractEventLoop) -> None:
    class Stopping(Crossing):
        def post(self, function: Callable[..., object], *arguments: object) -> None:
            def then_cancel_all() -> None:
                function(*arguments)
                for task in asyncio.all_tasks():
                    task.cancel()

            super().post(then_cancel_all)

    with pytest.raises(Temporary):
        list(Stopping(loop).batches(numbers(1)))


def test_a_loop_that_is_gone_is_said_so() -> None:
    gone = asyncio.new_event_loop()
    gone.close()
    with pytest.raises(Temporary):
        list(Crossing(gone).batches(numbers(1)))
