"""A cache on disk: what costs more to make again than to read, within so many bytes.

Nothing here is needed for anything to be right. What is lost, damaged or not written for
want of room is missed and made anew; the folder's contents may be deleted at any time. Keys
name content that never changes, so that nothing in it can be out of date.

All workers of a node share one folder, and what one has put there the others get:

- An entry is a file with a checksum, written under another name and renamed. It is not
  synced: what a power cut tears is found out by the checksum.
- Whoever puts holds a shared lock meanwhile, and takes its bytes off the limit first, so
  that the limit is never exceeded. Whoever finds no room left takes the lock for itself and
  removes what was not asked for longest. Who comes in between does not wait: its entry is
  left out.
"""

import errno
import fcntl
import os
import re
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from zlib import crc32

_KEY: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{3,199}")
_MAGIC: Final = b"hilum-1\n"
_HEADER: Final = struct.Struct("<8sIQ")
_USAGE: Final = struct.Struct("<Q")
#: What a file takes on disk is a multiple of this.
_BLOCK_BYTES: Final = 4096
#: Of the limit, one entry at most: it must not drive out all others.
_LARGEST: Final = 1 / 8
#: How much of the limit is left taken once room was made: it is not made for each entry.
_KEPT: Final = 0.8
#: An entry that was asked for counts as used again after so long; to note each time would
#: make each reading a writing.
_NOTED_SECONDS: Final = 60.0
_PART: Final = ".part"


class Cache:
    """Entries by key. Thread-safe, and safe with other processes on the same folder.

    Nothing raises: a disk that fails is a cache that is empty.

    Parameters
    ----------
    folder
        Is made here if it is missing, and not later: a disk that is unmounted under a node
        must not be taken for an empty one.
    limit_bytes
        What the entries may take on disk, all together; 0: there is no cache.
    reserve_bytes
        Free space of the disk that is for others: nothing is put below it.
    """

    def __init__(self, folder: Path, limit_bytes: int, reserve_bytes: int = 0) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._reserve_bytes = reserve_bytes
        if limit_bytes:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> bytes | None:
        """Return what was put under `key`; None if it is not there, or not any more."""
        path = self._path(key)
        try:
            with path.open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                content = file.read(status.st_size)
        except OSError:
            return None
        value = _value(content)
        with suppress(OSError):
            if value is None:
                path.unlink()
            elif time.time() - status.st_mtime > _NOTED_SECONDS:
                os.utime(path)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`, as long as there is room.

        Parameters
        ----------
        key
            4 to 200 letters, digits, ``.``, ``_`` and ``-``. Its first two characters
            choose a folder: begin with a digest.
        value
            Always the same under the same key.
        """
        size = _on_disk(_HEADER.size + len(value))
        if size > self._limit_bytes * _LARGEST:
            return
        with suppress(OSError):
            if self._free_bytes() < self._reserve_bytes + size:
                return
            if not self._put(key, value, size):
                self._make_room(size)
                self._put(key, value, size)

    def give_way(self) -> None:
        """Remove everything if the disk has less than twice the reserve left."""
        with suppress(OSError):
            if self._free_bytes() < 2 * self._reserve_bytes and self._used():
                self.clear()

    def clear(self) -> None:
        """Remove everything, as what is deleted must not stay here."""
        with suppress(OSError), self._locked(fcntl.LOCK_EX):
            self._remove_down_to(0)

    def _put(self, key: str, value: bytes, size: int) -> bool:
        """Write an entry, or leave it where somebody removes; return False if it has no room."""
        try:
            with self._locked(fcntl.LOCK_SH | fcntl.LOCK_NB):
                path = self._path(key)
                if path.exists():
                    return True
                if not self._take(size):
                    return False
                part = path.with_name(f"{secrets.token_hex(8)}{_PART}")
                path.parent.mkdir(exist_ok=True)
                try:
                    _write(part, value)
                    part.replace(path)
                except OSError:
                    part.unlink(missing_ok=True)
                    raise
        except BlockingIOError:
            pass
        return True

    def _take(self, size: int) -> bool:
        """Take bytes off the limit; return False if they are not there."""
        with self._open("usage") as usage:
            fcntl.flock(usage, fcntl.LOCK_EX)
            known = os.pread(usage, _USAGE.size, 0)
            if len(known) < _USAGE.size:
                return False  # not counted yet
            total = _USAGE.unpack(known)[0] + size
            if total > self._limit_bytes:
                return False
            os.pwrite(usage, _USAGE.pack(total), 0)
        return True

    def _used(self) -> int:
        """Return how many bytes are taken off the limit; 0 if it is not known."""
        with self._open("usage") as usage:
            used = os.pread(usage, _USAGE.size, 0)
        return int(_USAGE.unpack(used)[0]) if len(used) == _USAGE.size else 0

    def _make_room(self, size: int) -> None:
        """Remove what was not used longest, unless somebody else just did."""
        with self._locked(fcntl.LOCK_EX):
            if self._take(size):
                self._take(-size)
            else:
                self._remove_down_to(int(self._limit_bytes * _KEPT) - size)

    def _remove_down_to(self, limit_bytes: int) -> None:
        """Remove the entries not used longest, and what crashes have left. Nobody puts now."""
        entries = []
        for entry in self._files():
            status = entry.stat()
            if entry.name.endswith(_PART):
                Path(entry).unlink(missing_ok=True)
            else:
                entries.append((status.st_mtime, _on_disk(status.st_size), entry.path))
        used = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if used <= limit_bytes:
                break
            Path(path).unlink(missing_ok=True)
            used -= size
        with self._open("usage") as usage:
            os.pwrite(usage, _USAGE.pack(used), 0)

    def _files(self) -> "Iterator[os.DirEntry[str]]":
        with os.scandir(self._folder) as folders:
            below = [folder.path for folder in folders if folder.is_dir(follow_symlinks=False)]
        for path in below:
            with os.scandir(path) as files:
                yield from files

    def _free_bytes(self) -> int:
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with self._open("lock") as lock:
            fcntl.flock(lock, how)
            yield

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        """Have a file of its own opening: locks belong to it, not to the process."""
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"no key of a cache: {key!r}")
        return self._folder / key[:2] / key


def _write(path: Path, value: bytes) -> None:
    header = _HEADER.pack(_MAGIC, crc32(value), len(value))
    with path.open("xb", buffering=0) as file:
        written = os.writev(file.fileno(), (header, value))
    if written < len(header) + len(value):
        raise OSError(errno.ENOSPC, "the disk is full")


def _value(content: bytes) -> bytes | None:
    """Return what an entry's file holds, None if it is not whole."""
    if len(content) < _HEADER.size:
        return None
    magic, checksum, length = _HEADER.unpack_from(content)
    value = content[_HEADER.size :]
    whole = magic == _MAGIC and len(value) == length and crc32(value) == checksum
    return value if whole else None


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
