"""What happens, to everybody who watches: each feed is asked once, however many there are.

A watcher is a queue of messages with a limit. One that is not emptied in time, such as that of
a page in a laptop that sleeps, is closed: whoever comes back says which event it saw last, and
is told what it has missed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from hilum.core.errors import Temporary
from hilum.index.outbox import Outbox
from hilum.index.upload_log import Upload, UploadLog
from hilum.services.queue_view import QueueView

log = structlog.get_logger(__name__)

#: How often feeds are asked, while somebody watches.
_EVERY_SECONDS: Final = 0.5
#: Messages that a watcher may be behind.
_BEHIND: Final = 2_000
#: Of what a watcher has missed, as much as it is told before what happens now.
_MISSED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell."""

    kind: str
    """Name of the feed it is from."""
    body: Any
    """An `Event`, an `Upload`, or the list of subscriptions (`index.queued.Summary`)."""
    sequence: int | None = None
    """Of an event: its number."""


class Feed(Protocol):
    """Where messages come from."""

    async def begin(self) -> None:
        """What has happened until now is not news."""
        ...

    async def news(self) -> list[Message]:
        """Return what has happened since the last call, in order."""
        ...


class EventFeed:
    """Events of the outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._sequence = 0

    async def begin(self) -> None:
        """See `Feed.begin`."""
        self._sequence = await self._outbox.last()

    async def news(self) -> list[Message]:
        """See `Feed.news`."""
        found = await self.after(self._sequence)
        if found:
            self._sequence = found[-1].sequence or 0
        return found

    async def after(self, sequence: int) -> list[Message]:
        """Return the first events above a number."""
        events = await self._outbox.since(sequence, _MISSED)
        return [Message("event", event, event.sequence) for event in events]


class UploadFeed:
    """Uploads, as they are written down."""

    def __init__(self, uploads: UploadLog) -> None:
        self._uploads = uploads
        self._newest = ""

    async def begin(self) -> None:
        """See `Feed.begin`."""
        newest = await self._uploads.newest(1)
        self._newest = newest[0].id if newest else ""

    async def news(self) -> list[Message]:
        """See `Feed.news`."""
        found: Sequence[Upload] = await self._uploads.after(self._newest)
        if found:
            self._newest = found[-1].id
        return [Message("upload", upload) for upload in found]


class QueueFeed:
    """The queue's counts, when they differ."""

    def __init__(self, queue: QueueView) -> None:
        self._queue = queue
        self._told: object = None

    async def begin(self) -> None:
        """See `Feed.begin`."""
        self._told = await self._queue.summaries()

    async def news(self) -> list[Message]:
        """See `Feed.news`."""
        summaries = await self._queue.summaries()
        if summaries == self._told:
            return []
        self._told = summaries
        return [Message("queue", summaries)]


class Broadcast:
    """Tells watchers what happens. Lives on the loop; `run` is its task."""

    def __init__(self, events: EventFeed, *others: Feed) -> None:
        self._events = events
        self._feeds: tuple[Feed, ...] = (events, *others)
        self._watchers: set[asyncio.Queue[Message | None]] = set()
        self._watched = asyncio.Event()
        self._begun = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Ask the feeds for as long as somebody watches, until cancelled."""
        while True:
            await self._watched.wait()
            try:
                for feed in self._feeds:
                    await feed.begin()
                self._begun.set()
                while self._watchers:
                    for feed in self._feeds:
                        self._tell(await feed.news())
                    await asyncio.sleep(_EVERY_SECONDS)
            except Temporary as error:
                # Those who watch find out what they have missed when they come back.
                log.warning("nothing can be told", reason=str(error))
                self._dismiss()
                await asyncio.sleep(_EVERY_SECONDS)
            self._begun.clear()
            if not self._watchers:
                self._watched.clear()

    def close(self) -> None:
        """Send everybody away."""
        self._closed = True
        self._dismiss()

    async def watch(self, after: int | None = None) -> AsyncIterator[Message]:
        """Yield what happens, until the watcher is sent away.

        Parameters
        ----------
        after
            Number of the last event that was seen; those that followed come first.

        Raises
        ------
        IndexUnavailable
            What was missed cannot be read.
        """
        if self._closed:
            return
        queue: asyncio.Queue[Message | None] = asyncio.Queue(_BEHIND)
        self._watchers.add(queue)
        self._watched.set()
        try:
            seen = after or 0
            # What was missed ends where the feeds begin, or later.
            await self._begun.wait()
            if queue not in self._watchers:  # sent away before there was anything to tell
                return
            while after is not None and (missed := await self._events.after(seen)):
                for message in missed:
                    seen = message.sequence or seen
                    yield message
            while (news := await queue.get()) is not None:
                if news.sequence is None or news.sequence > seen:
                    yield news
        finally:
            self._watchers.discard(queue)

    def _tell(self, messages: Sequence[Message]) -> None:
        for queue in tuple(self._watchers):
            if queue.qsize() + len(messages) >= _BEHIND:
                self._send_away(queue)
                continue
            for message in messages:
                queue.put_nowait(message)

    def _dismiss(self) -> None:
        for queue in tuple(self._watchers):
            self._send_away(queue)
        self._begun.set()  # those who wait for the feeds to begin are to find out, too

    def _send_away(self, queue: "asyncio.Queue[Message | None]") -> None:
        self._watchers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
