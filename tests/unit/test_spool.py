"""The spool: what its names say, what its steps promise, what recovery finds."""

import errno
import os
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hilum.core.errors import StorageFull, StorageUnavailable
from hilum.core.instance import Origin
from hilum.storage import spool as spool_module
from hilum.storage.spool import Spool
from tests.contract.spooling import ORIGIN, sha256sum, spooled


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool._root.iterdir() if path.name != ".lock")


# Names


def test_a_committed_name_tells_time_and_sender(spool: Spool) -> None:
    entry = spooled(spool, b"x", Origin("CT 1/ä", ORIGIN.received_at))
    assert re.fullmatch(
        r"20261122T064643\.123456Z-[0-9a-f]{16}-CT%201%2F%C3%A4\.dcm", entry.path.name
    )
    assert entry.path.parent == spool._root


def test_names_are_in_utc_whatever_the_zone_of_the_clock(spool: Spool) -> None:
    local = ORIGIN.received_at.astimezone(timezone(timedelta(hours=-7)))
    assert spooled(spool, b"x", Origin("CT1", local)).path.name.startswith("20261122T064643")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(source=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_sender_stays_inside_the_folder_and_is_found_again(spool: Spool, source: str) -> None:
    entry = spooled(spool, b"x", Origin(source, ORIGIN.received_at))
    assert entry.path.parent == spool._root
    assert len(os.fsencode(entry.path.name)) <= 255 - len(".part")
    (found,) = spool.recover()
    assert found.path == entry.path
    if len(source) <= 13:  # 12 characters of a name for each is the worst
        assert found.origin.source == source
    found.remove()


def test_same_sender_and_time_are_kept_apart_in_order(spool: Spool) -> None:
    entries = [spooled(spool, str(number).encode()) for number in range(300)]
    assert [entry.path for entry in spool.recover()] == [entry.path for entry in entries]


# Writing


def test_what_is_written_is_what_is_committed(spool: Spool) -> None:
    buffer = bytearray(b"reused buffer")
    with spool.create(ORIGIN) as writer:
        writer.write(b"head")
        writer.write(buffer)
        buffer[:] = b"something new"
        writer.write(memoryview(buffer)[:9])
        writer.write(b"")
        assert writer.size_bytes == 26
        assert writer.head(6) == b"headre"
        assert writer.head(100) == b"headreused buffersomething"
        entry = writer.commit()
    assert entry.path.read_bytes() == b"headreused buffersomething"
    assert entry.blob.digest == sha256sum(entry.path)
    assert entry.blob.size_bytes == 26
    assert entry.origin == ORIGIN
    assert writer.path == entry.path


def test_committed_files_are_read_only(spool: Spool) -> None:
    assert spooled(spool, b"x").path.stat().st_mode & 0o777 == 0o444


def test_nothing_is_committed_before_commit(spool: Spool) -> None:
    with spool.create(ORIGIN) as writer:
        writer.write(b"x")
        writer.sync()
        (name,) = names(spool)
        assert name.endswith(".dcm.part")


def test_leaving_without_commit_leaves_nothing(spool: Spool) -> None:
    with spool.create(ORIGIN) as writer:
        writer.write(b"x")
    writer.abort()
    assert names(spool) == []
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


def test_abort_after_commit_changes_nothing(spool: Spool) -> None:
    with spool.create(ORIGIN) as writer:
        writer.write(b"x")
        entry = writer.commit()
        writer.abort()
    assert entry.path.read_bytes() == b"x"


def test_remove_is_idempotent(spool: Spool) -> None:
    entry = spooled(spool, b"x")
    entry.remove()
    entry.remove()
    assert names(spool) == []


def test_the_header_can_be_read_while_the_file_is_synced(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading_done = threading.Event()
    sync = os.fdatasync

    def slow_sync(descriptor: int) -> None:
        assert reading_done.wait(30)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    with spool.create(ORIGIN) as writer:
        writer.write(b"DICM and more")
        syncing = threading.Thread(target=writer.sync)
        syncing.start()
        with writer.open_for_reading() as file:
            assert file.read(4) == b"DICM"
            reading_done.set()
            syncing.join()
            writer.commit()
            assert file.read() == b" and more"


def test_an_aborted_file_cannot_be_opened(spool: Spool) -> None:
    with spool.create(ORIGIN) as writer:
        pass
    with pytest.raises(StorageUnavailable):
        writer.open_for_reading()


def test_a_large_object_is_never_whole_in_memory(spool: Spool) -> None:
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        with spool.create(ORIGIN) as writer:
            for _ in range(80):  # more than two strides of 32 MiB
                writer.write(piece)
            entry = writer.commit()
        assert tracemalloc.get_traced_memory()[1] < len(piece)
    finally:
        tracemalloc.stop()
    assert entry.blob.digest == sha256sum(entry.path)


# The order of the steps that make a commit durable


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every sync and rename from now on, in order, by file name."""
    seen: list[tuple[str, ...]] = []

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def record(call: str, describe: Callable[..., tuple[str, ...]]) -> None:
        original = getattr(os, call)

        def recording(*arguments: object) -> object:
            description = describe(*arguments)
            result = original(*arguments)
            seen.append((call, *description))
            return result

        monkeypatch.setattr(os, call, recording)

    record("fdatasync", lambda descriptor: (name_of(descriptor),))
    record("fsync", lambda descriptor: (name_of(descriptor),))
    record("rename", lambda old, new: (Path(old).name, Path(new).name))
    record("mkdir", lambda path, _mode: (Path(path).name,))
    return seen


def test_commit_syncs_bytes_then_renames_then_syncs_the_folder(
    spool: Spool, steps: list[tuple[str, ...]]
) -> None:
    entry = spooled(spool, b"x")
    name = entry.path.name
    assert steps == [
        ("fdatasync", f"{name}.part"),
        ("rename", f"{name}.part", name),
        ("fsync", "spool"),
    ]


def test_what_is_synced_is_not_synced_again_unless_more_is_written(
    spool: Spool, steps: list[tuple[str, ...]]
) -> None:
    with spool.create(ORIGIN) as writer:
        writer.write(b"x")
        writer.sync()
        writer.sync()
        writer.write(b"y")
        writer.commit()
    assert [step[0] for step in steps] == ["fdatasync", "fdatasync", "rename", "fsync"]


def test_a_new_spool_folder_is_synced_up_to_what_existed(
    tmp_path: Path, steps: list[tuple[str, ...]]
) -> None:
    Spool(tmp_path / "a" / "b").close()
    assert steps == [
        ("mkdir", "a"),
        ("fsync", tmp_path.name),
        ("mkdir", "b"),
        ("fsync", "a"),
    ]


# Faults


FAULTS = [
    (errno.ENOSPC, StorageFull),
    (errno.EDQUOT, StorageFull),
    (errno.EIO, StorageUnavailable),
    (errno.EROFS, StorageUnavailable),
]


@pytest.mark.parametrize(("number", "expected"), FAULTS)
@pytest.mark.parametrize("call", ["fdatasync", "rename", "fsync"])
def test_after_a_failed_step_of_commit_nothing_is_left(
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    expected: type[Exception],
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    writer = spool.create(ORIGIN)
    writer.write(b"x")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(expected, match=os.strerror(number)):
            writer.commit()
    assert names(spool) == []
    assert list(spool.recover()) == []
    spooled(spool, b"the next one is fine")


def test_the_reserve_is_left_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=1 << 62)
    with pytest.raises(StorageFull, match="reserve"):
        spool.create(ORIGIN)
    with pytest.raises(StorageFull, match="reserve"):
        spool.check()
    assert names(spool) == []
    spool.close()


def test_the_reserve_is_left_alone_by_an_object_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    monkeypatch.setattr(spool_module, "_STRIDE_BYTES", 1000)
    spool.create(ORIGIN).abort()
    writer = spool.create(ORIGIN)
    writer._reserve_bytes = 1 << 62  # as if others had filled the disk meanwhile
    writer.write(bytes(999))
    with pytest.raises(StorageFull):
        writer.write(b"x")
    assert names(spool) == []
    spool.close()


def test_a_folder_that_vanished_is_unavailable(spool: Spool) -> None:
    (spool._root / ".lock").unlink()
    spool._root.rmdir()
    with pytest.raises(StorageUnavailable):
        spool.create(ORIGIN)
    with pytest.raises(StorageUnavailable):
        spool.check()
    with pytest.raises(StorageUnavailable):
        list(spool.recover())


def test_a_file_where_the_folder_should_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        Spool(tmp_path / "spool")


def test_a_healthy_spool_passes_its_check_and_keeps_no_trace_of_it(spool: Spool) -> None:
    spool.check()
    assert names(spool) == []


# Recovery


def test_recovery_deletes_what_another_run_left_unfinished(spool: Spool) -> None:
    spool.create(ORIGIN)._file.close()  # the process died here
    committed = spooled(spool, b"acknowledged")
    spool.close()
    again = Spool(spool._root)
    running = again.create(ORIGIN)
    assert [entry.path for entry in again.recover()] == [committed.path]
    assert names(again) == sorted([committed.path.name, running.path.name])
    running.commit()
    again.close()


def test_recovery_tells_sender_time_and_bytes_without_any_side_file(spool: Spool) -> None:
    first = spooled(spool, b"first", Origin("RÖ 1", ORIGIN.received_at))
    second = spooled(
        spool, b"second", Origin("http", ORIGIN.received_at + timedelta(microseconds=1))
    )
    assert list(spool.recover()) == [first, second]


def test_recovery_hashes_what_is_on_disk_now(spool: Spool) -> None:
    entry = spooled(spool, b"as received")
    entry.path.chmod(0o644)
    entry.path.write_bytes(b"as received?")
    (found,) = spool.recover()
    assert found.blob.digest == sha256sum(entry.path) != entry.blob.digest
    assert found.blob.size_bytes == 12


def test_recovery_brings_files_of_strangers_as_unknown(spool: Spool) -> None:
    strangers = ["README.txt", "20261399T000000.000000Z-0123456789abcdef-CT1.dcm", "~.dcm"]
    for name in strangers:
        (spool._root / name).write_bytes(b"?")
        os.utime(spool._root / name, (1_000_000_000, 1_000_000_000))
    found = list(spool.recover())
    assert sorted(entry.path.name for entry in found) == sorted(strangers)
    then = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert {entry.origin for entry in found} == {Origin("unknown", then)}


def test_recovery_follows_no_link_and_enters_no_folder(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (spool._root / "link.dcm").symlink_to(tmp_path / "secret")
    (spool._root / "folder.dcm").mkdir()
    (spool._root / ".nfs000000000000001").write_bytes(b"the file system's own")
    entry = spooled(spool, b"x")
    with capture_logs() as logs:
        assert list(spool.recover()) == [entry]
    assert [log["file"] for log in logs] == ["folder.dcm", "link.dcm"]
    assert (spool._root / "link.dcm").is_symlink()


def test_recovery_reads_files_only_as_they_are_asked_for(spool: Spool) -> None:
    entries = [spooled(spool, str(number).encode()) for number in range(5)]
    recovery = spool.recover()
    assert next(recovery) == entries[0]
    entries[1].remove()  # promoted meanwhile
    spooled(spool, b"arrived meanwhile")
    assert list(recovery) == entries[2:]


# Ownership

OPEN_SPOOL = """
import sys
from pathlib import Path
from hilum.core.errors import StorageUnavailable
from hilum.storage.spool import Spool
try:
    Spool(Path(sys.argv[1]))
except StorageUnavailable as error:
    print(error)
else:
    print("mine")
"""


def open_elsewhere(root: Path) -> str:
    command = [sys.executable, "-c", OPEN_SPOOL, str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_second_node_is_told_that_the_folder_is_taken(spool: Spool) -> None:
    part = spool.create(ORIGIN)
    assert "in use by another node" in open_elsewhere(spool._root)
    assert part.commit().path.exists()
    spool.close()
    spool.close()
    assert open_elsewhere(spool._root) == "mine"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # forking is the point
def test_a_helper_process_does_not_keep_the_folder_taken(spool: Spool) -> None:
    """A decode worker forked from the node may outlive it by a moment."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)  # until the parent lets go
        os._exit(0)
    os.close(read_end)
    try:
        spool.close()
        assert open_elsewhere(spool._root) == "mine"
    finally:
        os.close(write_end)
        os.waitpid(child, 0)


def test_percent_encoding_is_that_of_urls(spool: Spool) -> None:
    entry = spooled(spool, b"x", Origin("A%2FB", ORIGIN.received_at))
    assert unquote(entry.path.stem.split("-", 2)[2]) == "A%2FB"
