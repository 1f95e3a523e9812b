"""Making names last: the few steps after which a file survives a loss of power.

POSIX gives a file's bytes and its name separate lives. Bytes last once the file is
synced; a name lasts once the folder that holds it is synced; and a folder is itself a
name in its parent. Everything in this room that promises durability is made of these.
Linux is assumed: elsewhere ``fsync`` may promise less.
"""

import ctypes
import errno
import hashlib
import os
from io import FileIO
from pathlib import Path
from typing import Final

from hilum.core.errors import Corrupt
from hilum.core.instance import Blob

# For syncfs(2) and sync_file_range(2), which `os` does not have.
_libc: Final = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE: Final = 2
#: Stored bytes never change, so nobody may write them. The umask takes more away.
READ_ONLY: Final = 0o444
_WRITABLE: Final = 0o644
_CHUNK_BYTES: Final = 1 << 20
# Answers of link(2) after which a copy still does it: the name is taken, it lies on
# another file system, or this one has no (more) hard links for us.
_COPY_INSTEAD: Final = frozenset(
    {errno.EEXIST, errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
)


def create_file(path: Path) -> FileIO:
    """Create `path` as a read-only file and return the one handle that may write it.

    Raises
    ------
    OSError
        It cannot be created, or exists already.
    """
    return FileIO(path, "x+", opener=lambda name, flags: os.open(name, flags, READ_ONLY))


def create_slot(path: Path) -> None:
    """Create `path` empty, as a file that its owner may write and mark: not yet whole.

    Linux asks the mode of a file, not the descriptor, who may set an extended attribute.

    Raises
    ------
    OSError
        It cannot be created, or exists already.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _WRITABLE))


def start_writing(descriptor: int) -> None:
    """Have the disk begin with what a file has in memory, and do not wait for it.

    Promises nothing: a sync that follows has less left to wait for, and tells of faults.
    """
    whole = ctypes.c_int64(0)
    _libc.sync_file_range(descriptor, whole, whole, _SYNC_FILE_RANGE_WRITE)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last: those added, changed and removed until now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Make every name and byte on the file system of `folder` last.

    One flush of the disk instead of one a folder, but it waits for what others have written
    too: for many folders at once, where no sender waits for the answer.

    Raises
    ------
    OSError
        Something could not be written (Linux 5.8 and later tell).
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents; their names last when this returns."""
    missing = [folder, *folder.parents]
    while missing and missing[-1].is_dir():
        missing.pop()
    for path in reversed(missing):
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError:  # "File exists" would leave one wondering what is wrong with it
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        sync_folder(path.parent)


def link_or_copy(source: Path, target: Path, part: Path, blob: Blob) -> None:
    """Give the synced file `source` the further name `target`, whole or not at all.

    A hard link where the file system can; else, or where `target` holds something else,
    a synced copy that takes its place. The name lasts after its folder is synced.

    Parameters
    ----------
    part
        Where a copy is written, on the file system of `target`; gone afterwards.
    blob
        What `source` must contain.

    Raises
    ------
    Corrupt
        A copy came out different from `blob`; `target` is as it was.
    OSError
        A file cannot be read or written; `target` is as it was.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        _copy(source, target, part, blob)


def _copy(source: Path, target: Path, part: Path, blob: Blob) -> None:
    hasher = hashlib.sha256()
    try:
        with source.open("rb", buffering=0) as original, create_file(part) as copy:
            while chunk := original.read(_CHUNK_BYTES):
                hasher.update(chunk)
                write_all(copy, memoryview(chunk))
            if hasher.hexdigest() != blob.digest:
                raise Corrupt(f"the copy of {blob.digest} came out different")
            os.fdatasync(copy.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_all(file: FileIO, view: memoryview) -> None:
    """Write every byte of `view`: one system call may take less than it was given."""
    while view:
        view = view[file.write(view) :]
