"""Pictures: made once for all who ask, kept over a restart, and given in parts."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.uid import RLELossless

from hilum.imaging.picture import draw
from hilum.imaging.workers import DecodeWorkers
from hilum.index.database import Database
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.nodes import wait_until

PICTURE = f"/api/dicom/studies/{uid(1)}/frames/0"


class Counting(DecodeWorkers):
    """Counts the work that is begun in helpers, and holds it until it is let go."""

    def __init__(self) -> None:
        super().__init__(processes=2)
        self.begun = 0
        self.begins = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def call(
        self, function: Callable[..., bytes | None], *arguments: Any, **options: Any
    ) -> bytes:
        self.begun += function is draw
        self.begins.set()
        await self.goes_on.wait()
        return await super().call(function, *arguments, **options)


def compressed() -> bytes:
    data_set = ct()
    data_set.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


async def got(node: HttpNode, **headers: str) -> tuple[int, bytes, str | None]:
    answer = await node.client.get(PICTURE, headers=headers)
    return answer.status, await answer.read(), answer.headers.get("ETag")


async def test_many_who_ask_at_once_are_served_by_one_decoding(
    database: Database, tmp_path: Path
) -> None:
    workers = Counting()
    async with http_node(database, tmp_path, workers=workers) as node:
        await node.upload(("a", compressed()))
        workers.goes_on.clear()
        asking = [asyncio.create_task(got(node)) for _ in range(20)]
        await workers.begins.wait()
        asking[0].cancel()  # whoever it was that began it
        workers.goes_on.set()
        answers = await asyncio.gather(*asking[1:])
        assert workers.begun == 1
        assert len(set(answers)) == 1
        assert answers[0][0] == 200
        assert await got(node) == answers[0]
        assert workers.begun == 1, "it is kept"


async def test_a_picture_outlives_the_node_that_made_it(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path) as node:
        await node.upload(("a", compressed()))
        made = await got(node)
    workers = Counting()
    async with http_node(database, tmp_path, workers=workers) as node:
        assert await got(node) == made
    assert workers.begun == 0


async def test_a_damaged_or_lost_cache_is_made_good(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path) as node:
        await node.upload(("a", compressed()))
        made = await got(node)
    kept = [path for path in (tmp_path / "cache").glob("*/*") if made[1] in path.read_bytes()]
    (entry,) = kept
    entry.write_bytes(entry.read_bytes()[:-1])
    workers = Counting()
    async with http_node(database, tmp_path, workers=workers) as node:
        assert await got(node) == made
    assert workers.begun == 1
    async with http_node(database, tmp_path, workers=workers) as node:
        assert await got(node) == made
    assert workers.begun == 1


PARTS = {
    "bytes=0-0": slice(0, 1),
    "bytes=10-19": slice(10, 20),
    "bytes=100-": slice(100, None),
    "bytes=-7": slice(-7, None),
    "bytes=5-99999999": slice(5, None),
    "bytes=-99999999": slice(0, None),
}


async def test_a_range_is_that_part_of_the_picture(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path) as node:
        await node.upload(("a", compressed()))
        _, whole, etag = await got(node)
        for asked, part in PARTS.items():
            answer = await node.client.get(PICTURE, headers={"Range": asked})
            assert (answer.status, await answer.read()) == (206, whole[part]), asked
            first, last, _ = part.indices(len(whole))
            expected = f"bytes {first}-{last - 1}/{len(whole)}"
            assert answer.headers["Content-Range"] == expected
            assert answer.headers["ETag"] == etag


async def test_ranges_that_are_none_and_conditions(database: Database, tmp_path: Path) -> None:
    async with http_node(database, tmp_path) as node:
        await node.upload(("a", compressed()))
        whole = await got(node)
        etag = whole[2]
        assert etag is not None
        for odd in ("bytes=9-3", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=0-1,4-5"):
            assert await got(node, Range=odd) == whole, odd
        for beyond in (f"bytes={len(whole[1])}-", "bytes=-0"):
            answer = await node.client.get(PICTURE, headers={"Range": beyond})
            assert answer.status == 416
            assert answer.headers["Content-Range"] == f"bytes */{len(whole[1])}"
        part = (206, whole[1][:4], etag)
        assert await got(node, Range="bytes=0-3", **{"If-Range": etag}) == part
        for other in ('"another"', f"W/{etag}", "Sun, 22 Nov 2026 00:00:00 GMT"):
            assert await got(node, Range="bytes=0-3", **{"If-Range": other}) == whole
        unchanged = await got(node, Range="bytes=0-3", **{"If-None-Match": etag})
        assert unchanged == (304, b"", etag)
        head = await node.client.head(PICTURE, headers={"Range": "bytes=0-3"})
        assert (head.status, head.content_length) == (200, len(whole[1]))
        assert head.headers["Accept-Ranges"] == "bytes"


async def test_nothing_of_what_is_deleted_is_left_on_disk(
    database: Database, tmp_path: Path
) -> None:
    async with http_node(database, tmp_path, allow_delete=True) as node:
        await node.upload(("a", compressed()))
        made = await got(node)
        cache = tmp_path / "cache"
        await asyncio.to_thread(wait_until, lambda: list(cache.glob("*/*")))
        assert (await node.client.delete(f"/dicom-web/studies/{uid(1)}")).status == 204
        assert not list(cache.glob("*/*"))
        assert (await got(node))[0] == 404
        await node.upload(("a", compressed()))
        assert await got(node) == made
