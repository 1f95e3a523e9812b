"""Retention: what goes, what stays, and that it ends."""

import io
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest

from hilum.core.identifiers import public_id
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.protections import Protections
from hilum.index.retention import Candidates
from hilum.index.trash import TrashNotes
from hilum.services import retention as retention_module
from hilum.services.deletion import Trash
from hilum.services.retention import Retention
from hilum.services.retention_plan import Plan, Planner, Rules
from hilum.storage.trash import TrashFolder
from tests import dcmtk
from tests.generated import ct, ct_files, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_delete import delete, studies
from tests.integration.test_dicomweb_stow import digests, encoded, part, related, sha256, store
from tests.integration.test_disk_faults import free, mounted
from tests.integration.test_protection import protect
from tests.integration.test_trash import kept, told, trash
from tests.nodes import running, wait_until

__all__ = ["mounted"]  # a fixture

MiB = 1 << 20
SIZE = len(encoded(ct()))


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        yield node


def came(at: datetime) -> dict[str, Any]:
    """Return what a study has that came at `at`, and has come to rest."""
    return {"received_at": at, "updated_at": at, "changed_at": at, "stable": True}


async def received(
    node: HttpNode, database: Database, ages: dict[int, float], **values: Any
) -> None:
    """Store a study each, and have it so many days ago."""
    for study, days in ages.items():
        content = io.BytesIO(related(part(encoded(ct(study=study, **values)))))
        assert (await store(node, content))[0] == 200
        at = datetime.now(UTC) - timedelta(days=days)
        await database.studies.update_one(
            {"StudyInstanceUID": uid(study)},
            {"$set": came(at)},
        )


def retention(node: HttpNode, database: Database, **rules: Any) -> Retention:
    assert node.services.deletion is not None
    assert node.services.trashcan is not None
    candidates = Candidates(database)
    files = Trash(TrashNotes(database), TrashFolder(node.data_dir / "trash"))
    planner = Planner(Rules(**rules), candidates, Protections(database), files)
    return Retention(planner, candidates, node.services.deletion, node.services.trashcan)


def going(plan: Plan) -> list[str]:
    return [each.candidate.study_instance_uid for each in plan.doomed]


async def carried_out(node: HttpNode, retaining: Retention) -> list[str]:
    """Carry a plan out, and return what is gone: what the plan said, and nothing else."""
    plan = await retaining.planner.plan()
    before = await studies(node)
    deleted = [each.candidate.study_instance_uid for each in await retaining.run()]
    assert deleted == going(plan)
    assert before.keys() - (await studies(node)).keys() == set(deleted)
    return deleted


# By age


async def test_without_rules_nothing_goes(node: HttpNode, database: Database) -> None:
    await received(node, database, {1: 10_000})
    assert not Rules().any
    assert await carried_out(node, retention(node, database)) == []


async def test_what_has_got_nothing_for_so_long_goes_into_the_trash(
    node: HttpNode, database: Database
) -> None:
    await received(node, database, {1: 40, 2: 29, 3: 31})
    retaining = retention(node, database, max_age_days=30)
    assert await carried_out(node, retaining) == [uid(1), uid(3)]
    assert await carried_out(node, retaining) == []
    assert digests(node) == sha256(encoded(ct(study=2)))
    assert kept(node) == sha256(*(encoded(ct(study=study)) for study in (1, 3)))
    reasons = {(entry["by"], entry["reason"]) for entry in await trash(node)}
    assert reasons == {("retention", "retention: nothing has come for 30 days")}
    async for document in database.raw["outbox"].find():
        for event in document["events"]:
            assert event["details"]["reason"] == "retention: nothing has come for 30 days"
    assert len(await told(database)) == 8
    (first, second) = await trash(node)
    for entry in (first, second):
        assert (await node.client.post(f"/api/trash/{entry['id']}/restore")).status == 200
    assert (await studies(node)).keys() == {uid(1), uid(2), uid(3)}
    # Who has them back does not want them deleted the next minute.
    await database.studies.update_many({}, {"$set": {"stable": True}})
    assert await carried_out(node, retaining) == []


async def test_by_study_date_what_came_today_stays_however_old(
    node: HttpNode, database: Database
) -> None:
    await received(node, database, {1: 2, 2: 0.5}, StudyDate="20100101")
    await received(node, database, {3: 2}, StudyDate=f"{datetime.now(UTC):%Y%m%d}")
    await received(node, database, {4: 2}, StudyDate="")
    retaining = retention(node, database, max_age_days=365, age_of="study")
    assert await carried_out(node, retaining) == [uid(1)]
    await delete(node, uid(2))


async def test_what_is_protected_or_arriving_stays(node: HttpNode, database: Database) -> None:
    await received(node, database, {1: 40, 2: 40, 3: 40, 4: 40, 5: 0})
    await protect(node, uid(1))
    patient = public_id(ct(study=2).PatientID)
    await node.services.protection.protect(Level.PATIENT, patient)
    await database.studies.update_one({"StudyInstanceUID": uid(3)}, {"$set": {"stable": False}})
    everything = {"max_age_days": 30, "max_bytes": 4 * SIZE}
    assert await carried_out(node, retention(node, database, **everything)) == [uid(4)]
    await protect(node, uid(1), "DELETE")
    assert await carried_out(node, retention(node, database, **everything)) == [uid(1)]
    assert (await studies(node)).keys() == {uid(2), uid(3), uid(5)}


async def test_only_studies_of_nothing_but_these_modalities_go(
    node: HttpNode, database: Database
) -> None:
    await received(node, database, {1: 40}, Modality="CR")
    await received(node, database, {2: 40})
    await received(node, database, {3: 40}, Modality="CR")
    await store(node, related(part(encoded(ct(study=3, series=2)))))
    await database.studies.update_many({}, {"$set": came(datetime.now(UTC) - timedelta(days=40))})
    retaining = retention(node, database, max_age_days=30, modalities=("CR", "DX"))
    assert await carried_out(node, retaining) == [uid(1)]


async def test_of_two_patients_with_a_study_of_one_uid_the_protected_one_stays(
    node: HttpNode, database: Database
) -> None:
    contents = [
        encoded(ct(number, PatientID=patient)) for number, patient in enumerate(("A", "B"), 1)
    ]
    await store(node, related(*map(part, contents)))
    await node.services.protection.protect(Level.PATIENT, public_id("A"))
    await database.studies.update_many({}, {"$set": came(datetime.now(UTC) - timedelta(days=40))})
    await retention(node, database, max_age_days=30).run()
    assert digests(node) == sha256(contents[0])
    assert [each["PatientID"] async for each in database.studies.find()] == ["A"]


async def test_what_gets_something_new_after_the_plan_stays(
    node: HttpNode, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await received(node, database, {1: 40, 2: 40, 3: 40})
    retaining = retention(node, database, max_age_days=30)
    plan = await retaining.planner.plan()
    assert len(plan.doomed) == 3
    await store(node, related(part(encoded(ct(2, study=1)))))
    await protect(node, uid(2))

    async def earlier() -> Plan:
        return plan

    monkeypatch.setattr(retaining.planner, "plan", earlier)
    assert [each.candidate.study_instance_uid for each in await retaining.run()] == [uid(3)]


# By the size of the store


async def test_the_oldest_go_until_the_store_is_small_enough(
    node: HttpNode, database: Database
) -> None:
    await received(node, database, {1: 1, 2: 4, 3: 3, 4: 2})
    retaining = retention(node, database, max_bytes=2 * SIZE + SIZE // 2)
    sizes = sum(len(encoded(ct(study=study))) for study in (1, 2, 3, 4))
    assert (await retaining.planner.plan()).store_bytes == sizes
    assert await carried_out(node, retaining) == [uid(2), uid(3)]
    assert await carried_out(node, retaining) == []
    # It can all be had back; then it is as before.
    assert len(await trash(node)) == 2


async def test_nothing_goes_for_a_size_that_cannot_be_reached(
    node: HttpNode, database: Database
) -> None:
    await received(node, database, {1: 4, 2: 3, 3: 2})
    await protect(node, uid(1))
    await protect(node, uid(2))
    retaining = retention(node, database, max_bytes=SIZE)
    plan = await retaining.planner.plan()
    assert (going(plan), len(plan.warnings)) == ([], 1)
    assert await carried_out(node, retaining) == []
    await protect(node, uid(2), "DELETE")
    assert await carried_out(node, retaining) == [uid(2), uid(3)]


# By what is free on the disk


@asynccontextmanager
async def small_disk(database: Database, disk: Path) -> AsyncIterator[HttpNode]:
    """A node on a disk of 24 MiB with four studies of 2 MiB, the first of them in the trash."""
    async with http_node(database, disk, allow_delete=True, keep_deleted=True) as node:
        await received(node, database, {1: 5, 2: 4, 3: 3, 4: 2}, size=1024)
        await delete(node, uid(1))
        yield node


def size(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_blocks * status.f_frsize


async def test_the_trash_goes_first_and_then_the_oldest_until_enough_is_free(
    mounted: Callable[[str], Path], database: Database
) -> None:
    disk = mounted("size=24m")
    async with small_disk(database, disk) as node:
        enough = retention(node, database, keep_free_bytes=free(disk) - MiB)
        assert await carried_out(node, enough) == []
        assert len(await trash(node)) == 1
        trash_only = retention(node, database, keep_free_bytes=free(disk) + MiB)
        assert await carried_out(node, trash_only) == []
        assert await trash(node) == []
        one = retention(node, database, keep_free_bytes=free(disk) + MiB)
        plan = await one.planner.plan()
        assert [each.rule.value for each in plan.doomed] == ["free"]
        assert await carried_out(node, one) == [uid(2)]
        assert free(disk) >= one.planner.rules.keep_free_bytes
        assert (await trash(node), node.in_trash) == ([], [])
        assert await carried_out(node, one) == []


async def test_nothing_goes_for_room_that_cannot_be_made(
    mounted: Callable[[str], Path], database: Database
) -> None:
    disk = mounted("size=24m")
    async with small_disk(database, disk) as node:
        # Something else fills the disk.
        (disk / "ballast").write_bytes(bytes(6 * MiB))
        retaining = retention(node, database, keep_free_bytes=size(disk) - 4 * MiB)
        plan = await retaining.planner.plan()
        assert (going(plan), len(plan.warnings), plan.makes_room) == ([], 1, False)
        assert await carried_out(node, retaining) == []
        assert len(await trash(node)) == 1
        (disk / "ballast").unlink()
        assert await carried_out(node, retaining) == [uid(2), uid(3)]


async def test_it_halts_if_deleting_frees_nothing(
    mounted: Callable[[str], Path], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "_PROOF_BYTES", 3 * MiB)
    monkeypatch.setattr(retention_module, "_FREED_SECONDS", 0.2)
    disk = mounted("size=24m")
    async with small_disk(database, disk) as node:
        # A backup made of hard links holds the blocks.
        (disk / "backup").mkdir()
        for path in node.stored + node.in_trash:
            (disk / "backup" / path.name).hardlink_to(path)
        target = free(disk) + 5 * MiB
        retaining = retention(node, database, keep_free_bytes=target)
        plan = await retaining.planner.plan()
        assert going(plan) == [uid(2), uid(3)]
        deleted = await retaining.run()
        # The trash, and one study as its proof.
        assert [each.candidate.study_instance_uid for each in deleted] == [uid(2)]
        for again in (retaining, retention(node, database, keep_free_bytes=target)):
            assert going(await again.planner.plan()) == []
            assert "has halted" in (await again.planner.plan()).warnings[0]
            assert await again.run() == []
        assert (await studies(node)).keys() == {uid(3), uid(4)}
        # Mended, and said so.
        for path in (disk / "backup").iterdir():
            path.unlink()
        target = free(disk) + MiB
        await Candidates(database).halt(target, 1, 0)
        mended = retention(node, database, keep_free_bytes=target)
        assert await carried_out(node, mended) == []
        await Candidates(database).resume()
        assert await carried_out(node, mended) == [uid(3)]


# The preview


async def test_the_preview_is_what_is_then_deleted(database: Database, tmp_path: Path) -> None:
    rules = Rules(max_age_days=30)
    async with http_node(database, tmp_path, allow_delete=True, rules=rules) as node:
        await received(node, database, {1: 40, 2: 29, 3: 31})
        answer = await node.client.get("/api/retention/preview")
        told = (await answer.json())["data"]
        assert (told["studyCount"], told["more"], told["warnings"]) == (2, False, [])
        assert [(each["studyInstanceUID"], each["rule"]) for each in told["studies"]] == [
            (uid(1), "age"),
            (uid(3), "age"),
        ]
        assert told["bytes"] == sum(len(encoded(ct(study=study))) for study in (1, 3))
        for private in (ct().PatientID, str(ct().PatientName)):
            assert private not in str(told)
        assert len(await studies(node)) == 3  # it was a preview
        gone = await retention(node, database, max_age_days=30).run()
        assert [each.candidate.study_instance_uid for each in gone] == [uid(1), uid(3)]


def test_the_preview_of_the_command_line_runs_beside_a_node(
    mongodb_uri: str, tmp_path: Path
) -> None:
    """Rules that the node does not have yet are tried on its store."""
    name = f"test_{secrets.token_hex(6)}"
    settings = {"HILUM_MONGODB_URI": mongodb_uri, "HILUM_MONGODB_DATABASE": name}
    with running(tmp_path / "node", **settings) as node:
        sent = dcmtk.run("storescu", "-v", *node.peer, *ct_files(tmp_path / "in", 2))
        assert sent.output.count("Received Store Response (Success)") == 2
        with pymongo.MongoClient[Any](mongodb_uri) as client:
            at = datetime.now(UTC) - timedelta(days=40)
            changed = client[name]["studies"].update_many({}, {"$set": came(at)})
            assert changed.modified_count == 1
        environment = {
            **os.environ,
            **settings,
            "HILUM_DATA_DIR": str(node.data_dir),
            "HILUM_RETENTION_MAX_AGE_DAYS": "30",
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "hilum", "retention", "preview"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert uid(1) in done.stdout
        assert "nothing has come for 30 days" in done.stdout
        assert "1 studies" in done.stdout
        assert node.get_json("/api/dicom/studies")["total"] == 1
        assert node.get_json("/api/retention/preview")["data"]["studyCount"] == 0
    with pymongo.MongoClient[Any](mongodb_uri) as client:
        client.drop_database(name)


@pytest.mark.timeout(120)
def test_a_node_deletes_by_rule_again_and_again(mongodb_uri: str, tmp_path: Path) -> None:
    """Whichever worker leads; what is had back is left alone."""
    name = f"test_{secrets.token_hex(6)}"
    settings = {
        "HILUM_MONGODB_URI": mongodb_uri,
        "HILUM_MONGODB_DATABASE": name,
        "HILUM_WORKERS": "2",
        "HILUM_RETENTION_MAX_AGE_DAYS": "30",
        "HILUM_RETENTION_EVERY_MINUTES": "0.01",
    }
    with (
        running(tmp_path / "node", **settings) as node,
        pymongo.MongoClient[Any](mongodb_uri) as client,
    ):
        files = [ct_files(tmp_path / str(n), 2, study=n) for n in (1, 2, 3)]
        sent = dcmtk.run("storescu", "-v", *node.peer, *(each for study in files for each in study))
        assert sent.output.count("Received Store Response (Success)") == 6

        def age(study: int) -> None:
            old = {"$set": came(datetime.now(UTC) - timedelta(days=40))}
            client[name]["studies"].update_one({"StudyInstanceUID": uid(study)}, old)

        def there() -> set[str]:
            found = node.get_json("/api/dicom/studies")["data"]
            return {each["studyInstanceUID"] for each in found}

        age(1)
        wait_until(lambda: there() == {uid(2), uid(3)}, what="the old study is deleted")
        (entry,) = wait_until(
            lambda: [e for e in node.get_json("/api/trash")["data"] if e["state"] == "kept"],
            what="it can be had back",
        )
        assert (entry["by"], entry["studyInstanceUID"], entry["instanceCount"]) == (
            "retention",
            uid(1),
            2,
        )
        restore = f"{node.http_url}/api/trash/{entry['id']}/restore"
        with urllib.request.urlopen(urllib.request.Request(restore, method="POST")) as answer:
            assert json.load(answer)["data"]["instances"] == 2
        age(2)
        wait_until(lambda: uid(2) not in there(), what="the next one is deleted")
        assert there() == {uid(1), uid(3)}

        def runs() -> list[int]:
            lines = [json.loads(line) for line in node.log.splitlines() if line[:1] == "{"]
            return [each["studies"] for each in lines if each["event"] == "retention"]

        # One worker's, and once each.
        wait_until(lambda: runs() == [1, 1], what="both runs are told")
        client.drop_database(name)
