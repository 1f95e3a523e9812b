"""The first start of a `mongod` on a folder.

One that is ended while it makes its first files leaves a folder on which none starts again:
"missing featureCompatibilityVersion document". Nobody has been able to store anything there
yet. So a first start is marked until what it made is on disk, and where the mark is found, the
next start is the first one too.
"""

import shutil
from pathlib import Path
from typing import Final

from hilum.index.database import Database

_MARK: Final = "first-start"
#: In every folder that a `mongod` has begun to use.
_BEGUN: Final = "WiredTiger"
#: Not the database's own.
_OTHERS: Final = frozenset({_MARK, "node.lock", "mongod.log", "mongod"})


class FirstStart:
    """The mark in one folder, which no `mongod` uses while `begin` runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / _MARK

    def begin(self) -> None:
        """Mark a folder that is new; clear one whose first start came to nothing."""
        if self._mark.exists():
            for path in self._folder.iterdir():
                if path.name in _OTHERS:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        elif not (self._folder / _BEGUN).exists():
            self._mark.touch()

    async def finish(self, database: Database) -> None:
        """Take the mark away once the disk has all that a `mongod` that answers has made.

        Raises
        ------
        IndexUnavailable
            It answers no longer.
        """
        if self._mark.exists():
            await database.flush()
            self._mark.unlink(missing_ok=True)
