"""Deleting, undoing and collecting in a process that is killed at a step: another one goes on.

The process is a real one and so is its death (SIGKILL): what it leaves is what the disk and
MongoDB have of it.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.index.database import Database
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_delete import delete, studies
from tests.integration.test_dicomweb_stow import digests, encoded, part, related, sha256, store
from tests.integration.test_trash import kept, notes, snapshot, trash

CONTENTS = [encoded(ct(number, size=8)) for number in (1, 2, 3)]

#: Does one thing to a data folder, and dies before or after a call of one method.
DOER = """
import asyncio, os, signal, sys
from importlib import import_module
from pathlib import Path
from hilum.index.database import Database
from hilum.index.outbox import Outbox
from hilum.index.remover import Remover
from hilum.index.trash import TrashNotes
from hilum.index.writer import Writer
from hilum.services.crossing import Crossing
from hilum.services.deletion import Deletion, Trash
from hilum.services.promotion import Promotion
from hilum.services.trash import Trashcan
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.trash import TrashFolder

uri, name, folder, action, target, when, step = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

module, _, path = step.partition(":")
owner = import_module("hilum." + module)
*containers, method = path.split(".")
for each in containers:
    owner = getattr(owner, each)
real = getattr(owner, method)
if asyncio.iscoroutinefunction(real):
    async def deadly(*arguments, **options):
        if when == "before":
            die()
        await real(*arguments, **options)
        die()
else:
    def deadly(*arguments, **options):
        if when == "before":
            die()
        real(*arguments, **options)
        die()
setattr(owner, method, deadly)

async def main():
    data = Path(folder)
    database = Database.connect(uri, name)
    store = LocalStore(data / "objects")
    promotion = Promotion(store, Quarantine(data / "quarantine"), Writer(database))
    running = asyncio.create_task(promotion.run())
    trash = Trash(TrashNotes(database), TrashFolder(data / "trash"))
    crossing = Crossing(asyncio.get_running_loop())
    outbox = Outbox(database)
    deletion = Deletion(Remover(database), store, crossing, trash=trash, outbox=outbox)
    if action == "delete":
        await deletion.delete(target)
    elif action == "restore":
        await Trashcan(trash, promotion, deletion).restore(target)
    else:
        await Trashcan(trash, promotion, deletion).collect(target)

asyncio.run(main())
"""


async def killed(
    uri: str, node: HttpNode, database: Database, action: str, target: str, when: str, step: str
) -> None:
    """Have another process do something, and die of it."""
    arguments = (uri, database.raw.name, str(node.data_dir), action, target, when, step)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DOER, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == -9, errors.decode()


async def go_on(node: HttpNode) -> None:
    """Do what a node does at its start."""
    assert node.services.deletion is not None
    assert node.services.trashcan is not None
    await node.services.deletion.resume(older_than_seconds=0)
    await node.services.trashcan.resume(older_than_seconds=0)


@pytest.mark.parametrize(
    ("when", "step"),
    [
        ("before", "index.remover:DeleteOne"),  # the note is written, no document is gone
        ("before", "index.remover:Remover.settle"),
        ("after", "index.remover:derive_studies"),
        ("after", "index.outbox:Outbox.add"),
        ("before", "index.remover:Remover.wanted"),  # the files are on their way
        ("after", "storage.local:_move"),  # of three files one is in the trash
        ("before", "index.remover:Remover.finish"),
        ("before", "index.trash:TrashNotes.close"),
    ],
)
async def test_a_killed_deletion_loses_nothing(
    mongodb_uri: str, database: Database, tmp_path: Path, when: str, step: str
) -> None:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        await store(node, related(*map(part, CONTENTS)))
        before = await snapshot(database)
        await killed(mongodb_uri, node, database, "delete", uid(1), when, step)
        await go_on(node)
        if step.endswith("DeleteOne"):  # nobody was told that anything is gone
            assert await snapshot(database) == before
            assert digests(node) == sha256(*CONTENTS)
            await delete(node, uid(1))
        assert (await studies(node), node.stored) == ({}, [])
        assert kept(node) == sha256(*CONTENTS)
        (entry,) = [entry for entry in await trash(node) if entry["instanceCount"]]
        assert (entry["state"], entry["instanceCount"]) == ("kept", 3)
        async with node.client.post(f"/api/trash/{entry['id']}/restore") as answer:
            assert answer.status == 200
        assert await snapshot(database) == before
        assert digests(node) == sha256(*CONTENTS)
        assert (node.in_trash, await notes(database)) == ([], [0, 0])


@pytest.mark.parametrize(
    ("when", "step"),
    [
        ("after", "index.trash:TrashNotes.claim"),
        ("after", "storage.local:LocalStore.put"),
        ("after", "index.instance_writer:InstanceWriter.write"),
        ("after", "index.writer:Writer.write"),
        ("after", "storage.entry:SpoolEntry.remove"),  # of three files one is back
        ("before", "index.trash:TrashNotes.drop"),
        ("before", "index.trash:TrashNotes.forget"),
    ],
)
async def test_killed_undoing_is_finished(
    mongodb_uri: str, database: Database, tmp_path: Path, when: str, step: str
) -> None:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        await store(node, related(*map(part, CONTENTS)))
        before = await snapshot(database)
        await delete(node, uid(1))
        (entry,) = await trash(node)
        await killed(mongodb_uri, node, database, "restore", entry["id"], when, step)
        assert digests(node) | kept(node) == sha256(*CONTENTS)
        await go_on(node)
        assert await snapshot(database) == before
        assert digests(node) == sha256(*CONTENTS)
        assert (node.in_trash, await notes(database)) == ([], [0, 0])
        assert node.quarantined == []


@pytest.mark.parametrize(
    ("when", "step"),
    [
        ("after", "index.trash:TrashNotes.claim"),
        ("after", "storage.trash:Path.unlink"),
        ("after", "storage.trash:TrashFolder.remove"),
    ],
)
async def test_killed_collecting_is_finished(
    mongodb_uri: str, database: Database, tmp_path: Path, when: str, step: str
) -> None:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        await store(node, related(*map(part, CONTENTS)))
        await delete(node, uid(1))
        (entry,) = await trash(node)
        await killed(mongodb_uri, node, database, "collect", entry["id"], when, step)
        await go_on(node)
        assert (node.in_trash, await notes(database), await trash(node)) == ([], [0, 0], [])
        await store(node, related(*map(part, CONTENTS)))
        assert digests(node) == sha256(*CONTENTS)
