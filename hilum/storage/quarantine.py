"""The quarantine: what was received and cannot be stored as an instance, with the reason.

Nothing received is thrown away silently. The name of each file tells when it came, and from
whom; beside it lies a JSON file that says who sent it, when, and what is wrong with it. The
node never deletes or reads them again: a person looks at them and clears them
(``docs/storage-format.md``), and the number of files and bytes are there to be watched.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from hilum.core.instance import Blob, Origin
from hilum.storage.disk import faults
from hilum.storage.durable import create_file, link_or_copy, make_folder, sync_folder, write_all
from hilum.storage.spool import SpoolEntry

log = structlog.get_logger(__name__)

_FILE: Final = ".dcm"
_SIDE: Final = ".json"
_PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file in quarantine and what is known of it."""

    path: Path
    blob: Blob
    origin: Origin
    code: str
    """Kind of the error (`hilum.core.errors`), such as ``not-dicom``."""
    reason: str
    """The error in words, without a patient's attributes."""


class Quarantine:
    """A quarantine folder. Thread-safe.

    Parameters
    ----------
    root
        The folder; made if missing.

    Raises
    ------
    StorageUnavailable
        The folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with faults(f"open the quarantine {root}"):
            make_folder(root)

    def keep(self, entry: SpoolEntry, reason: str, code: str) -> Path:
        """Move a committed file from the spool into the quarantine.

        Durable when it returns. The file leaves the spool last: after a crash in between
        it is replayed, found wanting again, and kept under the same name.

        Parameters
        ----------
        entry
            The file.
        reason
            What is wrong with it, for a person; no patient's attributes.
        code
            The error's code.

        Returns
        -------
        pathlib.Path
            Where the file is now. The side file is the same path with ``.json`` added.

        Raises
        ------
        StorageFull, StorageUnavailable
            The file is still in the spool.
        """
        # A stranger's file in the spool may have any name, even that of a side file.
        name = entry.name.removesuffix(_FILE) + _FILE
        path = self._root / name
        part = self._root / (name + _PART)
        side = {
            "received_at": entry.origin.received_at.astimezone(UTC).isoformat(),
            "source": entry.origin.source,
            "digest": entry.blob.digest,
            "size_bytes": entry.blob.size_bytes,
            "code": code,
            "reason": reason,
        }
        with faults("put a file into quarantine"):
            part.unlink(missing_ok=True)
            with create_file(part) as file:
                write_all(file, memoryview(json.dumps(side, indent=2).encode() + b"\n"))
                os.fdatasync(file.fileno())
            part.replace(_side_of(path))
            link_or_copy(entry.path, path, part, entry.blob)
            sync_folder(self._root)
        entry.remove()
        return path

    def entries(self) -> Iterator[QuarantinedFile]:
        """Yield what is in quarantine, oldest first.

        A file whose side file is missing or was edited beyond recognition is reported
        and passed over.

        Raises
        ------
        StorageUnavailable
            The folder cannot be listed.
        """
        for path in sorted(self._files()):
            try:
                yield _read_side(path)
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("quarantined file without a usable side file", file=path.name)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._files())

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, without their side files."""
        return sum(self._files().values())

    def _files(self) -> dict[Path, int]:
        """Return the files with their sizes."""
        with faults("list the quarantine"), os.scandir(self._root) as found:
            return {
                Path(entry.path): entry.stat().st_size
                for entry in found
                if entry.name.endswith(_FILE)
            }


def _side_of(path: Path) -> Path:
    return path.with_name(path.name + _SIDE)


def _read_side(path: Path) -> QuarantinedFile:
    side = json.loads(_side_of(path).read_bytes())
    return QuarantinedFile(
        path,
        Blob(side["digest"], side["size_bytes"]),
        Origin(side["source"], datetime.fromisoformat(side["received_at"])),
        side["code"],
        side["reason"],
    )
