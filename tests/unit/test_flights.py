"""Flights: done once for all who ask at the same moment, and not for nobody."""

import asyncio

import pytest

from hilum.core.errors import Corrupt
from hilum.services.flights import Flights


class Work:
    """Counts how often it is begun; ends when told."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.end = asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"result {self.begun}"


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_all_who_ask_meanwhile_get_the_one_result() -> None:
    flights, work, other = Flights[str](), Work(), Work()
    waiting = [asyncio.create_task(flights.join("a", work)) for _ in range(9)]
    waiting.append(asyncio.create_task(flights.join("b", other)))
    await settle()
    assert (work.begun, other.begun) == (1, 1)
    work.end.set()
    other.end.set()
    assert await asyncio.gather(*waiting) == ["result 1"] * 10
    assert await flights.join("a", work) == "result 2"


async def test_the_first_may_leave_without_harm_to_the_others() -> None:
    flights, work = Flights[str](), Work()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.end.set()
    assert await second == "result 1"
    assert first.cancelled()


async def test_what_nobody_waits_for_is_given_up_and_begun_anew_when_asked_for() -> None:
    flights, work = Flights[str](), Work()
    leaving = [asyncio.create_task(flights.join("a", work)) for _ in range(2)]
    await settle()
    for task in leaving:
        task.cancel()
    late = asyncio.create_task(flights.join("a", work))
    await settle()
    work.end.set()
    assert (await late).startswith("result")
    assert work.begun - work.cancelled == 1


async def test_all_get_the_error_and_the_next_a_new_try() -> None:
    flights = Flights[str]()
    begun = 0

    async def fail() -> str:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)
        raise Corrupt("damaged")

    results = await asyncio.gather(
        *(flights.join("a", fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Corrupt] * 3
    assert begun == 1
    with pytest.raises(Corrupt):
        await flights.join("a", fail)
    assert begun == 2
