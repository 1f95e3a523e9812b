"""How files of the spool are begun and committed: what every way of it has to do.

`hilum.storage.marking` is the way of a file system with extended attributes,
`hilum.storage.renaming` that of one without.
"""

from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from hilum.core.instance import Blob, Origin


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is being received."""

    path: Path
    file: FileIO
    """Open for reading and writing, and empty at first."""


class Committing(Protocol):
    """A way to commit files. Thread-safe; every method raises `OSError`."""

    def begin(self, origin: Origin) -> Draft:
        """Return a new file for what arrives from `origin`."""
        ...

    def commit(self, draft: Draft, blob: Blob, origin: Origin) -> Path:
        """Make a file that is written survive a loss of power, as committed.

        After an error it may or may not; the caller removes it.

        Returns
        -------
        pathlib.Path
            Where the file is from now on.
        """
        ...

    def close(self) -> None:
        """Leave nothing behind that was not begun. Idempotent."""
        ...
