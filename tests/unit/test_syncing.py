"""Shared syncs: who gets which one, and what a failed one means to whom."""

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from hilum.storage import durable, syncing
from hilum.storage.syncing import SharedSync
from tests.nodes import wait_until


class Disk:
    """Stands for the disk: each sync waits until the test lets it end."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.durable: set[str] = set()
        self.begun = 0
        self.results: list[Future[None]] = [Future() for _ in range(20)]

    def sync(self, _folder: Path) -> None:
        held = set(self.names)
        result = self.results[self.begun]
        self.begun += 1
        result.result(30)
        self.durable |= held


class CountingEvent(threading.Event):
    """An event that knows how many have come to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.arrivals.release()
        return super().wait(timeout)

    def await_arrivals(self, count: int) -> None:
        for _ in range(count):
            assert self.arrivals.acquire(timeout=30)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[CountingEvent]:
    """The end of each group, in the order they were opened in."""
    ends: list[CountingEvent] = []

    class Group(syncing._Group):
        def __init__(self) -> None:
            super().__init__()
            self.ended = CountingEvent()
            ends.append(self.ended)

    monkeypatch.setattr(syncing, "_Group", Group)
    return ends


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(syncing, "sync_folder", disk.sync)
    return disk


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


def test_all_who_come_during_a_sync_share_the_next_one(
    disk: Disk, groups: list[CountingEvent], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    shared = SharedSync(tmp_path)

    def commit(name: str) -> bool:
        disk.names.add(name)
        shared.sync()
        return name in disk.durable

    first = threads.submit(commit, "first")
    wait_until(lambda: disk.begun == 1)
    others = [threads.submit(commit, f"other {number}") for number in range(12)]
    groups[0].await_arrivals(1)  # one of them leads, and waits for the sync that is running
    groups[1].await_arrivals(11)
    disk.results[0].set_result(None)
    assert first.result(30), "durable when it returns"
    disk.results[1].set_result(None)
    assert all(other.result(30) for other in others)
    assert disk.begun == 2


def test_names_that_came_after_a_sync_began_are_not_taken_to_last(
    disk: Disk, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    shared = SharedSync(tmp_path)
    early = threads.submit(shared.sync)
    wait_until(lambda: disk.begun == 1)
    disk.names.add("late")
    late = threads.submit(shared.sync)
    disk.results[0].set_result(None)
    early.result(30)
    wait_until(lambda: disk.begun == 2)
    assert not late.done()
    disk.results[1].set_result(None)
    late.result(30)
    assert "late" in disk.durable


def test_a_failed_sync_has_failed_for_all_its_members_and_for_nobody_else(
    disk: Disk, groups: list[CountingEvent], threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    shared = SharedSync(tmp_path)
    first = threads.submit(shared.sync)
    wait_until(lambda: disk.begun == 1)
    members = [threads.submit(shared.sync) for _ in range(5)]
    groups[0].await_arrivals(1)
    groups[1].await_arrivals(4)
    disk.results[0].set_result(None)
    first.result(30)
    disk.results[1].set_exception(OSError(errno.EIO, "the disk is broken"))
    faults = [member.exception(30) for member in members]
    assert [isinstance(fault, OSError) and fault.errno for fault in faults] == [errno.EIO] * 5
    assert len({id(fault) for fault in faults}) == 5, "tracebacks of threads do not mix"
    disk.results[2].set_result(None)
    shared.sync()


def test_a_sync_that_does_not_come_to_its_end_is_no_success(
    monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def interrupted(_folder: Path) -> None:
        begun.set()
        assert go_on.wait(30)
        raise MemoryError

    shared = SharedSync(tmp_path)
    monkeypatch.setattr(syncing, "sync_folder", interrupted)
    leader = threads.submit(shared.sync)
    assert begun.wait(30)
    follower = threads.submit(shared.sync)
    wait_until(lambda: shared._gathering is not None)
    go_on.set()
    assert isinstance(leader.exception(30), MemoryError)
    assert follower.exception(30) is not None
    monkeypatch.undo()
    shared.sync()


def test_many_threads_many_times(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """Nobody is forgotten: every call returns, and what was there before it is on disk."""
    shared = SharedSync(tmp_path)
    lock = threading.Lock()
    made: set[str] = set()
    lasting: set[str] = set()
    original = durable.sync_folder

    def sync(folder: Path) -> None:
        with lock:
            held = set(made)
        original(folder)
        with lock:
            lasting.update(held)

    def commit(number: int) -> bool:
        for turn in range(20):
            name = f"{number}-{turn}"
            with lock:
                made.add(name)
            shared.sync()
            with lock:
                if name not in lasting:
                    return False
        return True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(syncing, "sync_folder", sync)
        assert all(threads.map(commit, range(16)))
