"""The spool: what its names say, what its steps promise, what recovery finds."""

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hilum.core.errors import StorageFull, StorageUnavailable
from hilum.core.instance import Blob, Origin
from hilum.storage import spool as spool_module
from hilum.storage import stock as stock_module
from hilum.storage.mark import Mark
from hilum.storage.marking import can_mark
from hilum.storage.spool import Spool, SpoolWriter
from hilum.storage.stock import Stock
from tests.contract.spooling import (
    ORIGIN,
    is_committed,
    received,
    sha256sum,
    spooled,
    without_attributes,
)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """On a file system without extended attributes: committed by name."""
    without_attributes(monkeypatch)
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Spool]:
    """Committed by a mark."""
    spool = Spool(tmp_path / "spool")
    if not can_mark(tmp_path):
        pytest.skip("needs a file system with extended attributes")
    yield spool
    spool.close()


@pytest.fixture(params=["marked", "named"])
def spool(request: pytest.FixtureRequest) -> Spool:
    """Either: what both ways of committing have to do."""
    spool: Spool = request.getfixturevalue(request.param)
    return spool


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

    def marked_or_not(descriptor: int, *_arguments: object) -> tuple[str, ...]:
        return (name_of(descriptor),)

    record("fdatasync", marked_or_not)
    record("fsync", marked_or_not)
    record("fchmod", marked_or_not)
    record("setxattr", marked_or_not)
    record("rename", lambda old, new: (Path(old).name, Path(new).name))
    record("mkdir", lambda path, _mode: (Path(path).name,))
    return seen


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
    running.write(b"x")
    assert [entry.path for entry in again.recover()] == [committed.path]
    assert received(again._root) == sorted([committed.path, running.path])
    running.commit()
    again.close()


def test_recovery_tells_sender_time_and_bytes_without_any_side_file(spool: Spool) -> None:
    first = spooled(spool, b"first", Origin("RÖ 1", ORIGIN.received_at))
    second = spooled(
        spool, b"second", Origin("http", ORIGIN.received_at + timedelta(microseconds=1))
    )
    assert list(spool.recover()) == [first, second]


def test_recovery_hashes_what_is_on_disk_now(named: Spool) -> None:
    entry = spooled(named, b"as received")
    entry.path.chmod(0o644)
    entry.path.write_bytes(b"as received?")
    (found,) = named.recover()
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


# What a crash leaves of marked files: each state is built by hand, and recovered by another run


def died(spool: Spool) -> Spool:
    """Another run over the folder of one that was killed."""
    spool.close()  # the lock goes with the process; the stock is in the way of nothing
    return Spool(spool._root)


def as_left_by_a_power_cut(path: Path, data: bytes) -> None:
    """Give a file other bytes, and leave its mark and its mode as they are."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


@pytest.fixture
def begun(marked: Spool) -> Iterator[SpoolWriter]:
    with marked.create(ORIGIN) as writer:
        writer.write(b"received")
        yield writer


def test_a_stock_of_a_dead_run_is_removed(marked: Spool) -> None:
    marked.create(ORIGIN).abort()
    left = [path.name for path in marked._root.glob("*.slot")]
    assert len(left) > 1
    again = Spool(marked._root.rename(marked._root.with_name("moved")))
    assert list(again.recover()) == []
    assert list(again._root.glob("*.slot")) == []
    again.close()


@pytest.mark.parametrize("data", [b"", b"rece", b"received"])
def test_bytes_without_a_mark_were_not_acknowledged(
    marked: Spool, begun: SpoolWriter, data: bytes
) -> None:
    begun.path.write_bytes(data)
    again = died(marked)
    assert list(again.recover()) == []
    assert not begun.path.exists()
    again.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_mark_with_all_bytes_is_replayed_and_synced_first(
    marked: Spool, begun: SpoolWriter, steps: list[tuple[str, ...]], *, read_only: bool
) -> None:
    """Killed after marking, before the sync had ended: perhaps only memory has it all."""
    Mark(Blob(sha256(b"received").hexdigest(), 8), ORIGIN).set(begun._file.fileno())
    begun.path.chmod(0o444 if read_only else 0o644)
    again = died(marked)
    steps.clear()
    (entry,) = again.recover()
    assert ("fsync", begun.path.name) in steps
    assert (entry.blob.size_bytes, entry.origin) == (8, ORIGIN)
    assert entry.path.stat().st_mode & 0o777 == 0o444
    again.close()


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(b"", id="the mark before any byte"),
        pytest.param(b"rece", id="the mark before the last bytes"),
        pytest.param(bytes(8), id="the size before the bytes"),
        pytest.param(b"rece" + bytes(4), id="the size before the last bytes"),
        pytest.param(b"received?", id="more than was committed"),
    ],
)
def test_a_mark_without_its_bytes_is_never_replayed_and_never_thrown_away(
    marked: Spool, left: bytes
) -> None:
    whole, torn = spooled(marked, b"whole"), spooled(marked, b"received")
    as_left_by_a_power_cut(torn.path, left)
    again = died(marked)
    with capture_logs() as logs:
        assert list(again.recover()) == [whole]
    (told,) = logs
    assert told["log_level"] == "warning"
    assert told["source"] == "CT1"
    assert (told["expected_bytes"], told["found_bytes"]) == (8, len(left))
    (aside,) = again._root.glob("*.torn")
    assert aside.name == told["file"]
    assert aside.read_bytes() == left
    with capture_logs() as logs:
        assert list(again.recover()) == [whole]  # once is enough to be told
    assert logs == []
    again.close()


def test_a_failed_sync_is_not_taken_for_a_good_one_by_the_next_run(
    marked: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of a failed sync are clean in memory and were never on the disk.

    What recovery hashes must come from the disk: it drops what memory has of the file
    after its sync, and before it reads.
    """
    spooled(marked, b"x")
    again = died(marked)
    dropped: list[int] = []
    advise = os.posix_fadvise

    def recording(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0  # nothing is read before
        advise(descriptor, offset, length, advice)
        dropped.append(descriptor)

    monkeypatch.setattr(os, "posix_fadvise", recording)
    assert len(list(again.recover())) == 1
    assert len(dropped) == 1
    again.close()


def test_a_copy_without_attributes_is_replayed_as_unknown(
    marked: Spool, begun: SpoolWriter, tmp_path: Path
) -> None:
    """A backlog moved to another disk by a program that leaves attributes behind."""
    entry = spooled(marked, b"acknowledged")
    command = ["cp", "--recursive", "--preserve=mode,timestamps", marked._root, tmp_path / "copy"]
    subprocess.run(command, check=True)
    again = Spool(tmp_path / "copy")
    (found,) = again.recover()
    assert found.path.name == entry.path.name
    assert found.blob == entry.blob
    assert found.origin.source == "unknown"
    assert not (tmp_path / "copy" / begun.path.name).exists()
    again.close()


def test_a_value_that_is_no_mark_is_none(marked: Spool) -> None:
    entry = spooled(marked, b"acknowledged")
    for value in (b"", b"x" * 47, bytes(40) + b"\xff" * 7 + b"\x7f"):
        os.setxattr(entry.path, "user.hilum", value)
        again = died(marked)
        (found,) = again.recover()
        assert (found.origin.source, found.blob) == ("unknown", entry.blob)
        again.close()


def test_a_mark_of_a_calling_ae_title_fits_into_an_inode() -> None:
    mark = Mark(Blob("0" * 64, 1 << 40), Origin("A" * 16, ORIGIN.received_at))
    assert len(bytes(mark)) == 64
    assert Mark.parse(bytes(mark)) == mark


@given(
    source=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    called=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=16),
    received_at=st.datetimes(timezones=st.just(UTC)),
)
def test_marks_survive_any_sender_and_time(source: str, called: str, received_at: datetime) -> None:
    blob = Blob(sha256(source.encode()).hexdigest(), len(source))
    origin = Origin(source, received_at, called_ae_title=called, by_alias=bool(called))
    found = Mark.parse(bytes(Mark(blob, origin)))
    assert found is not None
    assert found.origin.called_ae_title == called
    assert (found.blob, found.origin.received_at) == (blob, received_at)
    assert source.startswith(found.origin.source)
    assert found.origin.source == source or len(source.encode()) > 160


def test_recovery_knows_files_of_either_way_in_one_folder(
    marked: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, and after a spool was moved to a file system of the other kind."""
    origins = [
        Origin(
            source="CT1",
            received_at=ORIGIN.received_at + timedelta(seconds=number),
            called_ae_title=called,
            by_alias=bool(called),
        )
        for number, called in enumerate(["", "", "ROOM,1", "ROOM,1"])
    ]
    by_mark = [spooled(marked, b"0", origins[0]), spooled(marked, b"2", origins[2])]
    with monkeypatch.context() as patched:
        without_attributes(patched)
        named = died(marked)
        by_name = [spooled(named, b"1", origins[1]), spooled(named, b"3", origins[3])]
    again = died(named)
    assert list(again.recover()) == [by_mark[0], by_name[0], by_mark[1], by_name[1]]
    again.close()


# The stock


def test_a_file_that_somebody_deletes_meanwhile_is_not_acknowledged(spool: Spool) -> None:
    writer = spool.create(ORIGIN)
    writer.write(b"x")
    writer.path.unlink()
    with pytest.raises(StorageUnavailable):
        writer.commit()


def test_a_stock_that_somebody_sweeps_away_is_made_anew(marked: Spool) -> None:
    spooled(marked, b"x").remove()
    for path in marked._root.glob("*.slot"):
        path.unlink()
    assert spooled(marked, b"y").path.read_bytes() == b"y"


def test_a_spool_that_ends_in_order_leaves_nothing(marked: Spool) -> None:
    for number in range(40):
        spooled(marked, bytes([number])).remove()
    marked.close()
    assert [path.name for path in marked._root.iterdir()] == [".lock"]


def test_names_last_before_anything_is_received_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is taken while files are made, by any number of takers, was synced before."""
    lasting: set[str] = set()
    sync = stock_module.sync_folder

    def recording(folder: Path) -> None:
        names = {path.name for path in folder.iterdir()}
        sync(folder)
        lasting.update(names)

    monkeypatch.setattr(stock_module, "sync_folder", recording)
    stock = Stock(tmp_path, "0123abcd")

    def take(_number: int) -> Path:
        path = stock.take()
        assert path.name in lasting
        return path

    with ThreadPoolExecutor(8) as takers:
        taken = list(takers.map(take, range(500)))
    assert len(set(taken)) == 500
    stock.close()
    assert sorted(tmp_path.iterdir()) == sorted(taken)


def test_a_stock_takes_what_the_disk_still_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, left = stock_module.create_slot, iter(range(3))

    def create_three(path: Path) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        create(path)

    monkeypatch.setattr(stock_module, "create_slot", create_three)
    stock = Stock(tmp_path, "0123abcd")
    assert len({stock.take() for _ in range(3)}) == 3
    with pytest.raises(OSError, match="No space left"):
        stock.take()
    stock.close()


def test_marking_takes_no_more_rights_than_writing() -> None:
    """A node that is not root has to be able to mark what it then makes read-only."""
    if os.getuid() != 0:
        pytest.skip("the other tests run as somebody who is not root")
    code = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "s = Spool(Path(sys.argv[1])); w = s.create(Origin('CT1', datetime.now(UTC)));"
        "w.write(b'x'); e = w.commit(); print(e.path.suffix, list(s.recover()) == [e])"
    )
    imports = (
        "from pathlib import Path; from datetime import datetime, UTC;"
        "from hilum.core.instance import Origin; from hilum.storage.spool import Spool;"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        command = [sys.executable, "-c", imports + code, folder + "/spool"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [".slot", "True"]


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
    assert unquote(entry.name.removesuffix(".dcm").split("-", 2)[2]) == "A%2FB"
