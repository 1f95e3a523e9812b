"""The spool: what its names say, what its steps promise, and whose it is."""

import errno
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from datetime import timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.core.errors import StorageFull, StorageUnavailable
from hilum.core.instance import Origin
from hilum.storage import spool as spool_module
from hilum.storage.spool import Spool
from tests.contract.spooling import ORIGIN, is_committed, received, sha256sum, spooled


def names(spool: Spool) -> list[str]:
    return [path.name for path in received(spool._root)]


# Names


def test_the_name_of_an_entry_tells_time_and_sender(spool: Spool) -> None:
    entry = spooled(spool, b"x", Origin("CT 1/ä", ORIGIN.received_at))
    pattern = r"20261122T064643\.123456Z-[0-9a-f]{16}-CT%201%2F%C3%A4\.dcm"
    assert re.fullmatch(pattern, entry.name)
    assert entry.path.parent == spool._root


def test_a_committed_file_has_the_name_of_its_entry(named: Spool) -> None:
    entry = spooled(named, b"x")
    assert entry.path.name == entry.name


def test_a_marked_file_keeps_the_name_it_was_made_with(marked: Spool) -> None:
    with marked.create(ORIGIN) as writer:
        before = writer.path
        entry = writer.commit()
    assert entry.path == before
    assert re.fullmatch(r"[0-9a-f]{16}\.slot", entry.path.name)


def test_names_are_in_utc_whatever_the_zone_of_the_clock(spool: Spool) -> None:
    local = ORIGIN.received_at.astimezone(timezone(timedelta(hours=-7)))
    entry = spooled(spool, b"x", Origin("CT1", local))
    assert entry.name.startswith("20261122T064643")
    assert list(spool.recover()) == [entry]


def test_percent_encoding_is_that_of_urls(spool: Spool) -> None:
    entry = spooled(spool, b"x", Origin("A%2FB", ORIGIN.received_at))
    assert unquote(entry.name.removesuffix(".dcm").split("-", 2)[2]) == "A%2FB"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(source=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_sender_stays_inside_the_folder_and_is_found_again(spool: Spool, source: str) -> None:
    entry = spooled(spool, b"x", Origin(source, ORIGIN.received_at))
    assert entry.path.parent == spool._root
    assert len(os.fsencode(entry.name)) <= 255 - len(".part")
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
        writer.start_sync()
        (path,) = received(spool._root)
        assert path == writer.path
        assert not is_committed(path)
        assert list(spool.recover()) == []
        writer.commit()
    (path,) = received(spool._root)
    assert is_committed(path)


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


def test_a_file_that_is_being_read_can_be_committed(spool: Spool) -> None:
    with spool.create(ORIGIN) as writer:
        writer.write(b"DICM and more")
        with writer.open_for_reading() as file:
            assert file.read(4) == b"DICM"
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


def test_commit_by_name_syncs_bytes_then_renames_then_syncs_the_folder(
    named: Spool, steps: list[tuple[str, ...]]
) -> None:
    entry = spooled(named, b"x")
    name = entry.path.name
    assert steps == [
        ("fdatasync", f"{name}.part"),
        ("rename", f"{name}.part", name),
        ("fsync", "spool"),
    ]


def test_commit_by_mark_is_one_sync_of_mark_and_bytes(
    marked: Spool, steps: list[tuple[str, ...]]
) -> None:
    spooled(marked, b"the first makes the stock").remove()
    assert steps[0] == ("fsync", "spool")  # before any name of the batch is used
    steps.clear()
    name = spooled(marked, b"x").path.name
    # Only the last one promises anything. Read-only comes after the mark because Linux lets
    # none but root mark a file that is read-only.
    assert steps == [("setxattr", name), ("fchmod", name), ("fsync", name)]


def test_a_new_spool_folder_is_synced_up_to_what_existed(
    tmp_path: Path, steps: list[tuple[str, ...]]
) -> None:
    Spool(tmp_path / "a" / "b").close()
    assert [step for step in steps if step[0] != "setxattr"] == [  # a probe, on a nameless file
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
@pytest.mark.parametrize(
    ("way", "call"),
    [
        ("named", "fdatasync"),
        ("named", "rename"),
        ("named", "fsync"),
        ("marked", "setxattr"),
        ("marked", "fchmod"),
        ("marked", "fsync"),
    ],
)
def test_after_a_failed_step_of_commit_nothing_is_left(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    call: str,
    number: int,
    expected: type[Exception],
) -> None:
    spool: Spool = request.getfixturevalue(way)

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
    spooled(spool, b"so that there is a stock").remove()
    shutil.rmtree(spool._root)
    with pytest.raises(StorageUnavailable):
        spool.create(ORIGIN)
    with pytest.raises(StorageUnavailable):
        spool.check()
    with pytest.raises(StorageUnavailable):
        list(spool.recover())


def test_a_file_that_somebody_deletes_meanwhile_is_not_acknowledged(spool: Spool) -> None:
    writer = spool.create(ORIGIN)
    writer.write(b"x")
    writer.path.unlink()
    with pytest.raises(StorageUnavailable):
        writer.commit()


def test_a_file_where_the_folder_should_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        Spool(tmp_path / "spool")


def test_a_healthy_spool_passes_its_check_and_keeps_no_trace_of_it(spool: Spool) -> None:
    spool.check()
    assert names(spool) == []


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
