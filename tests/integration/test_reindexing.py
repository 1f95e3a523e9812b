"""The index out of the store alone, and store and index held against each other."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.core.instance import Origin
from hilum.index import references
from hilum.index.bookmark import Bookmark
from hilum.index.database import Database
from hilum.index.references import References
from hilum.index.remover import Remover
from hilum.index.writer import Writer
from hilum.services import reindexing
from hilum.services.decision import ConflictPolicy
from hilum.services.reindexing import Reindexing
from hilum.services.verification import Missing, Verification
from tests.contract.spooling import sha256sum
from tests.generated import ct
from tests.integration.test_ingest import Bench, part10

START = datetime(2026, 1, 2, tzinfo=UTC)

_OF_ARRIVALS = ("begun_by", "changed_at", "stable", "stable_at")


class Archive(Bench):
    """An ingest whose clock the test moves, and what is tried on it."""

    def __init__(self, folder: Path, database: Database, policy: ConflictPolicy) -> None:
        super().__init__(folder, Writer(database), policy)
        self.database = database
        self.references = References(database)
        self.reindexing = Reindexing(
            self.store,
            Writer(database),
            self.references,
            Remover(database),
            Bookmark(database),
            policy,
        )
        self.verification = Verification(self.store, self.references)
        self.minutes = 0

    async def receive(self, content: bytes) -> str:
        """Take a file in, a minute after the one before it; return its digest."""
        self.minutes += 1
        origin = Origin(f"CT{self.minutes}", START + timedelta(minutes=self.minutes))

        def take() -> str:
            with self.ingest.begin(origin) as writer:
                writer.write(content)
                receipt = self.ingest.accept(writer)
            assert self.ingest.wait_visible([receipt], 20)
            return receipt.blob.digest

        return await asyncio.to_thread(take)

    async def documents(self) -> dict[str, dict[str, Any]]:
        """All that is in the index, but for random numbers and what is told of arrivals."""
        found = {}
        for name in ("studies", "series", "instances"):
            async for document in self.database.raw[name].find({}):
                for field in ("revision", "versions", *_OF_ARRIVALS):
                    document.pop(field, None)
                found[document["_id"]] = document
        return found

    async def drop(self) -> None:
        await self.database.raw.client.drop_database(self.database.raw.name)
        await self.database.ensure_schema()

    async def current(self) -> str:
        """The digest of the one instance's current version."""
        (document,) = await self.database.instances.find({}).to_list(None)
        return str(document["blob"]["digest"])


@pytest.fixture(params=["replace"])
async def archive(
    request: pytest.FixtureRequest, tmp_path: Path, database: Database
) -> AsyncIterator[Archive]:
    made = Archive(tmp_path, database, request.param)
    yield made
    await made.close()


async def test_the_index_of_a_dropped_database_comes_back_as_it_was(archive: Archive) -> None:
    # They disagree about their study: of what was received last the word holds.
    for number in range(1, 40):
        about = ct(number, study=number % 3, series=number % 5, size=8)
        about.StudyDescription = f"as of {number}"
        await archive.receive(part10(about))
    before = await archive.documents()
    await archive.drop()
    done = await archive.reindexing.rebuild()
    assert (done.indexed, done.known, done.failures) == (39, 0, {})
    assert await archive.documents() == before
    # And over an index that is there it changes nothing.
    again = await archive.reindexing.rebuild()
    assert (again.indexed, again.known) == (0, 39)
    assert await archive.documents() == before


@pytest.mark.parametrize(
    ("archive", "current"), [("replace", 2), ("keep", 0)], indirect=["archive"]
)
async def test_of_several_versions_the_policy_tells_the_current_one(
    archive: Archive, current: int
) -> None:
    digests = [await archive.receive(part10(ct(Rows=rows))) for rows in (64, 32, 16)]
    assert await archive.current() == digests[current]
    await archive.drop()
    await archive.reindexing.rebuild()
    assert await archive.current() == digests[current]
    assert (await archive.verification.run()).faults == 0


async def test_what_the_index_has_as_current_stays_current(archive: Archive) -> None:
    first, second = part10(ct(Rows=64)), part10(ct(Rows=32))
    digests = [await archive.receive(content) for content in (first, second, first)]
    # By the times of the files the second would be.
    assert await archive.current() == digests[0]
    await archive.reindexing.rebuild()
    assert await archive.current() == digests[0]


async def test_a_version_takes_the_place_of_one_whose_file_is_gone(archive: Archive) -> None:
    digests = [await archive.receive(part10(ct(Rows=rows))) for rows in (64, 32, 16)]
    archive.store.remove(digests[2])
    await archive.reindexing.rebuild()
    assert await archive.current() == digests[1]


async def test_the_arrival_of_a_file_without_a_mark_is_what_the_index_says(
    archive: Archive,
) -> None:
    digest = await archive.receive(part10(ct()))
    before = await archive.documents()
    path = archive.store.path(digest)
    path.chmod(0o644)
    os.removexattr(path, "user.hilum")  # as a copy without attributes has it
    await archive.reindexing.rebuild()
    assert await archive.documents() == before
    await archive.drop()
    await archive.reindexing.rebuild()
    (document,) = await archive.database.instances.find({}).to_list(None)
    assert document["source"] == "unknown"
    assert document["received_at"].timestamp() == pytest.approx(path.stat().st_mtime, abs=0.01)


async def test_an_interrupted_rebuilding_goes_on_behind_what_is_done(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 8):
        await archive.receive(part10(ct(number, size=8)))
    before = await archive.documents()
    await archive.drop()
    monkeypatch.setattr(reindexing, "_BATCH_SIZE", 3)

    class Interrupted(Exception):
        pass

    def interrupt(done: int, total: int, report: reindexing.Reindexed) -> None:
        if done == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        await archive.reindexing.rebuild(interrupt)
    assert await archive.database.instances.count_documents({}) == 6
    done = await archive.reindexing.rebuild()
    assert (done.indexed, done.known) == (1, 0)
    assert await archive.documents() == before
    # Done is done: the next one begins at the beginning.
    assert (await archive.reindexing.rebuild()).known == 7


async def test_a_file_that_a_deletion_takes_meanwhile_leaves_no_document(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await archive.receive(part10(ct()))
    await archive.drop()
    write = archive.reindexing._writer.write

    async def write_late(*arguments: Any) -> Any:
        archive.store.remove(digest)
        return await write(*arguments)

    monkeypatch.setattr(archive.reindexing._writer, "write", write_late)
    await archive.reindexing.rebuild()
    assert await archive.documents() == {}


async def test_verification_finds_a_flipped_bit_a_missing_file_and_an_unknown_one(
    archive: Archive,
) -> None:
    _, flipped, missing, unknown = [
        await archive.receive(part10(ct(number, size=8))) for number in range(1, 5)
    ]
    well = await archive.verification.run()
    assert (well.files, well.faults) == (4, 0)
    path = archive.store.path(flipped)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    archive.store.remove(missing)
    (lost,) = [each async for each in archive.references.all() if each.current.digest == missing]
    await archive.database.instances.delete_one({"blob.digest": unknown})
    found = await archive.verification.run()
    assert list(found.damaged) == [flipped]
    assert sha256sum(path) in found.damaged[flipped]
    assert found.missing == [Missing(missing, lost.sop_instance_uid)]
    assert found.unindexed == [unknown]
    assert found.faults == 3
    # The one that was lost to the index comes back.
    await archive.reindexing.rebuild()
    assert (await archive.verification.run()).unindexed == []


async def test_references_of_more_instances_than_are_asked_for_at_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_AT_ONCE", 2)
    digests = {await archive.receive(part10(ct(number, size=8))) for number in range(5)}
    ids = [each.instance async for each in archive.references.all()]
    found = await archive.references.of([*ids, "nobody"])
    assert {each.current.digest for each in found.values()} == digests
