"""Orthanc's lists, when they are long: sent in parts, to the same bytes."""

import io
import json
from pathlib import Path

import pytest

from hilum.http.orthanc import listing
from hilum.index.database import Database
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
