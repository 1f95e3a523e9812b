"""The spool folders of a node: who gets which, and who finishes what the dead have left."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hilum.core.errors import StorageUnavailable
from hilum.storage.lock import FolderLock, InUse
from hilum.storage.spools import Spools, claim


@contextmanager
def another_process(call: str, root: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds what `call` returns until it is killed."""
    code = (
        "import sys; from pathlib import Path;"
        "from hilum.storage.spools import Spools, claim;"
        f"root = Path(sys.argv[1]); held = {call}; print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


TAKING = "(spools := Spools(root), spools.take())"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    claim(tmp_path / "spool").release()
    return tmp_path / "spool"


@pytest.fixture
def spools(root: Path) -> Iterator[Spools]:
    made = Spools(root)
    yield made
    made.close()


def put(folder: Path, name: str = "a.dcm") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"DICOM")
    return folder / name


def committed(spools: Spools) -> list[list[str]]:
    return [[entry.path.name for entry in spool.recover()] for spool in spools.adopt()]


def adopted_elsewhere(root: Path) -> list[str]:
    """What another process finds to adopt."""
    code = (
        "import sys; from pathlib import Path; from hilum.storage.spools import Spools;"
        "[print(e.path.name) for s in Spools(Path(sys.argv[1])).adopt() for e in s.recover()]"
    )
    ran = subprocess.run([sys.executable, "-c", code, root], capture_output=True, check=True)
    return ran.stdout.decode().split()


def test_each_takes_the_first_folder_that_is_free(root: Path, spools: Spools) -> None:
    with another_process(TAKING, root):
        spools.take()
        assert sorted(path.name for path in root.iterdir()) == [".lock", "0", "1"]
    spools.take()  # the other is dead, its folder free
    assert sorted(path.name for path in root.iterdir()) == [".lock", "0", "1"]


def test_a_folder_of_the_living_is_left_alone(root: Path, spools: Spools) -> None:
    with another_process(TAKING, root) as process:
        put(root / "0")
        assert committed(spools) == []
        process.kill()
        process.wait()
        assert committed(spools) == [["a.dcm"]]


def test_what_is_adopted_is_adopted_once_and_released_when_empty(
    root: Path, spools: Spools
) -> None:
    own = spools.take()
    left = put(root / "5")
    assert committed(spools) == [["a.dcm"]]
    spools.let_go(own)  # not yet: it holds something
    assert committed(spools) == []
    assert adopted_elsewhere(root) == []
    left.unlink()
    spools.let_go(own)
    left = put(root / "5", "b.dcm")
    assert adopted_elsewhere(root) == ["b.dcm"]
    put(root / "0")
    assert adopted_elsewhere(root) == ["b.dcm"]  # its own folder was kept


def test_own_and_empty_folders_are_not_adopted(root: Path, spools: Spools) -> None:
    spools.take()
    put(root / "0")
    (root / "3").mkdir()
    put(root / "lost+found")
    assert committed(spools) == []


def test_files_of_earlier_versions_are_moved_to_where_they_are_found(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    put(root, "20261122T064643.123456Z-9c2f41d000000007-CT1.dcm")
    put(root, "20261122T064644.123456Z-9c2f41d000000008-CT1.dcm.part")
    lock = claim(root)
    spools = Spools(root)
    assert committed(spools) == [["20261122T064643.123456Z-9c2f41d000000007-CT1.dcm"]]
    assert sorted(path.name for path in root.iterdir()) == [".lock", "0"]
    spools.close()
    lock.release()


def test_one_node_at_a_time(root: Path) -> None:
    with (
        another_process("claim(root)", root),
        pytest.raises(InUse, match="in use by another node"),
    ):
        claim(root)
    claim(root).release()


def test_the_remains_of_a_killed_node_are_waited_for(root: Path) -> None:
    with another_process(TAKING, root) as process:
        with pytest.raises(InUse):
            claim(root, patience_seconds=0.2)
        FolderLock(root).release()  # what was claimed in vain is free again
        process.kill()
        claim(root).release()


@pytest.mark.parametrize("attempt", [claim, lambda root: Spools(root).take()])
def test_a_folder_that_cannot_be_made_is_a_reason(
    tmp_path: Path, attempt: Callable[[Path], object]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable, match="cannot"):
        attempt(tmp_path / "file" / "spool")
