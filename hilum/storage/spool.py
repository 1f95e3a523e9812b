"""The spool: where instances arrive, and what is replayed after a crash.

A file in the spool is being received, or committed. A committed file is whole and survives a
loss of power: its sender may be told so. It stays until it is stored and indexed, so that a
crash leaves something to replay. How a file is committed depends on what the file system can
do (`hilum.storage.committing`); what a crash leaves is for `hilum.storage.recovery`.
``docs/storage-format.md`` goes through the crash points one by one.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from hilum.core.errors import StorageFull
from hilum.core.instance import Blob, Origin
from hilum.storage.committing import Committing
from hilum.storage.disk import as_domain_error, faults, probe, require_space
from hilum.storage.durable import start_writing, write_all
from hilum.storage.entry import SpoolEntry
from hilum.storage.lock import FolderLock
from hilum.storage.marking import Marking, can_mark
from hilum.storage.recovery import recover
from hilum.storage.renaming import Renaming

__all__ = ["Spool", "SpoolEntry", "SpoolWriter"]

# How much of a large object may pile up in memory before the disk is set to work on it,
# so that the final sync, which the sender waits for, finds most of it done.
_STRIDE_BYTES: Final = 32 << 20


class SpoolWriter:
    """One file being received. Leaving its context without `commit` aborts it.

    For one thread at a time. After a fault in any method the writer is aborted: nothing is
    left on disk, and it cannot be used again.
    """

    def __init__(self, committing: Committing, origin: Origin, reserve_bytes: int) -> None:
        self.size_bytes = 0
        """Bytes written so far."""
        self._committing = committing
        self._origin = origin
        self._reserve_bytes = reserve_bytes
        self._hasher = hashlib.sha256()
        self._pushed_bytes = 0
        self._closed = False
        self._draft = committing.begin(origin)
        self._file = self._draft.file
        self.path = self._draft.path
        """Where the bytes are; where they stay after `commit`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. It is not kept: the caller may reuse its buffer.

        Raises
        ------
        StorageFull
            The disk, a quota, or all but the reserve is used up.
        StorageUnavailable
            The disk does not take it for another reason.
        """
        view = memoryview(data).cast("B")
        self._hasher.update(view)
        try:
            write_all(self._file, view)
            self.size_bytes += len(view)
            if self.size_bytes - self._pushed_bytes >= _STRIDE_BYTES:
                self._push()
        except OSError as error:
            self.abort()
            raise as_domain_error(error, "write to the spool") from error
        except StorageFull:
            self.abort()
            raise

    def _push(self) -> None:
        """Look at the room left, and have the disk start on what memory holds."""
        require_space(self.path.parent, self._reserve_bytes)
        start, self._pushed_bytes = self._pushed_bytes, self.size_bytes
        # Linux starts to write the range's dirty pages back and does not wait for them.
        os.posix_fadvise(
            self._file.fileno(), start, self._pushed_bytes - start, os.POSIX_FADV_DONTNEED
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what is written so far."""
        return self._hasher.hexdigest()

    def head(self, size: int) -> bytes:
        """Return the first `size` bytes, or what there is of them."""
        with faults("read from the spool"):
            return os.pread(self._file.fileno(), size, 0)

    @property
    def file(self) -> BinaryIO:
        """What is written, for reads by position before `commit`; not to be moved or closed."""
        return self._file

    def open_for_reading(self) -> BinaryIO:
        """Open what is written for reading, from its start.

        The file may be read to its end after `commit`, too; the caller closes it.

        Raises
        ------
        StorageUnavailable
            It cannot be opened, for instance because the writer was aborted.
        """
        with faults("read from the spool"):
            return self.path.open("rb")

    def start_sync(self) -> None:
        """Have the disk write while the caller does something else; `commit` comes later."""
        start_writing(self._file.fileno())

    def commit(self) -> SpoolEntry:
        """Make what is written last.

        Returns
        -------
        SpoolEntry
            Durable: the sender may be told that its bytes are safe.

        Raises
        ------
        StorageFull
            A file system that allocates late finds no room.
        StorageUnavailable
            The disk failed. The file is gone and not synced again: after a failed sync
            Linux takes the lost pages for clean, and a second one would succeed.
        """
        blob = Blob(self._hasher.hexdigest(), self.size_bytes)
        try:
            self.path = self._committing.commit(self._draft, blob, self._origin)
            self._file.close()
        except OSError as error:
            self.abort()
            raise as_domain_error(error, "commit a file to the spool") from error
        self._closed = True
        return SpoolEntry(self.path, blob, self._origin)

    def abort(self) -> None:
        """Drop the file; nothing happens after `commit` or another `abort`."""
        if self._closed:
            return
        self._closed = True
        # Best effort, often because the disk has just failed: what stays behind was never
        # acknowledged, and the next start deals with it.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()


class Spool:
    """A spool folder, owned by this process. Thread-safe.

    Parameters
    ----------
    root
        The folder; made if missing. Workers of one node have one each.
    reserve_bytes
        Room on the disk that receiving leaves alone, so that what is received can still
        be indexed. Checked as a file begins and every 32 MiB: concurrent writers may
        overshoot by that much each.

    Raises
    ------
    InUse
        Another process owns the folder.
    StorageUnavailable
        It cannot be made or written.
    """

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        # Names of this run's files have it: recovery tells them from leftovers.
        self._run = secrets.token_hex(4)
        self._lock = FolderLock(root)
        way = Marking if can_mark(root) else Renaming
        self._committing: Committing = way(root, self._run)

    def create(self, origin: Origin) -> SpoolWriter:
        """Begin a file for an instance that arrives from `origin`.

        Raises
        ------
        StorageFull
            The disk has no more room than the reserve.
        StorageUnavailable
            No file can be created.
        """
        try:
            require_space(self._root, self._reserve_bytes)
            return SpoolWriter(self._committing, origin, self._reserve_bytes)
        except OSError as error:
            raise as_domain_error(error, "create a file in the spool") from error

    def recover(self) -> Iterator[SpoolEntry]:
        """Yield what is committed but not yet stored and indexed, oldest first.

        Files that another run left unfinished are deleted: nobody was told that they
        arrived. The list is taken at the first step; each file is hashed as it is
        yielded. One that is not what its mark says is reported, given a name that ends in
        ``.torn``, and never yielded. A file whose name was not given here has the source
        ``unknown`` and its time of modification; one that cannot be read is reported and
        left alone. Names that begin with a dot are the lock's and the file system's own.

        Raises
        ------
        StorageUnavailable
            The folder cannot be listed.
        """
        return recover(self._root, self._run)

    def check(self) -> None:
        """Raise if nothing can be received at the moment.

        Raises
        ------
        StorageFull, StorageUnavailable
            With the reason.
        """
        probe(self._root, self._reserve_bytes)

    def close(self) -> None:
        """Give the folder free for another process. Idempotent."""
        self._committing.close()
        self._lock.release()
