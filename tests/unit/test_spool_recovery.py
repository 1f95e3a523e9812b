"""What recovery finds in a spool, whatever the run before it was at when it ended."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hilum.core.instance import Blob, Origin
from hilum.storage.mark import Mark
from hilum.storage.spool import Spool, SpoolWriter
from tests.contract.spooling import ORIGIN, received, sha256sum, spooled, without_attributes


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
