"""Disks that fill up, turn read-only or vanish, and a node that is killed at any moment."""

import os
import random
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Never

import pymongo
import pytest

from hilum.core.errors import StorageFull, StorageUnavailable
from hilum.storage import spool as spool_module
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool, SpoolWriter
from tests import dcmtk
from tests.contract import spooling
from tests.contract.spooling import ORIGIN, sha256sum, spooled
from tests.generated import ct, save, uid
from tests.nodes import running, wait_until

MiB = 1 << 20


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount small file systems in memory; `mount(options)` again changes the last one."""
    folder = tmp_path / "disk"

    def mount(options: str) -> Path:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a disk of our own cannot be mounted: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def write_on(writer: SpoolWriter, piece: bytes) -> Never:
    """Write until the disk says no."""
    while True:
        writer.write(piece)


def received(folder: Path) -> list[str]:
    return [path.name for path in spooling.received(folder / "spool")]


# A full disk


def test_an_object_that_does_not_fit_is_refused_and_leaves_nothing(
    mounted: Callable[[str], Path],
) -> None:
    disk = mounted("size=2m")
    spool = Spool(disk / "spool")
    kept = spooled(spool, bytes(MiB))
    writer = spool.create(ORIGIN)
    with pytest.raises(StorageFull, match="No space left"):
        write_on(writer, bytes(MiB // 8))
    assert received(disk) == [kept.path.name]
    assert list(spool.recover()) == [kept]
    spooled(spool, bytes(MiB // 2))  # what fits is still welcome
    spool.close()


def test_after_room_is_made_the_same_object_is_taken(mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=2m")
    spool = Spool(disk / "spool")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(3 * MiB // 2))
    with pytest.raises(StorageFull):
        spooled(spool, bytes(MiB))
    ballast.unlink()
    entry = spooled(spool, bytes(MiB))
    assert entry.blob.digest == sha256sum(entry.path)
    spool.close()


def test_the_reserve_stays_free_while_an_object_grows(
    mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("size=4m")
    monkeypatch.setattr(spool_module, "_STRIDE_BYTES", MiB // 8)
    spool = Spool(disk / "spool", reserve_bytes=2 * MiB)
    writer = spool.create(ORIGIN)
    with pytest.raises(StorageFull, match="reserve"):
        write_on(writer, bytes(MiB // 16))
    assert MiB < writer.size_bytes <= 2 * MiB + MiB // 8
    assert received(disk) == []
    spool.check()  # what was refused gave its room back
    (disk / "ballast").write_bytes(bytes(3 * MiB))
    with pytest.raises(StorageFull, match="reserve"):
        spool.create(ORIGIN)
    with pytest.raises(StorageFull, match="reserve"):
        spool.check()
    spool.close()


def test_a_disk_without_inodes_is_full(mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=4m,nr_inodes=6")
    spool = Spool(disk / "spool")
    for number in range(6):
        if os.statvfs(disk).f_ffree:
            (disk / str(number)).touch()
    with pytest.raises(StorageFull):
        spool.create(ORIGIN)
    with pytest.raises(StorageFull):
        spool.check()
    spool.close()


def test_a_full_store_on_a_disk_of_its_own_keeps_the_spool(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("size=1m")
    store = LocalStore(disk / "objects")
    spool = Spool(tmp_path / "spool")
    entries = [spooled(spool, bytes([number]) * (MiB // 3)) for number in range(4)]
    with pytest.raises(StorageFull):
        store.put(entries)
    assert [entry.path.exists() for entry in entries] == [True] * 4
    for digest in store.digests():
        store.verify(digest)
    assert list((disk / "objects" / ".parts").iterdir()) == []
    status = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(status.f_bavail * status.f_frsize))
    with pytest.raises(StorageFull):
        store.check()
    spool.close()


def test_a_quarantine_that_is_full_keeps_the_spool(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    quarantine = Quarantine(mounted("size=64k") / "quarantine")
    spool = Spool(tmp_path / "spool")
    entry = spooled(spool, bytes(MiB))
    with pytest.raises(StorageFull):
        quarantine.keep(entry, "reason", "invalid")
    assert list(spool.recover()) == [entry]
    assert len(quarantine) == 0
    spool.close()


# A disk that takes no writes


def test_a_disk_that_turns_read_only_still_gives_what_it_has(
    mounted: Callable[[str], Path],
) -> None:
    disk = mounted("size=2m")
    spool, store = Spool(disk / "spool"), LocalStore(disk / "objects")
    quarantine = Quarantine(disk / "quarantine")
    stored, waiting = spooled(spool, b"stored"), spooled(spool, b"waiting")
    store.put([stored])
    spool.close()  # a disk with an open file cannot be switched over
    remount(disk, "ro")
    for refused in (
        lambda: spool.create(ORIGIN),
        spool.check,
        store.check,
        lambda: store.put([waiting]),
        lambda: store.remove(stored.blob.digest),
        lambda: quarantine.keep(waiting, "reason", "invalid"),
        waiting.remove,
    ):
        with pytest.raises(StorageUnavailable, match="Read-only"):
            refused()
    assert store.read(stored.blob.digest) == b"stored"
    store.verify(stored.blob.digest)
    remount(disk, "rw")
    store.check()
    store.put([waiting])
    assert store.read(waiting.blob.digest) == b"waiting"


def test_a_disk_that_vanished_is_unavailable_and_not_missing(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path / "spool"), LocalStore(tmp_path / "objects")
    shutil.rmtree(tmp_path / "objects")
    with pytest.raises(StorageUnavailable):
        store.check()
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(StorageUnavailable):
        spool.create(ORIGIN)
    spool.close()


# A node that is killed

RECEIVER = """
import random, sys
from datetime import UTC, datetime
from pathlib import Path
from hilum.core.instance import Origin
from hilum.storage.local import LocalStore
from hilum.storage.spool import Spool

folder, dice = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
spool, store = Spool(folder / "spool"), LocalStore(folder / "objects")
batch = []
while True:
    with spool.create(Origin("CT1", datetime.now(UTC))) as writer:
        for _ in range(dice.randrange(1, 12)):
            writer.write(dice.randbytes(dice.randrange(60_000)))
        batch.append(writer.commit())
    print(batch[-1].blob.digest, flush=True)  # the acknowledgement
    if dice.random() < 0.2:
        store.put(batch)
        for entry in batch:
            entry.remove()
        batch.clear()
"""


def receive_until_killed(folder: Path, dice: random.Random) -> list[str]:
    """Run a receiver, kill it somewhere, and return the digests it acknowledged."""
    command = [sys.executable, "-c", RECEIVER, str(folder), str(dice.randrange(1 << 30))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        acknowledged = [receiver.stdout.readline() for _ in range(dice.randrange(1, 80))]
        # The receiver goes on meanwhile: where it is now, nobody knows.
        receiver.kill()
        acknowledged += receiver.stdout.readlines()
    assert receiver.returncode == -9
    return [line.strip() for line in acknowledged if line.endswith("\n")]


def test_whatever_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    dice = random.Random()
    acknowledged: set[str] = set()
    for _ in range(12):
        acknowledged.update(receive_until_killed(tmp_path, dice))
        spool = Spool(tmp_path / "spool")  # the dead process holds no lock
        entries = list(spool.recover())
        assert spooling.received(tmp_path / "spool") == sorted(entry.path for entry in entries)
        store = LocalStore(tmp_path / "objects")
        held = {entry.blob.digest for entry in entries} | set(store.digests())
        assert acknowledged <= held
        for entry in entries:
            assert sha256sum(entry.path) == entry.blob.digest
        spool.close()
    store.put(entries)
    for digest in store.digests():
        assert sha256sum(store.path(digest)) == digest
    assert acknowledged <= set(store.digests())


# The trash on a disk that fills up


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_a_trash_on_another_disk_gets_whole_copies(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("size=4m")
    spool, store = Spool(tmp_path / "spool"), LocalStore(tmp_path / "objects")
    entries = [spooled(spool, bytes([number]) * MiB) for number in (1, 2)]
    digests = [entry.blob.digest for entry in entries]
    store.put(entries)
    store.discard(digests, set, disk / "trash")
    assert list(store.digests()) == []
    kept = sorted((disk / "trash").iterdir())
    assert [path.name for path in kept] == sorted(digests) == sorted(map(sha256sum, kept))
    assert list((tmp_path / "objects" / ".discarded").iterdir()) == []
    spool.close()


def test_a_trash_that_is_full_leaves_the_files_to_be_found_again(
    mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("size=1m")
    spool, store = Spool(tmp_path / "spool"), LocalStore(tmp_path / "objects")
    entries = [spooled(spool, bytes([number]) * (MiB - 4096)) for number in (1, 2)]
    digests = [entry.blob.digest for entry in entries]
    store.put(entries)
    with pytest.raises(StorageFull):
        store.discard(digests, set, disk / "trash")
    # One is in the trash, the other on its way: whoever tries again finds both.
    for path in (disk / "trash").iterdir():
        shutil.move(path, tmp_path / path.name)
    store.discard(digests, set, disk / "trash")
    kept = [*(disk / "trash").iterdir(), *(tmp_path / each for each in digests)]
    assert {sha256sum(path) for path in kept if path.exists()} == set(digests)
    spool.close()


def test_the_trash_gives_way_before_an_instance_is_refused(
    mounted: Callable[[str], Path], mongodb_uri: str
) -> None:
    """A node on a small disk: what was deleted goes for good when the room is needed."""
    disk = mounted("size=48m")
    settings = {
        "HILUM_MONGODB_URI": mongodb_uri,
        "HILUM_MONGODB_DATABASE": f"test_{secrets.token_hex(6)}",
        "HILUM_STORAGE_DISK_RESERVE": "8MiB",
        "HILUM_STORAGE_CACHE_BYTES": "0",
    }
    with running(disk / "node", **settings) as node:

        def send(study: int) -> None:
            path = save(ct(study=study, size=1700), disk.parent / f"{study}.dcm")  # 5.5 MiB
            sent = dcmtk.run("storescu", "-v", *node.peer, path)
            assert "Received Store Response (Success)" in sent.output, sent.output

        def kept() -> list[str]:
            entries = node.get_json("/api/trash")["data"]
            return [each["studyInstanceUID"] for each in entries if each["state"] == "kept"]

        for study in (1, 2, 3, 4):
            send(study)
        for study in (1, 2, 3):
            path = f"/dicom-web/studies/{uid(study)}"
            request = urllib.request.Request(node.http_url + path, method="DELETE")
            urllib.request.urlopen(request, timeout=30).close()
        assert kept() == [uid(3), uid(2), uid(1)]
        for study in (5, 6, 7):
            send(study)
            # Room is made again before the next one comes.
            wait_until(lambda: free(disk) >= 12 * MiB)
        # The oldest deletion went first, and not more than had to.
        left = kept()
        assert left == [uid(3), uid(2), uid(1)][: len(left)]
        assert 0 < len(left) < 3
        for study in (8, 9):
            send(study)
            wait_until(lambda: free(disk) >= 12 * MiB or not kept())
        assert "the trash has given way" in node.log
        assert node.get_json("/api/dicom/studies")["total"] == 6
    with pymongo.MongoClient[Any](mongodb_uri) as client:
        client.drop_database(settings["HILUM_MONGODB_DATABASE"])
