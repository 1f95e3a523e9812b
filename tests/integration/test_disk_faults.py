"""Disks that fill up, turn read-only or vanish, and a node that is killed at any moment."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Never

import pytest

from hilum.core.errors import StorageFull, StorageUnavailable
from hilum.storage import spool as spool_module
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool, SpoolWriter
from tests.contract import spooling
from tests.contract.spooling import ORIGIN, sha256sum, spooled

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
