"""The cache on disk: bounded, shared by processes, and never a reason for anything to fail."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.storage import cache
from hilum.storage.cache import Cache

KIB = 1024


def key(number: int) -> str:
    return f"{number:064x}"[::-1]


def on_disk(folder: Path) -> int:
    """Bytes of blocks that entries take, as `du` counts them."""
    entries = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return sum(path.stat().st_blocks * 512 for path in entries)


def entry(folder: Path, number: int) -> Path:
    (path,) = folder.rglob(key(number))
    return path


def age(folder: Path, number: int, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(entry(folder, number), (then, then))


def test_what_was_put_is_got_by_another_process_later(tmp_path: Path) -> None:
    Cache(tmp_path / "new", 1 << 20).put(key(1), b"picture")
    later = Cache(tmp_path / "new", 1 << 20)
    assert later.get(key(1)) == b"picture"
    assert later.get(key(2)) is None
    later.put(key(3), b"")
    assert later.get(key(3)) == b""


def test_never_takes_more_than_its_limit(tmp_path: Path) -> None:
    limit = 256 * KIB
    bounded = Cache(tmp_path, limit)
    chance = random.Random(1)
    for number in range(300):
        bounded.put(key(number), chance.randbytes(chance.randrange(1, 20 * KIB)))
        assert on_disk(tmp_path) <= limit
    kept = [number for number in range(300) if bounded.get(key(number)) is not None]
    assert len(kept) > 10
    assert 299 in kept


def test_what_was_not_used_longest_goes_first(tmp_path: Path) -> None:
    limit = 200 * KIB
    bounded = Cache(tmp_path, limit)
    value = bytes(8 * KIB)
    for number in range(16):
        bounded.put(key(number), value)
        age(tmp_path, number, 10_000 - number)
    for number in (0, 3):
        assert bounded.get(key(number)) == value, "and used now"
    for number in range(100, 105):
        bounded.put(key(number), value)
    kept = {number for number in range(16) if bounded.get(key(number)) is not None}
    assert {0, 3} <= kept
    gone = set(range(16)) - kept
    assert gone
    assert max(gone) < min(kept - {0, 3})


def test_what_is_too_large_drives_nothing_out(tmp_path: Path) -> None:
    bounded = Cache(tmp_path, 64 * KIB)
    bounded.put(key(1), b"small")
    bounded.put(key(2), bytes(60 * KIB))
    assert bounded.get(key(2)) is None
    assert bounded.get(key(1)) == b"small"


def test_a_lower_limit_after_a_restart_is_kept(tmp_path: Path) -> None:
    generous = Cache(tmp_path, 1 << 20)
    for number in range(50):
        generous.put(key(number), bytes(10 * KIB))
    assert on_disk(tmp_path) > 256 * KIB
    Cache(tmp_path, 256 * KIB).put(key(99), b"one more")
    assert on_disk(tmp_path) <= 256 * KIB


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "longer", "foreign"])
def test_a_torn_file_is_a_miss_and_made_good(tmp_path: Path, damage: str) -> None:
    torn = Cache(tmp_path, 1 << 20)
    torn.put(key(1), b"picture" * 1000)
    path = entry(tmp_path, 1)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:middle],
            "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
            "longer": content + b"\0",
            "foreign": b"something else entirely, of some length",
        }[damage]
    )
    assert torn.get(key(1)) is None
    torn.put(key(1), b"picture" * 1000)
    assert torn.get(key(1)) == b"picture" * 1000


def test_losing_its_folder_or_its_count_harms_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    robust = Cache(folder, 256 * KIB)
    robust.put(key(1), b"value")
    for name in ("usage", "lock"):
        (folder / name).unlink()
        robust.put(key(2), b"value")
        assert robust.get(key(1)) == b"value"
    (folder / "usage").write_bytes(b"\xff" * 8)
    for number in range(3, 100):
        robust.put(key(number), bytes(8 * KIB))
        assert on_disk(folder) <= 256 * KIB
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert robust.get(key(1)) is None
    robust.put(key(1), b"value")
    assert robust.get(key(1)) == b"value"


def test_a_folder_that_is_gone_is_not_made_on_another_disk(tmp_path: Path) -> None:
    gone = Cache(tmp_path / "mounted" / "cache", 1 << 20)
    gone.put(key(1), b"value")
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")
    gone.put(key(2), b"value")
    gone.give_way()
    assert gone.get(key(1)) is None
    assert not (tmp_path / "mounted").exists()


def test_a_disk_that_fails_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = Cache(tmp_path / "file" / "below", 1 << 20)
    broken.put(key(1), b"value")
    assert broken.get(key(1)) is None
    broken.give_way()


def test_without_a_limit_of_its_own_nothing_is_written(tmp_path: Path) -> None:
    none = Cache(tmp_path / "none", 0)
    none.put(key(1), b"value")
    assert none.get(key(1)) is None
    assert not (tmp_path / "none").exists()


def test_it_leaves_the_reserve_to_instances_and_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize
    Cache(tmp_path, 1 << 20).put(key(1), b"value")
    Cache(tmp_path, 1 << 20, reserve_bytes=2 * free).put(key(2), b"value")
    assert Cache(tmp_path, 1 << 20).get(key(2)) is None
    Cache(tmp_path, 1 << 20, reserve_bytes=0).give_way()
    assert Cache(tmp_path, 1 << 20).get(key(1)) == b"value"
    Cache(tmp_path, 1 << 20, reserve_bytes=2 * free).give_way()
    assert Cache(tmp_path, 1 << 20).get(key(1)) is None
    assert not on_disk(tmp_path)


@pytest.mark.parametrize("wrong", ["", "abc", "../../etc/passwd", "ab/cd", ".hidden", "a" * 201])
def test_a_key_is_no_path(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        Cache(tmp_path, 1 << 20).get(wrong)


MANY_WRITERS = """
import random, sys
from pathlib import Path
from hilum.storage.cache import Cache

chance = random.Random(int(sys.argv[2]))
shared = Cache(Path(sys.argv[1]), 512 * 1024)
kept = 0
for _ in range(400):
    number = chance.randrange(150)
    key = f"{number:064x}"[::-1]
    value = random.Random(number).randbytes(1000 + 100 * number)
    found = shared.get(key)
    assert found in (None, value)
    kept += found is not None
    shared.put(key, value)
print(kept)
"""


def test_processes_share_it_within_one_limit(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY_WRITERS, str(tmp_path), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    most = 0
    while any(process.poll() is None for process in processes):
        try:
            most = max(most, on_disk(tmp_path))
        except FileNotFoundError:
            continue  # removed between being listed and being looked at
    hits = [int(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert most <= 512 * KIB
    assert on_disk(tmp_path) <= 512 * KIB
    assert sum(hits) > 100
    assert not list(tmp_path.rglob("*.part"))


def test_one_killed_in_the_middle_leaves_nothing_that_counts_for_good(tmp_path: Path) -> None:
    limited = Cache(tmp_path, 128 * KIB)
    limited.put(key(1), b"value")
    (entry(tmp_path, 1).parent / "0123456789abcdef.part").write_bytes(bytes(100 * KIB))
    for number in range(100):
        limited.put(key(number), bytes(4 * KIB))
    assert not list(tmp_path.rglob("*.part"))


def test_use_is_noted_now_and_then_and_not_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Cache(tmp_path, 1 << 20)
    noted.put(key(1), b"value")
    age(tmp_path, 1, 30)
    before = entry(tmp_path, 1).stat().st_mtime_ns
    noted.get(key(1))
    assert entry(tmp_path, 1).stat().st_mtime_ns == before
    monkeypatch.setattr(cache, "_NOTED_SECONDS", 20)
    noted.get(key(1))
    assert entry(tmp_path, 1).stat().st_mtime_ns > before
