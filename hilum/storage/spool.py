"""The spool: where instances arrive, and what is replayed after a crash.

A file in the spool is in one of two states, and its name tells which::

    20261122T064643.123456Z-9c2f41d000000007-CT1.dcm.part    being written
    20261122T064643.123456Z-9c2f41d000000007-CT1.dcm         committed

A committed file is whole and survives a loss of power: its sender may be told so. It
stays until it is stored and indexed, so that a crash leaves something to replay.
``docs/storage-format.md`` goes through the crash points one by one.
"""

import hashlib
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import structlog

from hilum.core.errors import StorageFull
from hilum.core.instance import Blob, Origin
from hilum.storage.disk import as_domain_error, faults, probe, require_space
from hilum.storage.durable import create_file, start_writing, write_all
from hilum.storage.lock import FolderLock
from hilum.storage.names import SpoolName
from hilum.storage.syncing import SharedSync

log = structlog.get_logger(__name__)

_PART: Final = ".part"
# Source of a file that did not get its name here.
_UNKNOWN: Final = "unknown"
# How much of a large object may pile up in memory before the disk is set to work on it,
# so that the final sync, which the sender waits for, finds most of it done.
_STRIDE_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A committed file of the spool."""

    path: Path
    blob: Blob
    origin: Origin

    def remove(self) -> None:
        """Take the file out of the spool: it is stored and indexed. Idempotent.

        The removal is not synced. An entry that a loss of power brings back is replayed
        once more, which changes nothing.

        Raises
        ------
        StorageUnavailable
            It cannot be removed.
        """
        with faults("remove a file from the spool"):
            self.path.unlink(missing_ok=True)


class SpoolWriter:
    """One file being received. Leaving its context without `commit` aborts it.

    For one thread at a time, except that the written part may be read, through
    `open_for_reading`, while another thread is in `sync`. After a fault in any method
    the writer is aborted: nothing is left on disk, and it cannot be used again.
    """

    def __init__(
        self, folder: Path, names: SharedSync, name: str, origin: Origin, reserve_bytes: int
    ) -> None:
        self.path = folder / f"{name}{_PART}"
        """Where the bytes are; the committed name after `commit`."""
        self.size_bytes = 0
        """Bytes written so far."""
        self._names = names
        self._name = name
        self._origin = origin
        self._reserve_bytes = reserve_bytes
        self._hasher = hashlib.sha256()
        self._pushed_bytes = 0
        self._synced_bytes = -1
        self._closed = False
        self._file = create_file(self.path)

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

        The file may be read during and after `sync` and `commit`; the caller closes it.

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

    def sync(self) -> None:
        """Bring what is written onto the disk. `commit` does it if nobody did before.

        Raises
        ------
        StorageFull
            A file system that allocates late finds no room.
        StorageUnavailable
            The disk failed. The file is dropped and not synced again: after a failed
            sync Linux takes the lost pages for clean, and a second one would succeed.
        """
        size_bytes = self.size_bytes
        if self._synced_bytes == size_bytes:
            return
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self.abort()
            raise as_domain_error(error, "sync a file of the spool") from error
        self._synced_bytes = size_bytes

    def commit(self) -> SpoolEntry:
        """Give the file its committed name.

        Writers that commit at the same time share the sync of their folder.

        Returns
        -------
        SpoolEntry
            Durable: the sender may be told that its bytes are safe.

        Raises
        ------
        StorageFull, StorageUnavailable
            The file is not committed, and gone.
        """
        self.sync()
        committed = self.path.with_name(self._name)
        try:
            self._file.close()
            self.path = self.path.rename(committed)
            self._names.sync()
        except OSError as error:
            self.abort()
            raise as_domain_error(error, "commit a file to the spool") from error
        self._closed = True
        blob = Blob(self._hasher.hexdigest(), self.size_bytes)
        return SpoolEntry(committed, blob, self._origin)

    def abort(self) -> None:
        """Drop the file; nothing happens after `commit` or another `abort`."""
        if self._closed:
            return
        self._closed = True
        # Best effort, often because the disk has just failed: a part that stays behind
        # was never acknowledged, and the next start deletes it.
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
        # Names of this run's files begin alike: recovery tells them from leftovers.
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._lock = FolderLock(root)
        self._names = SharedSync(root)

    def create(self, origin: Origin) -> SpoolWriter:
        """Begin a file for an instance that arrives from `origin`.

        Raises
        ------
        StorageFull
            The disk has no more room than the reserve.
        StorageUnavailable
            No file can be created.
        """
        name = str(SpoolName(origin, self._run, next(self._numbers)))
        with faults("create a file in the spool"):
            require_space(self._root, self._reserve_bytes)
            return SpoolWriter(self._root, self._names, name, origin, self._reserve_bytes)

    def recover(self) -> Iterator[SpoolEntry]:
        """Yield what is committed but not yet stored and indexed, oldest first.

        Files that another run left unfinished are deleted: nobody was told that they
        arrived. The list is taken at the first step; each file is hashed as it is
        yielded. A file whose name was not given here has the source ``unknown`` and its
        time of modification; one that cannot be read is reported and left alone. Names
        that begin with a dot are the lock's and the file system's own.

        Raises
        ------
        StorageUnavailable
            The folder cannot be listed.
        """
        with faults("list the spool"), os.scandir(self._root) as found:
            names = sorted(entry.name for entry in found if not entry.name.startswith("."))
        for name in names:
            path = self._root / name
            if name.endswith(_PART):
                self._discard(path)
                continue
            try:
                entry = _read_entry(path)
            except FileNotFoundError:
                continue  # promoted since the list was taken
            except OSError:
                log.exception("spool file unreadable, left alone", file=name)
                continue
            yield entry

    def _discard(self, part: Path) -> None:
        name = SpoolName.parse(part.name.removesuffix(_PART))
        if name is not None and name.run == self._run:
            return  # being written at this moment
        try:
            part.unlink(missing_ok=True)
        except OSError:
            log.exception("unfinished spool file cannot be deleted", file=part.name)

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
        self._lock.release()


def _read_entry(path: Path) -> SpoolEntry:
    """Return the entry at `path`, hashed anew."""
    with FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        status = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = SpoolName.parse(path.name)
    if name is not None:
        origin = name.origin
    else:
        origin = Origin(_UNKNOWN, datetime.fromtimestamp(status.st_mtime, UTC))
    return SpoolEntry(path, Blob(digest, status.st_size), origin)
