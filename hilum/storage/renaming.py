"""Committing by a name: the file is synced, renamed, and its folder synced."""

import itertools
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hilum.core.instance import Blob, Origin
from hilum.storage.committing import Draft
from hilum.storage.durable import create_file
from hilum.storage.names import SpoolName
from hilum.storage.syncing import SharedSync

#: Ends the name of a file until it is committed.
PART: Final = ".part"


class Renaming:
    """A `hilum.storage.committing.Committing` on any file system.

    Files that are committed at the same time share the sync of their folder.

    Parameters
    ----------
    folder
        The spool folder.
    run
        Is part of the names of files.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._numbers = itertools.count()
        self._names = SharedSync(folder)

    def begin(self, origin: Origin) -> Draft:
        """See `Committing.begin`."""
        name = SpoolName(origin, self._run, next(self._numbers))
        path = self._folder / f"{name}{PART}"
        return Draft(path, create_file(path))

    def commit(self, draft: Draft, _blob: Blob, _origin: Origin) -> Path:
        """See `Committing.commit`: no file has a committed name before its bytes last."""
        os.fdatasync(draft.file.fileno())
        committed = draft.path.rename(draft.path.with_suffix(""))
        try:
            self._names.sync()
        except OSError:
            with suppress(OSError):
                committed.unlink()
            raise
        return committed

    def close(self) -> None:
        """See `Committing.close`: nothing is made ahead."""
