"""The spool folders of one node: one for each process that receives.

They are ``spool/0``, ``spool/1`` and so on, and each belongs to whoever holds its lock. A
process takes the first that is free. What a dead process leaves in its folder is adopted
by whichever process looks first: the lock sees to it that nothing is replayed twice at a
time, and nobody has to know who died, or how many processes there used to be.

The folder ``spool`` itself is held by the node as a whole.
"""

import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from hilum.storage.disk import faults
from hilum.storage.durable import make_folder, sync_folder
from hilum.storage.lock import FolderLock, InUse
from hilum.storage.recovery import holds_work
from hilum.storage.spool import Spool

_GLANCE_SECONDS: Final = 0.05


def claim(root: Path, patience_seconds: float = 10.0) -> FolderLock:
    """Hold the spool folders for one node, and bring old files to where they are found.

    Parameters
    ----------
    root
        The folder ``spool``; made if missing.
    patience_seconds
        How long processes of a node that was killed may take to be gone.

    Returns
    -------
    FolderLock
        To be released when the node is done.

    Raises
    ------
    InUse
        Another node holds them, or what is left of one.
    StorageUnavailable
        They cannot be read or written.
    """
    lock = FolderLock(root)
    try:
        _wait_until_free(root, time.monotonic() + patience_seconds)
        _move_flat_files(root)
    except BaseException:
        lock.release()
        raise
    return lock


def _wait_until_free(root: Path, deadline: float) -> None:
    """Wait for the processes of an earlier node: the kernel is killing them."""
    for folder in _numbered(root):
        while True:
            try:
                FolderLock(folder).release()
                break
            except InUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_GLANCE_SECONDS)


def _move_flat_files(root: Path) -> None:
    """Move what earlier versions kept in ``spool`` itself to ``spool/0``."""
    with faults("sort the spool"):
        flat = [path for path in root.iterdir() if path.is_file() and path.name[0] != "."]
        if not flat:
            return
        first = root / "0"
        make_folder(first)
        for path in flat:
            path.rename(first / path.name)
        sync_folder(first)
        sync_folder(root)


class Spools:
    """The spool folders, as one of the node's processes sees them. Thread-safe.

    Parameters
    ----------
    root
        The folder ``spool``.
    reserve_bytes
        Of each `Spool`.
    """

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        # Locks belong to the process: it must not open a lock file a second time.
        self._lock = threading.Lock()
        self._held: dict[Path, Spool] = {}

    def take(self) -> Spool:
        """Return the first folder that nobody holds.

        Raises
        ------
        StorageUnavailable
            It cannot be made or written.
        """
        for number in count():
            folder = self._root / str(number)
            with self._lock:
                spool = None if folder in self._held else self._try(folder)
            if spool is not None:
                return spool
        raise AssertionError("numbers do not end")

    def adopt(self) -> Iterator[Spool]:
        """Yield the folders that hold something and that nobody holds: somebody died.

        Raises
        ------
        StorageUnavailable
            They cannot be read.
        """
        for folder in _numbered(self._root):
            with self._lock:
                free = folder not in self._held and holds_work(folder)
                spool = self._try(folder) if free else None
            if spool is not None:
                yield spool

    def let_go(self, own: Spool) -> None:
        """Release the adopted folders that are empty by now; `own` is kept.

        Raises
        ------
        StorageUnavailable
            They cannot be read.
        """
        with self._lock:
            for folder, spool in list(self._held.items()):
                if spool is not own and not holds_work(folder):
                    del self._held[folder]
                    spool.close()

    def close(self) -> None:
        """Release every folder. Idempotent."""
        with self._lock:
            while self._held:
                self._held.popitem()[1].close()

    def _try(self, folder: Path) -> Spool | None:
        try:
            spool = Spool(folder, self._reserve_bytes)
        except InUse:
            return None
        self._held[folder] = spool
        return spool


def _numbered(root: Path) -> list[Path]:
    with faults("list the spool folders"):
        found = [path for path in root.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))
