"""Spools for the tests of what is written into them and found in them again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hilum.storage.marking import can_mark
from hilum.storage.spool import Spool
from tests.contract.spooling import without_attributes


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
