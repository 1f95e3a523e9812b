"""``/api/events``: what happened, and, as server-sent events, what happens."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from aiohttp import web

from hilum.core.errors import Invalid, Temporary
from hilum.core.events import Event, Kind
from hilum.http.answers import success
from hilum.http.parameters import single, whole
from hilum.http.queue import summary_json
from hilum.http.upload_log import upload_json
from hilum.index.outbox import Outbox
from hilum.index.upload_log import Upload
from hilum.services.broadcast import Broadcast, Message

_LIMIT: Final = 100
_LARGEST_LIMIT: Final = 1000
_LARGEST_SEQUENCE: Final = 2**53
#: A proxy closes a connection on which nothing comes for a minute.
_HEARTBEAT_SECONDS: Final = 15.0
_HEARTBEAT: Final = b":\n\n"
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep what comes until it has a page of it
}


class Events:
    """Tells what happened."""

    def __init__(self, outbox: Outbox, broadcast: Broadcast) -> None:
        self._outbox = outbox
        self._broadcast = broadcast

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/events", self._list),
            web.get("/api/events/stream", self._stream, allow_head=False),
        ]

    async def close(self, _app: web.Application) -> None:
        """End the streams (`web.Application.on_shutdown`)."""
        self._broadcast.close()

    async def _list(self, request: web.Request) -> web.Response:
        given = single(request.query, ("since", "limit", "kinds"))
        limit = whole("limit", given.get("limit", str(_LIMIT)), 1, _LARGEST_LIMIT)
        kinds = _kinds(given.get("kinds", ""))
        last = await self._outbox.last()
        if "since" in given or kinds:
            since = whole("since", given.get("since", "0"), 0, _LARGEST_SEQUENCE)
            events = await self._outbox.since(since, limit, kinds or None)
        else:
            events = await self._outbox.latest(limit)
        return success([event.as_json() for event in events], last=last)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send what happens until the client goes away (HTML standard, 9.2)."""
        after = request.headers.get("Last-Event-ID")
        sequence = whole("Last-Event-ID", after, 0, _LARGEST_SEQUENCE) if after else None
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        await response.write(_HEARTBEAT)  # some clients take a connection for open only then
        async with aclosing(_with_heartbeats(self._broadcast, sequence)) as pieces:
            # What ends a stream is not said in it: whoever comes back is answered.
            with suppress(ConnectionError, Temporary):
                async for piece in pieces:
                    await response.write(piece)
        return response


async def _with_heartbeats(
    broadcast: Broadcast, sequence: int | None
) -> AsyncGenerator[bytes, None]:
    """Yield what to send; something at least every `_HEARTBEAT_SECONDS`."""
    messages = aiter(broadcast.watch(sequence))
    pending: asyncio.Task[Message] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait([pending], timeout=_HEARTBEAT_SECONDS)
            if not done:
                yield _HEARTBEAT
                continue
            try:
                message = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield _piece(message)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)


def _piece(message: Message) -> bytes:
    number = b"" if message.sequence is None else b"id: %d\n" % message.sequence
    data = orjson.dumps(_json(message.body))
    return number + b"event: %s\ndata: %s\n\n" % (message.kind.encode(), data)


def _json(body: Any) -> Any:
    if isinstance(body, Event):
        return body.as_json()
    if isinstance(body, Upload):
        return upload_json(body)
    return {"subscriptions": [summary_json(each) for each in body]}


def _kinds(text: str) -> list[Kind]:
    try:
        return [Kind(each.strip()) for each in text.split(",") if each.strip()]
    except ValueError:
        raise Invalid(f"kinds must be among {', '.join(Kind)}, not {text[:80]!r}") from None
