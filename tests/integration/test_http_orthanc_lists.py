"""Orthanc's lists, when they are long: sent in parts, to the same bytes."""

import io
import json
from pathlib import Path

import pytest

from hilum.http.orthanc import listing
from hilum.index.bookmark import Bookmark
from hilum.index.database import Database
from hilum.index.references import References
from hilum.index.remover import Remover
from hilum.index.writer import Writer
from hilum.services.reindexing import Reindexing
from hilum.storage.local import LocalStore
from tests.generated import ct
from tests.integration.http_node import http_node

COUNT = 7


def file_of(number: int) -> bytes:
    buffer = io.BytesIO()
    ct(number, study=number, size=8).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("at_once", [1, 3, COUNT - 1])
async def test_a_long_list_is_sent_in_parts_to_the_same_bytes(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    async with http_node(database, tmp_path) as node:
        for number in range(1, COUNT + 1):
            async with node.client.post("/instances", data=file_of(number)) as answer:
                assert answer.status == 200
        body = json.dumps({"Level": "Study", "Query": {}, "Expand": True})

        async def answers() -> list[bytes]:
            found = []
            for path in ("/studies?expand", "/instances?expand&short", "/patients?expand"):
                async with node.client.get(path) as answer:
                    found.append(await answer.read())
            async with node.client.post("/tools/find", data=body) as answer:
                found.append(await answer.read())
            return found

        whole = await answers()
        monkeypatch.setattr(listing, "AT_ONCE", at_once)
        assert await answers() == whole
        assert [len(json.loads(each)) for each in whole] == [COUNT] * 4


async def test_a_rebuilt_index_tells_text_that_was_not_kept_before(
    database: Database, tmp_path: Path
) -> None:
    async with http_node(database, tmp_path) as node:
        written = ct(1, size=8, ImagePositionPatient=["1.50", "0", "-0"])
        buffer = io.BytesIO()
        written.save_as(buffer, enforce_file_format=True)
        async with node.client.post("/instances", data=buffer.getvalue()) as answer:
            path = (await answer.json())["Path"]

        async def position() -> str:
            async with node.client.get(path) as answer:
                text: str = (await answer.json())["MainDicomTags"]["ImagePositionPatient"]
                return text

        assert await position() == "1.50\\0\\-0"
        await database.instances.update_many({}, {"$unset": {"main": ""}})
        assert await position() == "1.5\\0\\0"
        store = LocalStore(tmp_path / "objects")
        parts = (References(database), Remover(database), Bookmark(database))
        await Reindexing(store, Writer(database), *parts).rebuild()
        assert await position() == "1.50\\0\\-0"
