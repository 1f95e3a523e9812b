"""Deletion: what is gone, what stays, and stores of what is being deleted."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from requests.exceptions import HTTPError

from hilum.core.errors import IndexUnavailable
from hilum.core.levels import Level
from hilum.core.query import Query
from hilum.index.database import Database
from hilum.index.remover import Remover
from hilum.services.decision import ConflictPolicy
from hilum.services.deletion import Deletion
from hilum.storage.local import LocalStore
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_stow import digests, encoded, part, related, sha256, store


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path, allow_delete=True) as node:
        yield node


def path(*parts: str) -> str:
    names = ("studies", "series", "instances")
    levels = (f"/{name}/{part}" for name, part in zip(names, parts, strict=False))
    return "/dicom-web" + "".join(levels)


async def delete(node: HttpNode, *uids: str) -> int:
    async with node.client.delete(path(*uids)) as answer:
        return answer.status


async def studies(node: HttpNode) -> dict[str, tuple[int, int]]:
    """Return the number of series and of instances by study."""
    answer = await (await node.client.get("/api/dicom/studies")).json()
    return {
        study["studyInstanceUID"]: (study["seriesCount"], study["instanceCount"])
        for study in answer["data"]
    }


async def documents(database: Database) -> list[int]:
    """Return how many documents of each kind there are, notes of deletions last."""
    collections = (database.studies, database.series, database.instances, database.raw["deletions"])
    return [await each.count_documents({}) for each in collections]


async def test_an_instance_a_series_a_study_are_deleted(node: HttpNode, database: Database) -> None:
    kept = encoded(ct(study=2))
    series = [encoded(ct(number)) for number in (1, 2)]
    other = [encoded(ct(number, series=2)) for number in (1, 2)]
    await store(node, related(*map(part, (kept, *series, *other))))
    assert await delete(node, uid(1), uid(1, 1), uid(1, 1, 1)) == 204
    assert await studies(node) == {uid(1): (2, 3), uid(2): (1, 1)}
    assert digests(node) == sha256(kept, series[1], *other)
    assert await delete(node, uid(1), uid(1, 2)) == 204
    assert await studies(node) == {uid(1): (1, 1), uid(2): (1, 1)}
    assert await delete(node, uid(1)) == 204
    assert await studies(node) == {uid(2): (1, 1)}
    assert digests(node) == sha256(kept)
    assert await documents(database) == [1, 1, 1, 0]


async def test_the_last_instance_takes_its_series_and_study_along(
    node: HttpNode, database: Database
) -> None:
    await store(node, related(part(encoded(ct()))))
    assert await delete(node, uid(1), uid(1, 1), uid(1, 1, 1)) == 204
    assert (await documents(database), node.stored) == ([0, 0, 0, 0], [])


async def test_all_versions_go(node: HttpNode) -> None:
    for comment in ("a", "b", "c"):
        await store(node, related(part(encoded(ct(ImageComments=comment)))))
    assert len(node.stored) == 3
    assert await delete(node, uid(1)) == 204
    assert node.stored == []


async def test_what_is_not_there_is_404_and_the_rest_stays(node: HttpNode) -> None:
    await store(node, related(part(encoded(ct()))))
    assert await delete(node, uid(2)) == 404
    # Known ones, but not in one another.
    assert await delete(node, uid(1), uid(1, 2)) == 404
    assert await delete(node, uid(1), uid(1, 1), uid(1, 1, 2)) == 404
    assert await delete(node, "1%20b") == 400
    assert len(node.stored) == 1
    assert [await delete(node, uid(1)) for _ in range(2)] == [204, 404]


async def test_a_deleted_study_shows_nothing_any_more(node: HttpNode) -> None:
    await store(node, related(*(part(encoded(ct(number))) for number in (1, 2))))
    frame = f"/api/dicom/studies/{uid(1)}/frames/0"
    answer = await node.client.get(frame)
    assert answer.status == 200
    assert await delete(node, uid(1), uid(1, 1), uid(1, 1, 1)) == 204
    # The frames of the study have moved up.
    assert (await node.client.get(frame)).headers["ETag"] != answer.headers["ETag"]
    assert await delete(node, uid(1)) == 204
    assert (await node.client.get(frame)).status == 404
    again = await node.client.get(frame, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 404


async def test_dicomweb_client_deletes_where_it_may(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    await store(node, related(*(part(encoded(ct(number))) for number in (1, 2))))

    def deletes(port: int, number: int) -> None:
        client = DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web")
        client.delete_instance(uid(1), uid(1, 1), uid(1, 1, number))

    await asyncio.to_thread(deletes, node.port, 1)
    assert await studies(node) == {uid(1): (1, 1)}
    async with http_node(database, tmp_path / "without") as other:
        with pytest.raises(HTTPError, match="405"):
            await asyncio.to_thread(deletes, other.port, 2)
    assert await studies(node) == {uid(1): (1, 1)}


async def test_it_can_be_stored_again(node: HttpNode) -> None:
    content = encoded(ct())
    for _ in range(3):
        assert (await store(node, related(part(content))))[0] == 200
        assert await studies(node) == {uid(1): (1, 1)}
        assert digests(node) == sha256(content)
        assert await delete(node, uid(1)) == 204
        assert await studies(node) == {}


async def test_stores_and_deletions_of_the_same_at_once_leave_it_whole_or_gone(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    # A second worker: spool, promotion and deletion of its own, the same index and store.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "objects").symlink_to(tmp_path / "objects")
    contents = [encoded(ct(number, size=8)) for number in (1, 2, 3)]
    chance = random.Random(1)
    async with http_node(database, tmp_path / "other", allow_delete=True) as other:

        async def work(worker: HttpNode, order: list[str]) -> None:
            for what in order:
                if what == "store":
                    status, _ = await store(worker, related(*map(part, contents)))
                    assert status == 200
                elif what == "study":
                    assert await delete(worker, uid(1)) in {204, 404}
                else:
                    assert await delete(worker, uid(1), uid(1, 1), uid(1, 1, 1)) in {204, 404}

        for _ in range(8):
            orders = [
                chance.choices(["store", "study", "instance"], [3, 1, 1], k=3) for _ in "1234"
            ]
            await asyncio.gather(
                *(
                    work(worker, order)
                    for worker, order in zip([node, other] * 2, orders, strict=True)
                )
            )
            await check_consistency(node, database, contents)
    assert node.quarantined == other.quarantined == []


async def check_consistency(node: HttpNode, database: Database, contents: list[bytes]) -> None:
    """What is found is there, byte for byte; what is not is gone; and everything is counted."""
    found = await node.services.retrieve.select(Query(Level.IMAGE))
    for instance in found:
        with node.services.retrieve.open(instance) as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == instance.blob.digest
    assert {instance.blob.digest for instance in found} == digests(node)
    assert len(found) == len(digests(node))
    counts = await studies(node)
    assert counts == ({uid(1): (1, len(found))} if found else {})
    assert await documents(database) == [bool(found), bool(found), len(found), 0]
    assert digests(node) <= sha256(*contents)
    assert node.spooled == []


@pytest.mark.parametrize("policy", ["replace", "keep", "reject"])
async def test_a_version_without_its_bytes_stands_in_nobodys_way(
    database: Database, tmp_path: Path, policy: ConflictPolicy
) -> None:
    async with http_node(database, tmp_path, policy=policy) as node:
        await store(node, related(part(encoded(ct()))))
        # As in the middle of a deletion, or after the loss of a disk.
        (lost,) = node.stored
        lost.unlink()
        other = encoded(ct(ImageComments="other"))
        assert (await store(node, related(part(other))))[0] == 200
        (found,) = await node.services.retrieve.select(Query(Level.IMAGE))
        assert {found.blob.digest} == digests(node) == sha256(other)
        assert (node.spooled, node.quarantined) == ([], [])


class Interrupted(Exception):
    """The process dies here."""


class DyingStore(LocalStore):
    """A store of a process that dies while it discards, before or after it has asked."""

    asks_first = False

    def discard(self, digests: Collection[str], wanted: Any, keep_in: Path | None = None) -> None:
        def die() -> Collection[str]:
            if self.asks_first:
                wanted()
            raise Interrupted

        try:
            super().discard(digests, die, keep_in)
        except Interrupted:
            # What a dead process cannot do: bring them back.
            list(self._take_out({digest: self._address(digest) for digest in digests}))
            raise


@pytest.mark.parametrize("stored_again", [False, True])
async def test_a_deletion_that_died_over_the_bytes_is_finished_by_another(
    node: HttpNode, database: Database, tmp_path: Path, stored_again: bool
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    deletion = node.services.deletion
    assert deletion is not None
    dying = Deletion(Remover(database), DyingStore(tmp_path / "objects"), deletion._crossing)
    with pytest.raises(Interrupted):
        await dying.delete(uid(1))
    assert await documents(database) == [0, 0, 0, 1]
    if stored_again:
        await store(node, related(part(contents[0])))
    assert await deletion.resume() == 0  # it may be at work still
    assert await deletion.resume(older_than_seconds=0) == 1
    await check_consistency(node, database, contents)
    assert digests(node) == (sha256(contents[0]) if stored_again else set())
    assert await deletion.resume(older_than_seconds=0) == 0


class DyingRemover(Remover):
    """A remover of a process that dies after it has deleted documents, before it counts."""

    async def settle(self, removal: Any) -> None:
        raise IndexUnavailable("died")


async def test_a_deletion_that_died_before_it_counted_is_finished_by_another(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    deletion = node.services.deletion
    assert deletion is not None
    dying = Deletion(DyingRemover(database), LocalStore(tmp_path / "objects"), deletion._crossing)
    with pytest.raises(IndexUnavailable):
        await dying.delete(uid(1), uid(1, 1), uid(1, 1, 1))
    assert await deletion.resume(older_than_seconds=0) == 1
    await check_consistency(node, database, contents)
    assert digests(node) == sha256(contents[1])
