"""Recovery: what a spool folder holds after a crash, and what becomes of each file.

``docs/storage-format.md`` goes through the crash points one by one.
"""

import hashlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import structlog

from hilum.core.instance import Blob, Origin
from hilum.storage.disk import faults
from hilum.storage.durable import READ_ONLY
from hilum.storage.entry import SpoolEntry
from hilum.storage.mark import Mark, origin_unknown
from hilum.storage.names import SlotName, SpoolName
from hilum.storage.renaming import PART

log = structlog.get_logger(__name__)

#: Ends the name of a file that is not what its mark says.
TORN: Final = ".torn"
_ANY_WRITER: Final = 0o222


def recover(folder: Path, run: str) -> Iterator[SpoolEntry]:
    """Yield what is committed in a spool folder, oldest first; see `Spool.recover`.

    Parameters
    ----------
    folder
        The spool folder.
    run
        Whose unfinished files are being written at this moment.
    """
    for path in _listed(folder, run):
        try:
            entry = _examine(path)
        except FileNotFoundError:
            continue  # promoted since the list was taken
        except OSError:
            log.exception("spool file unreadable, left alone", file=path.name)
            continue
        if entry is not None:
            yield entry


def holds_work(folder: Path) -> bool:
    """Return whether there is anything in a spool folder for `recover` to deal with.

    Raises
    ------
    StorageUnavailable
        The folder cannot be listed.
    """
    with faults("list a spool folder"), os.scandir(folder) as found:
        return any(
            not entry.name.startswith(".") and not entry.name.endswith(TORN) for entry in found
        )


def _listed(folder: Path, run: str) -> list[Path]:
    """Return what is to be examined, committed files in the order of their arrival."""
    with faults("list the spool"), os.scandir(folder) as found:
        paths = [Path(entry.path) for entry in found if not entry.name.startswith(".")]
    ordered = [(order, path) for path in paths if (order := _order(path, run)) is not None]
    return [path for _, path in sorted(ordered)]


def _order(path: Path, run: str) -> str | None:
    """Return by what `path` is sorted; None if it is being written at this moment."""
    slot = SlotName.parse(path.name)
    if slot is None:
        name = SpoolName.parse(path.name.removesuffix(PART))
        being_written = name is not None and name.run == run and path.name.endswith(PART)
        return None if being_written else path.name
    try:
        mark = Mark.of(path)
    except OSError:
        return path.name  # whatever it is, a closer look meets it again
    if mark is None:
        return None if slot.run == run else path.name
    return str(SpoolName(mark.origin, slot.run, slot.number))


def _examine(path: Path) -> SpoolEntry | None:
    """Return the entry at `path`, hashed anew; None if there is nothing to replay."""
    if path.name.endswith(TORN):
        return None
    if path.name.endswith(PART):
        _discard(path)
        return None
    with FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        if SlotName.parse(path.name) is not None:
            return _examine_slot(path, file)
        name = SpoolName.parse(path.name)
        return SpoolEntry(path, _hashed(file), name.origin if name else _unknown(file))


def _examine_slot(path: Path, file: FileIO) -> SpoolEntry | None:
    descriptor = file.fileno()
    mark, mode = Mark.of(descriptor), os.fstat(descriptor).st_mode
    if mark is None and mode & _ANY_WRITER:
        _discard(path)
        return None
    if mode & _ANY_WRITER:
        os.fchmod(descriptor, mode & READ_ONLY)
    # The crash may have come before the sync that the mark was waiting for. And what is
    # compared has to be what the disk holds, not what memory still has of a failed sync.
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    blob = _hashed(file)
    if mark is None:  # read-only, so it was committed; then copied without its attributes
        return SpoolEntry(path, blob, _unknown(file))
    if blob == mark.blob:
        return SpoolEntry(path, blob, mark.origin)
    _set_aside(path, mark, blob)
    return None


def _set_aside(path: Path, mark: Mark, found: Blob) -> None:
    """Keep a file that is not what its mark says where a person finds it."""
    torn = path.rename(path.with_suffix(TORN))
    log.warning(
        "spool file is not what was committed, set aside",
        file=torn.name,
        source=mark.origin.source,
        received_at=mark.origin.received_at.isoformat(),
        expected=mark.blob.digest,
        expected_bytes=mark.blob.size_bytes,
        found=found.digest,
        found_bytes=found.size_bytes,
    )


def _discard(path: Path) -> None:
    """Delete a file that was not committed: nobody was told that it arrived."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        log.exception("unfinished spool file cannot be deleted", file=path.name)


def _hashed(file: FileIO) -> Blob:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(digest, os.fstat(file.fileno()).st_size)


def _unknown(file: FileIO) -> Origin:
    return origin_unknown(os.fstat(file.fileno()))
