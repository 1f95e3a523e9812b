"""What the local store promises beyond the contract: its layout, and how names last."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hilum.core.errors import Corrupt, StorageUnavailable
from hilum.storage import durable, local
from hilum.storage.local import LocalStore
from hilum.storage.spool import Spool, SpoolEntry
from tests.contract.spooling import sha256sum, spooled


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def elsewhere() -> Iterator[Spool]:
    """A spool on another file system than the store."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == Path("/tmp").stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    folder = memory / f"hilum-test-{os.getpid()}"
    spool = Spool(folder)
    yield spool
    spool.close()
    shutil.rmtree(folder)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_file_lies_under_two_folders_of_its_digest(
    store: LocalStore, spool: Spool, root: Path
) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    digest = sha256sum(entry.path)
    assert files(root) == [root / digest[:2] / digest[2:4] / digest]
    assert store.path(digest) == files(root)[0]


def test_a_stored_file_is_read_only_and_no_copy(store: LocalStore, spool: Spool) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    path = store.path(entry.blob.digest)
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.samefile(entry.path)


def test_files_that_are_no_objects_are_passed_over(
    store: LocalStore, spool: Spool, root: Path
) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    folder = store.path(entry.blob.digest).parent
    (folder / "notes.txt").touch()
    (folder / ("f" * 64)).touch()  # a digest, but not here
    (root / "lost+found").mkdir()
    (root / "README").touch()
    assert list(store.digests()) == [entry.blob.digest]


# A torn file must never pass for stored


def torn(store: LocalStore, spool: Spool, data: bytes, rest: bytes) -> SpoolEntry:
    """Store `data`, then leave only `rest` at its address, as a broken restore may."""
    entry = spooled(spool, data)
    store.put([entry])
    path = store.path(entry.blob.digest)
    path.unlink()
    path.write_bytes(rest)
    return entry


@pytest.mark.parametrize("rest", [b"", b"whole fi", b"whole file and more"])
def test_a_torn_file_is_replaced_when_its_bytes_arrive_again(
    store: LocalStore, spool: Spool, root: Path, rest: bytes
) -> None:
    entry = torn(store, spool, b"whole file", rest)
    store.put([entry])
    store.verify(entry.blob.digest)
    assert store.read(entry.blob.digest) == b"whole file"
    assert store.path(entry.blob.digest).stat().st_mode & 0o777 == 0o444
    assert files(root) == [store.path(entry.blob.digest)]


def test_a_torn_file_is_not_replaced_by_a_worse_one(store: LocalStore, spool: Spool) -> None:
    entry = torn(store, spool, b"whole file", b"whole")
    entry.path.chmod(0o644)
    entry.path.write_bytes(b"hole file!")  # the spool's disk is failing too
    with pytest.raises(Corrupt, match=entry.blob.digest):
        store.put([entry])
    assert store.read(entry.blob.digest) == b"whole"


# Across file systems


def test_a_spool_on_another_file_system_is_copied_from(
    store: LocalStore, elsewhere: Spool, root: Path
) -> None:
    entries = [spooled(elsewhere, bytes([number]) * 3_000_000) for number in range(3)]
    store.put(entries)
    store.put(entries)
    for entry in entries:
        path = store.path(entry.blob.digest)
        assert sha256sum(path) == entry.blob.digest
        assert path.stat().st_mode & 0o777 == 0o444
    assert len(files(root)) == 3


def test_senders_of_the_same_file_may_copy_it_at_once(store: LocalStore, elsewhere: Spool) -> None:
    data = bytes(range(256)) * 4000
    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda _: store.put([spooled(elsewhere, data)]), range(24)))
    (digest,) = store.digests()
    store.verify(digest)
    assert files(store._root) == [store.path(digest)]


def test_a_copy_is_synced_before_it_gets_its_name(
    store: LocalStore, elsewhere: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = spooled(elsewhere, b"bytes")
    steps: list[str] = []
    sync, replace = os.fdatasync, os.replace

    def recording_sync(descriptor: int) -> None:
        sync(descriptor)
        steps.append("sync")

    def recording_replace(source: str, target: str) -> None:
        replace(source, target)
        steps.append("name")

    monkeypatch.setattr(os, "fdatasync", recording_sync)
    monkeypatch.setattr(os, "replace", recording_replace)
    store.put([entry])
    assert steps == ["sync", "name"]


def test_parts_of_a_process_that_died_go_after_a_day(store: LocalStore, root: Path) -> None:
    old, young = root / ".parts" / "00", root / ".parts" / "01"
    old.touch()
    young.touch()
    day_before = old.stat().st_mtime - local._STALE_SECONDS - 60
    os.utime(old, (day_before, day_before))
    LocalStore(root)
    assert files(root) == [young]


# Names that last


@pytest.fixture
def synced(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders synced from now on, relative to the store; links are noted too."""
    seen: list[str] = []
    sync, link = os.fsync, os.link

    def recording_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        sync(descriptor)
        if path.is_relative_to(store._root):
            seen.append(str(path.relative_to(store._root)))

    def recording_link(source: str, target: str) -> None:
        link(source, target)
        seen.append("link")

    monkeypatch.setattr(os, "fsync", recording_sync)
    monkeypatch.setattr(os, "link", recording_link)
    return seen


def test_the_first_file_of_a_folder_syncs_every_name_above_it(
    store: LocalStore, spool: Spool, synced: list[str]
) -> None:
    entry = spooled(spool, b"bytes")
    first, second = entry.blob.digest[:2], entry.blob.digest[2:4]
    store.put([entry])
    assert synced == ["link", f"{first}/{second}", first, "."]


def test_a_folder_is_synced_once_for_all_files_of_a_batch_after_their_links(
    store: LocalStore, spool: Spool, synced: list[str]
) -> None:
    # Two contents whose digests begin with the same four digits (found by trying).
    one, other = spooled(spool, b"157"), spooled(spool, b"251")
    assert one.blob.digest[:4] == other.blob.digest[:4]
    store.put([one, other])
    first, second = one.blob.digest[:2], one.blob.digest[2:4]
    assert synced == ["link", "link", f"{first}/{second}", first, "."]


def test_a_known_folder_needs_only_its_own_sync_even_for_a_file_that_is_there(
    store: LocalStore, spool: Spool, synced: list[str]
) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    synced.clear()
    store.put([entry])  # the put that linked it may not have come to its sync yet
    assert synced == [f"{entry.blob.digest[:2]}/{entry.blob.digest[2:4]}"]


def test_a_folder_another_process_made_is_not_trusted_to_last(
    store: LocalStore, spool: Spool, synced: list[str], root: Path
) -> None:
    entry = spooled(spool, b"bytes")
    first, second = entry.blob.digest[:2], entry.blob.digest[2:4]
    (root / first / second).mkdir(parents=True)
    store.put([entry])
    assert synced == ["link", f"{first}/{second}", first, "."]


def test_a_folder_that_was_swept_away_is_made_and_synced_anew(
    store: LocalStore, spool: Spool, synced: list[str], root: Path
) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    store.remove(entry.blob.digest)
    (root / entry.blob.digest[:2] / entry.blob.digest[2:4]).rmdir()
    synced.clear()
    store.put([entry])
    first, second = entry.blob.digest[:2], entry.blob.digest[2:4]
    assert synced == ["link", f"{first}/{second}", first, "."]


def test_after_a_failed_sync_the_same_put_syncs_again(
    store: LocalStore, spool: Spool, monkeypatch: pytest.MonkeyPatch, synced: list[str]
) -> None:
    entry = spooled(spool, b"bytes")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail_as_broken)
        with pytest.raises(StorageUnavailable):
            store.put([entry])
    synced.clear()
    store.put([entry])
    assert synced == [
        f"{entry.blob.digest[:2]}/{entry.blob.digest[2:4]}",
        entry.blob.digest[:2],
        ".",
    ]


def test_many_folders_are_synced_by_one_sync_of_the_file_system_after_the_links(
    store: LocalStore, spool: Spool, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = durable.sync_file_system

    def recording_sync(folder: Path) -> None:
        sync(folder)
        synced.append(f"all of {folder.name}")

    monkeypatch.setattr(local, "sync_file_system", recording_sync)
    entries = [spooled(spool, bytes([number])) for number in range(20)]
    store.put(entries)
    assert synced == ["link"] * 20 + ["all of objects"]
    synced.clear()
    store.put(entries[:1])  # the names above it are known to last
    assert synced == [str(store.path(entries[0].blob.digest).parent.relative_to(store._root))]


def test_a_file_system_that_cannot_be_synced_has_stored_nothing(
    store: LocalStore, spool: Spool, monkeypatch: pytest.MonkeyPatch, synced: list[str]
) -> None:
    class Broken:
        def syncfs(self, _descriptor: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    entries = [spooled(spool, bytes([number])) for number in range(20)]
    with monkeypatch.context() as patched:
        patched.setattr(durable, "_libc", Broken())
        with pytest.raises(StorageUnavailable, match=os.strerror(errno.EIO)):
            store.put(entries)
    synced.clear()
    store.put(entries[:1])  # and no name is taken to last
    assert len(synced) == 3


def fail_as_broken(_descriptor: int) -> None:
    raise OSError(5, "Input/output error")


def test_a_removal_lasts(store: LocalStore, spool: Spool, synced: list[str]) -> None:
    entry = spooled(spool, b"bytes")
    store.put([entry])
    synced.clear()
    store.remove(entry.blob.digest)
    assert synced == [f"{entry.blob.digest[:2]}/{entry.blob.digest[2:4]}"]


# Reads


def test_a_read_that_the_system_cuts_short_is_continued(
    store: LocalStore, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Linux reads at most 2 GiB a call; a small limit stands for it.
    data = bytes(range(256)) * 100
    entry = spooled(spool, data)
    store.put([entry])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: pread(fd, min(n, 1000), at))
    assert store.read(entry.blob.digest) == data
    assert store.read(entry.blob.digest, 77, 9999) == data[77 : 77 + 9999]


# What docs/storage-format.md tells a person to type


def test_the_documented_check_finds_one_flipped_bit(
    store: LocalStore, spool: Spool, tmp_path: Path
) -> None:
    text = Path(__file__).parents[2].joinpath("docs/storage-format.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(find .*)\n```", text)
    entries = [spooled(spool, bytes([number]) * 1000) for number in range(5)]
    store.put(entries)
    (store._root / ".parts" / "0123456789abcdef").touch()

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, check=False, capture_output=True, text=True
        )

    assert (check().returncode, check().stdout) == (0, "")
    damaged = store.path(entries[2].blob.digest)
    damaged.chmod(0o644)
    damaged.write_bytes(bytes([2]) * 999 + b"\0")
    assert check().returncode == 1
    assert check().stdout == f"{damaged.relative_to(tmp_path)}: FAILED\n"


def test_what_a_dead_process_was_discarding_is_brought_back(tmp_path: Path, spool: Spool) -> None:
    entries = [spooled(spool, bytes([number])) for number in range(3)]
    digests = [entry.blob.digest for entry in entries]
    store = LocalStore(tmp_path / "objects")
    store.put(entries)
    for digest in digests[:2]:
        store.path(digest).rename(tmp_path / "objects" / ".discarded" / f"{digest}.dead")
    assert list(LocalStore(tmp_path / "objects").digests()) == [digests[2]]
    store.discard(digests, lambda: digests[:1])
    assert list(store.digests()) == [digests[0]]
    store.verify(digests[0])
    assert list((tmp_path / "objects" / ".discarded").iterdir()) == []
