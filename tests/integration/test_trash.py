"""The trash: what was deleted comes back as it was, once, or goes for good."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import Conflict, IndexUnavailable
from hilum.core.events import Kind
from hilum.core.levels import Level
from hilum.core.query import Query
from hilum.index.database import Database
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from hilum.index.remover import Removal, Remover
from hilum.index.trash import State, TrashNotes
from hilum.services.decision import ConflictPolicy
from hilum.services.deletion import Deletion, Trash
from hilum.services.trash import Trashcan
from hilum.storage.local import LocalStore
from hilum.storage.trash import TrashFolder
from tests.contract.spooling import sha256sum
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_delete import (
    DyingRemover,
    DyingStore,
    Interrupted,
    check_consistency,
    delete,
    studies,
)
from tests.integration.test_dicomweb_stow import digests, encoded, part, related, sha256, store


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        yield node


async def trash(node: HttpNode) -> list[dict[str, Any]]:
    answer = await (await node.client.get("/api/trash")).json()
    return list(answer["data"])


async def restore(node: HttpNode, deletion: str) -> tuple[int, dict[str, Any]]:
    async with node.client.post(f"/api/trash/{deletion}/restore") as answer:
        return answer.status, await answer.json()


async def collect(node: HttpNode, deletion: str = "") -> int:
    async with node.client.delete(f"/api/trash/{deletion}".rstrip("/")) as answer:
        return answer.status


def kept(node: HttpNode) -> set[str]:
    """Return the digests that `sha256sum` finds in the trash; names must agree."""
    assert {path.name for path in node.in_trash} == set(map(sha256sum, node.in_trash))
    return {path.name for path in node.in_trash}


_LASTING = {"revision": 0, "changed_at": 0, "begun_by": 0}


async def snapshot(database: Database) -> list[Any]:
    """Return all documents, but for random numbers and when they changed last."""
    found = []
    for collection in (database.studies, database.series, database.instances):
        documents = await collection.find({}, _LASTING).sort("_id", 1).to_list(None)
        found.append(documents)
    return found


async def notes(database: Database) -> list[int]:
    return [await database.raw[name].count_documents({}) for name in ("trash", "deletions")]


async def test_a_deleted_study_is_gone_and_comes_back_as_it_was(
    node: HttpNode, database: Database
) -> None:
    contents = [encoded(ct(number, series=series)) for series in (1, 2) for number in (1, 2)]
    for content in contents:
        await store(node, related(part(content)))
    before = await snapshot(database)
    assert await delete(node, uid(1)) == 204
    assert (await studies(node), node.stored, kept(node)) == ({}, [], sha256(*contents))
    (entry,) = await trash(node)
    assert (entry["level"], entry["studyInstanceUID"]) == ("STUDY", uid(1))
    assert (entry["instanceCount"], entry["bytes"]) == (4, sum(map(len, contents)))
    assert (entry["studyDescription"], entry["modalities"]) == ("Generated", ["CT"])
    assert str(ct().PatientName) not in str(entry)
    assert ct().PatientID not in str(entry)
    status, answer = await restore(node, entry["id"])
    assert (status, answer["data"]["instances"]) == (200, 4)
    assert await snapshot(database) == before
    assert digests(node) == sha256(*contents)
    assert {path.name for path in node.stored} == set(map(sha256sum, node.stored))
    assert (await trash(node), node.in_trash, await notes(database)) == ([], [], [0, 0])
    assert (await restore(node, entry["id"]))[0] == 404


async def test_a_patient_whose_id_orthanc_reads_otherwise_goes_and_comes_back(
    node: HttpNode, database: Database
) -> None:
    content = encoded(ct(PatientID="  odd"))
    await store(node, related(part(content)))
    before = await snapshot(database)
    assert "hashed_patient_id" in before[2][0]  # its ids do not follow from its Patient ID
    assert await delete(node, uid(1)) == 204
    assert (await snapshot(database), kept(node)) == ([[], [], []], sha256(content))
    assert [resource for _, resource, _ in await told(database)] == [
        before[2][0][field] for field in ("_id", "series", "study", "patient")
    ]
    (entry,) = await trash(node)
    assert (await restore(node, entry["id"]))[0] == 200
    assert await snapshot(database) == before


async def test_an_instance_and_a_series_come_back_into_what_is_left(
    node: HttpNode, database: Database
) -> None:
    contents = [encoded(ct(number, series=series)) for series in (1, 2) for number in (1, 2)]
    for content in contents:
        await store(node, related(part(content)))
    before = await snapshot(database)
    assert await delete(node, uid(1), uid(1, 1), uid(1, 1, 1)) == 204
    assert await delete(node, uid(1), uid(1, 2)) == 204
    assert await studies(node) == {uid(1): (1, 1)}
    series, instance = await trash(node)
    assert (series["level"], series["instanceCount"]) == ("SERIES", 2)
    assert (instance["level"], instance["sopInstanceUID"]) == ("IMAGE", uid(1, 1, 1))
    for entry in (instance, series):
        assert (await restore(node, entry["id"]))[0] == 200
    assert await snapshot(database) == before
    assert digests(node) == sha256(*contents)


@pytest.mark.parametrize("policy", ["replace", "keep"])
async def test_all_versions_come_back_and_the_current_one_is_current(
    database: Database, tmp_path: Path, policy: ConflictPolicy
) -> None:
    contents = [encoded(ct(ImageComments=text)) for text in ("a", "b", "c")]
    async with http_node(
        database, tmp_path, allow_delete=True, keep_deleted=True, policy=policy
    ) as node:
        for content in contents:
            await store(node, related(part(content)))
        before = await snapshot(database)
        assert await delete(node, uid(1)) == 204
    # Whatever the policy is by then.
    other: ConflictPolicy = "keep" if policy == "replace" else "replace"
    async with http_node(
        database, tmp_path, allow_delete=True, keep_deleted=True, policy=other
    ) as node:
        (entry,) = await trash(node)
        assert (await restore(node, entry["id"]))[0] == 200
        # Its instance word for word; the study has come when its current version had.
        assert (await snapshot(database))[2] == before[2]
        assert digests(node) == sha256(*contents)


async def test_what_was_sent_again_meanwhile_stays_current(
    node: HttpNode, database: Database
) -> None:
    old, new = (encoded(ct(ImageComments=text)) for text in ("old", "new"))
    await store(node, related(part(old), part(encoded(ct(2)))))
    assert await delete(node, uid(1)) == 204
    await store(node, related(part(new)))
    (entry,) = await trash(node)
    assert (await restore(node, entry["id"]))[0] == 200
    instance = await database.instances.find_one({"SOPInstanceUID": uid(1, 1, 1)})
    assert instance is not None
    assert {instance["blob"]["digest"]} == sha256(new)
    assert {each["digest"] for each in instance["versions"]} == sha256(old)
    assert await studies(node) == {uid(1): (1, 2)}
    assert digests(node) == sha256(old, new, encoded(ct(2)))
    assert node.in_trash == []


async def test_deleted_twice_it_is_twice_in_the_trash(node: HttpNode, database: Database) -> None:
    content = encoded(ct())
    for _ in range(2):
        await store(node, related(part(content)))
        assert await delete(node, uid(1)) == 204
    newer, older = await trash(node)
    assert await collect(node, newer["id"]) == 200
    assert kept(node) == sha256(content)
    assert (await restore(node, older["id"]))[0] == 200
    assert (digests(node), node.in_trash) == (sha256(content), [])


async def test_collected_it_is_gone_for_good(node: HttpNode, database: Database) -> None:
    contents = [encoded(ct(study=number)) for number in (1, 2, 3)]
    await store(node, related(*map(part, contents)))
    for number in (1, 2):
        assert await delete(node, uid(number)) == 204
    answer = await (await node.client.get("/api/trash?limit=1&offset=1")).json()
    second, first = await trash(node)
    assert (answer["total"], answer["data"]) == (2, [first])
    assert answer["bytes"] == first["bytes"] + second["bytes"]
    assert await collect(node, first["id"]) == 200
    assert (kept(node), digests(node)) == (sha256(contents[1]), sha256(contents[2]))
    assert [entry["id"] for entry in await trash(node)] == [second["id"]]
    assert await collect(node, first["id"]) == 404
    assert (await restore(node, first["id"]))[0] == 404
    assert await collect(node) == 200
    assert (node.in_trash, await notes(database)) == ([], [0, 0])
    assert list((node.data_dir / "trash").iterdir()) == []
    assert (await restore(node, "../objects"))[0] == 404
    assert await collect(node, "0" * 24) == 404


async def test_only_what_is_old_enough_is_collected_and_the_oldest_first(
    node: HttpNode, database: Database
) -> None:
    trashcan = node.services.trashcan
    assert trashcan is not None
    for number in (1, 2, 3):
        await store(node, related(part(encoded(ct(study=number)))))
        await delete(node, uid(number))
    assert await trashcan.empty(older_than=timedelta(hours=1)) == 0
    first = await database.raw["trash"].find_one({"StudyInstanceUID": uid(2)})
    assert first is not None
    await database.raw["trash"].update_one(
        {"_id": first["_id"]}, {"$set": {"deleted_at": first["deleted_at"] - timedelta(hours=2)}}
    )
    assert await trashcan.empty(older_than=timedelta(hours=1)) == len(encoded(ct(study=2)))
    assert {each["studyInstanceUID"] for each in await trash(node)} == {uid(1), uid(3)}
    asked = iter([False, True])

    async def enough() -> bool:
        return next(asked)

    await trashcan.empty(enough=enough)
    assert [each["studyInstanceUID"] for each in await trash(node)] == [uid(3)]


async def test_where_nothing_may_be_deleted_the_trash_can_still_be_had_back(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    await store(node, related(part(encoded(ct()))))
    await delete(node, uid(1))
    (entry,) = await trash(node)
    (tmp_path / "other").mkdir()
    for folder in ("objects", "trash"):
        (tmp_path / "other" / folder).symlink_to(tmp_path / folder)
    async with http_node(database, tmp_path / "other") as other:
        assert (await collect(other), await collect(other, entry["id"])) == (405, 405)
        assert (await restore(other, entry["id"]))[0] == 200
    assert await studies(node) == {uid(1): (1, 1)}


# At once


async def test_stores_deletions_and_undoing_of_the_same_at_once_lose_nothing(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    # A second worker: spool, promotion and deletion of its own, the same index, store, trash.
    (tmp_path / "other").mkdir()
    for folder in ("objects", "trash"):
        (tmp_path / "other" / folder).symlink_to(tmp_path / folder)
    contents = [encoded(ct(number, size=8)) for number in (1, 2, 3)]
    chance = random.Random(1)
    async with http_node(
        database, tmp_path / "other", allow_delete=True, keep_deleted=True
    ) as other:

        async def work(worker: HttpNode, order: list[str]) -> None:
            for what in order:
                if what == "store":
                    status, _ = await store(worker, related(*map(part, contents)))
                    assert status == 200
                elif what == "delete":
                    assert await delete(worker, uid(1)) in {204, 404}
                else:
                    for entry in (await trash(worker))[:2]:
                        assert (await restore(worker, entry["id"]))[0] in {200, 404, 409}

        await work(node, ["store"])
        for _ in range(8):
            orders = [chance.choices(["store", "delete", "undo"], [1, 2, 2], k=3) for _ in "1234"]
            await asyncio.gather(
                *(
                    work(worker, order)
                    for worker, order in zip([node, other] * 2, orders, strict=True)
                )
            )
            for entry in await trash(node):
                assert entry["state"] == "kept"
            # Whatever was deleted, nothing was collected: all of it is here or there.
            assert digests(node) | kept(node) == sha256(*contents)
            for entry in await trash(node):
                assert (await restore(node, entry["id"]))[0] == 200
            await check_consistency(node, database, contents)
            assert digests(node) == sha256(*contents)
            assert (node.in_trash, await notes(database)) == ([], [0, 0])
    assert node.quarantined == other.quarantined == []


async def test_of_undoing_and_collecting_one_comes_first(
    node: HttpNode, database: Database
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    for _ in range(10):
        await store(node, related(*map(part, contents)))
        await delete(node, uid(1))
        (entry,) = await trash(node)
        (status, _), collected = await asyncio.gather(
            restore(node, entry["id"]), collect(node, entry["id"])
        )
        assert sorted((status, collected)) in ([200, 404], [200, 409])
        if status == 200:
            assert digests(node) == sha256(*contents)
            await delete(node, uid(1))
            assert await collect(node) == 200
        assert (await studies(node), node.stored, node.in_trash) == ({}, [], [])


# Interrupted


def trash_of(database: Database, folder: Path) -> Trash:
    return Trash(TrashNotes(database), TrashFolder(folder / "trash"))


@pytest.mark.parametrize("death", ["over the bytes", "before it counted"])
async def test_a_deletion_that_died_is_finished_into_the_trash(
    node: HttpNode, database: Database, tmp_path: Path, death: str
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    before = await snapshot(database)
    deletion = node.services.deletion
    assert deletion is not None
    over_bytes = death == "over the bytes"
    dying = Deletion(
        Remover(database) if over_bytes else DyingRemover(database),
        DyingStore(tmp_path / "objects") if over_bytes else LocalStore(tmp_path / "objects"),
        deletion._crossing,
        trash=trash_of(database, tmp_path),
    )
    with pytest.raises((Interrupted, IndexUnavailable)):
        await dying.delete(uid(1))
    (entry,) = await trash(node)
    assert entry["state"] == "deleting"
    assert (await restore(node, entry["id"]))[0] == 409
    assert await deletion.resume(older_than_seconds=0) == 1
    assert (await studies(node), kept(node)) == ({}, sha256(*contents))
    assert (await restore(node, entry["id"]))[0] == 200
    assert await snapshot(database) == before
    assert (digests(node), await notes(database)) == (sha256(*contents), [0, 0])


class DyingNotes(TrashNotes):
    """Notes of a process that dies before it drops those of a batch that is restored."""

    async def drop(self, removal: Removal) -> None:
        raise IndexUnavailable("died")


class DyingFiles(TrashFolder):
    """Files of a process that dies in the middle of deleting them."""

    def remove(self, deletion: str) -> None:
        next(self.folder(deletion).iterdir()).unlink()
        raise Interrupted


async def test_undoing_that_died_is_finished_by_another(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    before = await snapshot(database)
    await delete(node, uid(1))
    (entry,) = await trash(node)
    trashcan = node.services.trashcan
    assert trashcan is not None
    dying = Trashcan(
        Trash(DyingNotes(database), TrashFolder(tmp_path / "trash")),
        trashcan._promotion,
        trashcan._deletion,
    )
    with pytest.raises(IndexUnavailable):
        await dying.restore(entry["id"])
    assert [each["state"] for each in await trash(node)] == ["restoring"]
    assert await collect(node, entry["id"]) == 409
    assert await trashcan.resume() == 0  # somebody may be at it still
    assert await trashcan.resume(older_than_seconds=0) == 1
    assert await snapshot(database) == before
    assert (digests(node), node.in_trash) == (sha256(*contents), [])
    assert await notes(database) == [0, 0]


async def test_undoing_that_died_before_the_first_file_is_finished_by_another(
    node: HttpNode, database: Database
) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    await delete(node, uid(1))
    (entry,) = await trash(node)
    trashcan = node.services.trashcan
    assert trashcan is not None
    await TrashNotes(database).claim(entry["id"], State.RESTORING)
    with pytest.raises(Conflict):
        await trashcan.collect(entry["id"])
    # Two may find it at the same moment.
    await asyncio.gather(trashcan.resume(0), trashcan.resume(0))
    assert (digests(node), await studies(node)) == (sha256(*contents), {uid(1): (1, 2)})
    assert (node.in_trash, node.quarantined, await notes(database)) == ([], [], [0, 0])


async def test_collecting_that_died_is_finished_by_another(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    await store(node, related(*(part(encoded(ct(number))) for number in (1, 2, 3))))
    await delete(node, uid(1))
    (entry,) = await trash(node)
    trashcan = node.services.trashcan
    assert trashcan is not None
    dying = Trashcan(
        Trash(TrashNotes(database), DyingFiles(tmp_path / "trash")),
        trashcan._promotion,
        trashcan._deletion,
    )
    with pytest.raises(Interrupted):
        await dying.collect(entry["id"])
    # Half of it is gone: nobody gets the other half for the whole.
    assert (await restore(node, entry["id"]))[0] == 409
    assert await trashcan.resume(older_than_seconds=0) == 1
    assert (node.in_trash, await notes(database)) == ([], [0, 0])
    assert await node.services.retrieve.select(Query(Level.IMAGE)) == []


async def test_files_that_a_dead_one_had_taken_out_come_back_too(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    """Two finished one deletion, and one died with files in hand after the other was done."""
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    before = await snapshot(database)
    await delete(node, uid(1))
    (entry,) = await trash(node)
    taken = node.in_trash[0]
    taken.rename(tmp_path / "objects" / ".discarded" / f"{taken.name}.0123456789abcdef")
    assert (await restore(node, entry["id"]))[0] == 200
    assert await snapshot(database) == before
    assert digests(node) == sha256(*contents)


async def test_nobody_is_told_that_what_is_lost_is_back(node: HttpNode, database: Database) -> None:
    contents = [encoded(ct(number)) for number in (1, 2)]
    await store(node, related(*map(part, contents)))
    await delete(node, uid(1))
    (entry,) = await trash(node)
    lost = node.in_trash[0]
    lost.unlink()
    status, answer = await restore(node, entry["id"])
    assert (status, answer["error"]["code"]) == (500, "corrupt")
    assert digests(node) == sha256(*contents) - {lost.name}
    assert [each["state"] for each in await trash(node)] == ["kept"]


async def test_bytes_stored_again_during_the_deletion_stay_and_are_not_listed(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    content = encoded(ct())
    await store(node, related(part(content)))
    deletion = node.services.deletion
    assert deletion is not None

    class Interloper(Remover):
        async def settle(self, removal: Removal) -> None:
            await super().settle(removal)
            await store(node, related(part(content)))

        async def remove(self, *arguments: Any) -> Removal | None:
            if self.removed:  # what was stored again is another matter
                return None
            self.removed = True
            return await super().remove(*arguments)

        removed = False

    slow = Deletion(
        Interloper(database), LocalStore(tmp_path / "objects"), deletion._crossing,
        trash=trash_of(database, tmp_path),
    )  # fmt: skip
    assert await slow.delete(uid(1)) == 1
    assert (digests(node), await studies(node)) == (sha256(content), {uid(1): (1, 1)})
    assert (await trash(node), node.in_trash, await notes(database)) == ([], [], [0, 0])


# What others hear of it


async def told(database: Database) -> list[tuple[str, str, str | None]]:
    """Return level, resource and instance of all events of deletions."""
    numbers = Numbering(database)
    await numbers.begin()
    while await numbers.round():
        pass
    events = await Outbox(database).since(0, 100, [Kind.DELETED])
    return [(each.level.value, each.resource, each.sop_instance_uid) for each in events]


async def test_a_deletion_tells_of_each_level_that_it_empties(
    node: HttpNode, database: Database
) -> None:
    await store(node, related(*(part(encoded(ct(number))) for number in (1, 2))))
    await store(node, related(part(encoded(ct(study=2, PatientID=ct().PatientID)))))
    ids = {each["SOPInstanceUID"]: each async for each in database.instances.find()}
    first, second = ids[uid(1, 1, 1)], ids[uid(1, 1, 2)]
    await delete(node, uid(1), uid(1, 1), uid(1, 1, 1))
    expected = [("IMAGE", first["_id"], uid(1, 1, 1))]
    assert await told(database) == expected
    await delete(node, uid(1))
    expected += [
        ("IMAGE", second["_id"], uid(1, 1, 2)),
        ("SERIES", second["series"], None),
        ("STUDY", second["study"], None),
    ]
    assert await told(database) == expected
    await delete(node, uid(2))
    assert [level for level, _, _ in (await told(database))[4:]] == [
        "IMAGE", "SERIES", "STUDY", "PATIENT",
    ]  # fmt: skip
    assert (await told(database))[-1][1] == first["patient"]


async def test_a_deletion_that_is_finished_later_tells_of_it_once(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    await store(node, related(*(part(encoded(ct(number))) for number in (1, 2))))
    deletion = node.services.deletion
    assert deletion is not None
    dying = Deletion(
        Remover(database),
        DyingStore(tmp_path / "objects"),
        deletion._crossing,
        outbox=Outbox(database),
    )
    with pytest.raises(Interrupted):
        await dying.delete(uid(1))
    before = await told(database)
    assert [level for level, _, _ in before] == ["IMAGE", "IMAGE", "SERIES", "STUDY", "PATIENT"]
    await deletion.resume(older_than_seconds=0)
    assert await told(database) == before


async def test_one_that_died_before_it_told_tells_when_it_is_finished(
    node: HttpNode, database: Database, tmp_path: Path
) -> None:
    await store(node, related(part(encoded(ct()))))
    deletion = node.services.deletion
    assert deletion is not None
    dying = Deletion(DyingRemover(database), LocalStore(tmp_path / "objects"), deletion._crossing)
    with pytest.raises(IndexUnavailable):
        await dying.delete(uid(1))
    assert await told(database) == []
    await deletion.resume(older_than_seconds=0)
    assert [level for level, _, _ in await told(database)] == [
        "IMAGE", "SERIES", "STUDY", "PATIENT",
    ]  # fmt: skip
