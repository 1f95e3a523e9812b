"""Shared by the tests of storage: bytes on their way through a real spool."""

import errno
import os
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hilum.core.instance import Origin
from hilum.storage.spool import Spool, SpoolEntry

ORIGIN = Origin("CT1", datetime(2026, 11, 22, 6, 46, 43, 123456, tzinfo=UTC))


def without_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every file system answer like one that knows no extended attributes."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "getxattr", refuse)


def spooled(spool: Spool, data: bytes, origin: Origin = ORIGIN) -> SpoolEntry:
    """Receive `data` in pieces and commit it."""
    middle = len(data) // 2
    with spool.create(origin) as writer:
        writer.write(data[:middle])
        writer.write(data[middle:])
        return writer.commit()


def received(folder: Path) -> list[Path]:
    """Files in the spool folders at and below `folder`, finished or not, in order of their names.

    Without what a process keeps for itself: its lock, and the empty files made ahead.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):  # gone meanwhile
            stock = path.suffix == ".slot" and path.stat().st_size == 0 and not is_committed(path)
            if path.is_file() and path.name[0] != "." and not stock:
                found.append(path)
    return found


def is_committed(path: Path) -> bool:
    """Whether a file in the spool was committed, as docs/storage-format.md says to look."""
    if path.suffix == ".slot":
        return path.stat().st_mode & 0o222 == 0
    return path.suffix != ".part"


def sha256sum(path: Path) -> str:
    """The digest as coreutils computes it."""
    done = subprocess.run(["sha256sum", "--zero", path], check=True, capture_output=True, text=True)
    return done.stdout.split(" ")[0]
