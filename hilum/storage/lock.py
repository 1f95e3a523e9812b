"""A folder's lock: one process at a time, and nobody after the process is gone."""

import fcntl
import os
import weakref
from pathlib import Path
from typing import Final

from hilum.core.errors import StorageUnavailable
from hilum.storage.disk import faults
from hilum.storage.durable import make_folder

_LOCK: Final = ".lock"


class InUse(StorageUnavailable):
    """Another process holds the folder."""


class FolderLock:
    """A folder, held by this process.

    Parameters
    ----------
    folder
        Made if missing; the file ``.lock`` in it stays when the lock is gone.

    Raises
    ------
    InUse
        Another process holds it.
    StorageUnavailable
        The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        with faults(f"open the folder {folder}"):
            make_folder(folder)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._release = weakref.finalize(self, os.close, lock)
        try:
            # A record lock and no flock: it goes with this very process, and a helper
            # process forked from it does not keep it alive.
            with faults(f"lock the folder {folder}"):
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except StorageUnavailable as error:
            self.release()
            if isinstance(error.__cause__, BlockingIOError | PermissionError):
                raise InUse(
                    f"the data directory is in use by another node: {folder} is locked"
                ) from error
            raise

    def release(self) -> None:
        """Give the folder free for another process. Idempotent."""
        self._release()
