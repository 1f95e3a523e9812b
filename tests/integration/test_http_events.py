"""What happened, over HTTP, and as it happens: server-sent events read as browsers read them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hilum.core.events import Draft, Kind
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from tests.integration.http_node import HttpNode, http_node
from tests.nodes import wait_until

Line = tuple[str, str | None, Any]


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


async def happen(database: Database, *numbers: int, kind: Kind = Kind.NEW_STUDY) -> None:
    """Have something happen to studies, and numbered."""
    await Outbox(database).add(
        [
            Draft(kind, Level.STUDY, f"study-{n}", f"study-{n}", f"1.2.{n}", datetime.now(UTC), "1")
            for n in numbers
        ]
    )
    numbering = Numbering(database)
    await numbering.begin()
    await numbering.round()


@asynccontextmanager
async def stream(node: HttpNode, last_event_id: str = "") -> AsyncIterator[AsyncIterator[Line]]:
    """Yield messages as (kind, id, data); headers have been read, and the first comment."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with node.client.get("/api/events/stream", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readline() == b":\n"
        yield messages(answer.content)


async def messages(content: aiohttp.StreamReader) -> AsyncIterator[Line]:
    fields: dict[str, str] = {}
    while line := await content.readline():
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}


async def test_events_are_listed_in_order_and_by_pages(node: HttpNode, database: Database) -> None:
    await happen(database, *range(5))
    await happen(database, 5, kind=Kind.STABLE_STUDY)

    async def listed(query: str) -> tuple[list[str], int]:
        body = await (await node.client.get(f"/api/events?{query}")).json()
        return [event["resource"] for event in body["data"]], body["last"]

    whole, last = await listed("")
    assert whole == [f"study-{n}" for n in range(6)]
    assert (await listed("limit=2"))[0] == whole[-2:]
    first = (await (await node.client.get("/api/events?since=0&limit=2")).json())["data"]
    assert [event["resource"] for event in first] == whole[:2]
    assert (await listed(f"since={first[-1]['sequence']}"))[0] == whole[2:]
    assert (await listed("kinds=stable-study"))[0] == ["study-5"]
    assert (await listed(f"since={last}"))[0] == []
    assert (await node.client.get("/api/events?kinds=stale-study")).status == 400


async def test_what_happens_is_told_as_it_happens(node: HttpNode, database: Database) -> None:
    await happen(database, 1)
    async with stream(node) as told, asyncio.timeout(20):
        await happen(database, 2)
        kind, number, event = await anext(told)
        assert (kind, event["resource"], number) == ("event", "study-2", str(event["sequence"]))


async def test_who_comes_back_is_told_what_was_missed(node: HttpNode, database: Database) -> None:
    await happen(database, 1)
    async with stream(node) as told, asyncio.timeout(20):
        await happen(database, 2)
        _, number, _ = await anext(told)
    await happen(database, 3, 4)
    assert number is not None
    async with stream(node, number) as told, asyncio.timeout(20):
        assert (await anext(told))[2]["resource"] == "study-3"
        await happen(database, 5)
        assert (await anext(told))[2]["resource"] == "study-4"
        assert (await anext(told))[2]["resource"] == "study-5"


async def test_uploads_are_told_of(node: HttpNode) -> None:
    async with stream(node) as told, asyncio.timeout(20):
        while (await node.upload(("a.txt", b"no DICOM"))).status != 400:
            pass
        kind, number, upload = await anext(told)
        assert (kind, number) == ("upload", None)
        assert upload["outcomes"] == {"not-dicom": 1}


async def test_many_watch_and_those_who_leave_are_forgotten(
    node: HttpNode, database: Database
) -> None:
    async with asyncio.timeout(30):
        async with stream(node) as one, stream(node) as other:
            await happen(database, 1)
            assert (await anext(one))[2] == (await anext(other))[2]
        # Their connections are closed; the node finds out when it next has something to say.
        async with stream(node) as last:
            await happen(database, 2)
            assert (await anext(last))[2]["resource"] == "study-2"
            await asyncio.to_thread(wait_until, lambda: len(node.services.broadcast._watchers) == 1)


async def test_a_node_that_stops_ends_the_streams(database: Database, tmp_path: Path) -> None:
    """At once: nobody has to wait until the time for its drain is up."""
    async with asyncio.timeout(20):
        async with http_node(database, tmp_path) as node:
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            writer.write(b"GET /api/events/stream HTTP/1.1\r\nHost: node\r\n\r\n")
            assert b"200 OK" in await reader.readline()
            await node.services.broadcast._begun.wait()
        # The server has stopped.
        assert b"event-stream" in await reader.read()
        writer.close()
