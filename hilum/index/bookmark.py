"""How far a rebuilding of the index has come, kept in the database that is being rebuilt.

So it goes where the work goes: with a database that is dropped the note of what had been done
in it is gone too.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from hilum.index.database import Database
from hilum.index.faults import translated

_KEY: Final = {"_id": "reindex"}
#: Whoever comes back later than that wants the whole done anew.
_KEPT: Final = timedelta(days=1)


class Bookmark:
    """One place in an ordered list of work. Runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._meta = database.raw["meta"]

    async def place(self) -> str:
        """Return the last piece of work that was done; empty: none, or long ago."""
        with translated():
            document = await self._meta.find_one(_KEY)
        if document is None or document["at"] < datetime.now(UTC) - _KEPT:
            return ""
        return str(document["place"])

    async def put(self, place: str) -> None:
        """Note that the work is done up to and with `place`."""
        with translated():
            await self._meta.update_one(
                _KEY, {"$set": {"place": place, "at": datetime.now(UTC)}}, upsert=True
            )

    async def remove(self) -> None:
        """Note that all of it is done."""
        with translated():
            await self._meta.delete_one(_KEY)
