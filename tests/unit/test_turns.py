"""Turns: as much at once as there are places, and owners one after the other."""

import asyncio

import pytest

from hilum.imaging import turns as module
from hilum.imaging.turns import Turn, Turns


def queue(turns: Turns, *owners: str) -> "list[asyncio.Task[Turn]]":
    return [asyncio.create_task(turns.take(owner)) for owner in owners]


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def granted(tasks: "list[asyncio.Task[Turn]]") -> list[int]:
    return [position for position, task in enumerate(tasks) if task.done()]


async def test_owners_take_turns_however_much_each_has_queued() -> None:
    turns = Turns(1, 1)
    (first,) = queue(turns, "A")
    await settle()
    waiting = queue(turns, "A", "A", "A", "B", "B", "C")
    await settle()
    order: list[int] = []
    (await first).end()
    for _ in waiting:
        await settle()
        (now,) = set(granted(waiting)) - set(order)
        order.append(now)
        waiting[now].result().end()
    assert order == [0, 3, 5, 1, 4, 2]


async def test_no_owner_has_more_in_hand_than_there_are_places() -> None:
    turns = Turns(2, 4)
    tasks = queue(turns, "A", "A", "A", "B")
    await settle()
    assert granted(tasks) == [0, 1]
    turns.give_up(tasks[0].result())
    turns.give_up(tasks[1].result())
    await settle()
    assert granted(tasks) == [0, 1, 3]
    tasks[0].result().end()
    await settle()
    assert granted(tasks) == [0, 1, 2, 3]


async def test_work_that_lasts_gives_its_place_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUICK_SECONDS", 0.01)
    turns = Turns(1, 1)
    slow, other, third = queue(turns, "A", "B", "C")
    (await slow).begin()
    async with asyncio.timeout(5):
        turns.give_up(await other)
    await settle()
    assert not third.done(), "there is one place for slow work, and it is taken"
    slow.result().end()
    async with asyncio.timeout(5):
        (await third).end()
    other.result().end()
    last = queue(turns, "A", "B")
    await settle()
    assert granted(last) == [0]


async def test_who_leaves_the_queue_takes_no_place_with_him() -> None:
    turns = Turns(1, 1)
    first, gone, late, last = queue(turns, "A", "B", "C", "D")
    await settle()
    gone.cancel()
    await settle()
    (await first).end()
    late.cancel()  # at the moment its turn has come
    async with asyncio.timeout(5):
        (await last).end()
    assert gone.cancelled()
    async with asyncio.timeout(5):
        await turns.take("A")
