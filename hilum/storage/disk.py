"""What a disk can refuse, in the words of the error tree, and how much room it has left."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hilum.core.errors import StorageFull, StorageUnavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def as_domain_error(error: OSError, action: str) -> StorageFull | StorageUnavailable:
    """Return the domain error that says what `error` means for the sender.

    Parameters
    ----------
    error
        From a system call on the spool, the store or the quarantine.
    action
        What was being done, for the message: ``"write to the spool"``.
    """
    kind = StorageFull if error.errno in _FULL else StorageUnavailable
    return kind(f"cannot {action}: {error.strerror or error}")


@contextmanager
def faults(action: str) -> Iterator[None]:
    """Translate each `OSError` of the block (see `as_domain_error`)."""
    try:
        yield
    except OSError as error:
        raise as_domain_error(error, action) from error


def require_space(folder: Path, reserve_bytes: int) -> None:
    """Raise unless the file system of `folder` has more than `reserve_bytes` left.

    Counted is what an unprivileged process may still use; blocks promised to data that
    is still in memory are already taken off by the kernel.

    Raises
    ------
    StorageFull
        Less is left than the reserve.
    OSError
        The file system cannot be asked.
    """
    free = free_bytes(folder)
    if free < reserve_bytes:
        raise StorageFull(f"only {free} bytes are free, {reserve_bytes} are kept in reserve")


def free_bytes(folder: Path) -> int:
    """Return what an unprivileged process may still use on the file system of `folder`.

    Raises
    ------
    OSError
        The file system cannot be asked.
    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def probe(folder: Path, reserve_bytes: int = 0) -> None:
    """Write one byte under `folder`, into a file without a name, and let it go again.

    Permissions, a read-only mount, a vanished one, a quota and a dying disk all answer
    an actual write; no inspection of flags finds every one of them.

    Raises
    ------
    StorageFull
        The byte does not fit, or the reserve is touched.
    StorageUnavailable
        Nothing can be written there.
    """
    with faults(f"write under {folder}"):
        require_space(folder, reserve_bytes)
        with tempfile.TemporaryFile(dir=folder, prefix=".probe-", buffering=0) as file:
            file.write(b"\0")
