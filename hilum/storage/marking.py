"""Committing by a mark: one sync an instance, of its own file and of no folder."""

import errno
import os
import tempfile
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from hilum.core.instance import Blob, Origin
from hilum.storage.committing import Draft
from hilum.storage.durable import READ_ONLY
from hilum.storage.mark import Mark
from hilum.storage.stock import Stock


class Marking:
    """A `hilum.storage.committing.Committing` on a file system with extended attributes.

    Parameters
    ----------
    folder
        The spool folder.
    run
        Begins the names of files.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._stock = Stock(folder, run)

    def begin(self, _origin: Origin) -> Draft:
        """See `Committing.begin`: a file of the stock."""
        while True:
            path = self._stock.take()
            try:
                return Draft(path, FileIO(path, "r+"))
            except FileNotFoundError:
                continue  # swept away by other hands; with the folder, the stock says so

    def commit(self, draft: Draft, blob: Blob, origin: Origin) -> Path:
        """See `Committing.commit`: the mark, then one sync of it and all bytes."""
        descriptor = draft.file.fileno()
        status = os.fstat(descriptor)
        if status.st_nlink == 0:  # a file nobody can find is not kept, however well synced
            raise FileNotFoundError(errno.ENOENT, "the file was deleted while it was received")
        Mark(blob, origin).set(descriptor)
        os.fchmod(descriptor, status.st_mode & READ_ONLY)
        os.fsync(descriptor)  # and no fdatasync, which may leave the mark behind
        return draft.path

    def close(self) -> None:
        """See `Committing.close`."""
        self._stock.close()


def can_mark(folder: Path) -> bool:
    """Return whether files in `folder` can be marked."""
    mark = Mark(Blob("0" * 64, 0), Origin("", datetime.now(UTC)))
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".probe-") as file:
            mark.set(file.fileno())
    except OSError:
        return False  # in doubt, the way that every file system knows
    return True
