"""Those who watch are sent away when nothing can be told: they come back, and are told then."""

import asyncio
from contextlib import suppress
from typing import cast

import pytest

from hilum.core.errors import IndexUnavailable
from hilum.services.broadcast import Broadcast, EventFeed, Message


class AwayFeed:
    """Cannot begin: MongoDB is away, or hangs."""

    def __init__(self, *, hangs: bool) -> None:
        self.asked = asyncio.Event()
        self._hangs = hangs

    async def begin(self) -> None:
        self.asked.set()
        if self._hangs:
            await asyncio.Event().wait()
        raise IndexUnavailable("MongoDB does not answer")

    async def news(self) -> list[Message]:
        raise AssertionError("it never began")

    async def after(self, sequence: int) -> list[Message]:
        raise AssertionError(f"nobody is told what followed {sequence}")


@pytest.mark.parametrize("after", [None, 7])
@pytest.mark.parametrize("hangs", [False, True])
async def test_whoever_waits_for_the_beginning_is_sent_away(hangs: bool, after: int | None) -> None:
    feed = AwayFeed(hangs=hangs)
    broadcast = Broadcast(cast("EventFeed", feed))
    running = asyncio.create_task(broadcast.run())

    async def watch() -> list[Message]:
        return [message async for message in broadcast.watch(after)]

    watching = asyncio.create_task(watch())
    await feed.asked.wait()
    if hangs:
        broadcast.close()  # as a node does that stops
    assert await asyncio.wait_for(watching, 10) == []
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
