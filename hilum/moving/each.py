"""The same with each of many, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def for_each(items: Iterable[T], jobs: int, function: Callable[[T], Awaitable[Any]]) -> None:
    """Call `function` with each of `items`, `jobs` at a time, until one fails."""
    remaining = iter(items)

    async def work() -> None:
        for item in remaining:  # each of the workers takes the next one
            await function(item)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(jobs):
                workers.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
