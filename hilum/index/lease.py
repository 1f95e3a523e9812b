"""A lease: what only one process of a node does at a time.

It is a document that names its holder and when it runs out, by MongoDB's clock: the clocks
of its holders need not agree. A holder that is stopped for longer than that may believe for
a moment that it holds what another one has taken. So what is done under a lease has to stand
being done twice (`hilum.index.numbering` says how it does).
"""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from pymongo.errors import DuplicateKeyError

from hilum.index.database import Database
from hilum.index.faults import translated

_NEVER: Final = datetime.fromtimestamp(0, UTC)


class Lease:
    """A lease by its name, as one process sees it. Lives on the loop of its database.

    Parameters
    ----------
    seconds
        How long it is held when it is taken; take it again before that.
    """

    def __init__(self, database: Database, name: str, seconds: float = 6.0) -> None:
        self._leases = database.raw["leases"]
        self._name = name
        self._holder = secrets.token_hex(8)
        self.seconds = seconds

    async def take(self) -> bool:
        """Take it, or hold it for longer; return whether it is ours.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            if await self._try():
                return True
            if await self._leases.find_one({"_id": self._name}, {"_id": 1}):
                return False
            with suppress(DuplicateKeyError):  # another process was first
                await self._leases.insert_one({"_id": self._name, "holder": "", "until": _NEVER})
            return await self._try()

    async def give_up(self) -> None:
        """Let another one take it at once, if it is ours.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            await self._leases.update_one(
                {"_id": self._name, "holder": self._holder}, {"$set": {"until": _NEVER}}
            )

    async def _try(self) -> bool:
        milliseconds = int(self.seconds * 1000)
        result = await self._leases.update_one(
            {
                "_id": self._name,
                "$expr": {
                    "$or": [
                        {"$eq": ["$holder", self._holder]},
                        {"$lt": ["$until", "$$NOW"]},
                    ]
                },
            },
            [{"$set": {"holder": self._holder, "until": {"$add": ["$$NOW", milliseconds]}}}],
        )
        return result.matched_count == 1
