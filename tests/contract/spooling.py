"""Shared by the tests of storage: bytes on their way through a real spool."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from hilum.core.instance import Origin
from hilum.storage.spool import Spool, SpoolEntry

ORIGIN = Origin("CT1", datetime(2026, 11, 22, 6, 46, 43, 123456, tzinfo=UTC))


def spooled(spool: Spool, data: bytes, origin: Origin = ORIGIN) -> SpoolEntry:
    """Receive `data` in pieces and commit it."""
    middle = len(data) // 2
    with spool.create(origin) as writer:
        writer.write(data[:middle])
        writer.write(data[middle:])
        return writer.commit()


def sha256sum(path: Path) -> str:
    """The digest as coreutils computes it."""
    done = subprocess.run(["sha256sum", "--zero", path], check=True, capture_output=True, text=True)
    return done.stdout.split(" ")[0]
