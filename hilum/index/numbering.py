"""Numbers for the events of the outbox, given by one process at a time.

Whoever numbers has a term. To begin one it raises the number of the term in the state, and
from then on no update of the state under an earlier term applies. What its predecessor, cut
off in the middle or merely slow, may still be writing does no harm, for these reasons:

- Numbers are reserved in the state before they are given, and a term begins above all that
  was reserved before: no number is given twice.
- A predecessor can only be writing to documents it had found before the term began. The
  first round of a term gives numbers to every document that waits and publishes only then;
  a document that has a number is not given another. So once anything above is published,
  nothing can still get a number below.
- Documents get their numbers first to last, but in the first round of a term last to first.
  So of two documents the later one gets the greater number, even while both rounds run.

Documents are numbered in the order in which they were added. A document that was added
before another is seen if the other one is: they are read last to first.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne

from hilum.core.errors import Temporary
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.outbox import STATE, WAITING

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

#: Documents of a round; each holds up to a hundred events.
_ROUND: Final = 500
#: Numbers that are reserved ahead, so that a round need not wait for it. After a crash the
#: rest of them is never given.
_AHEAD: Final = 1000
#: From one look for new events to the next, while there are none.
_PAUSE_SECONDS: Final = 0.2


class Deposed(Temporary):
    """Another process gives the numbers now."""


class Numbering:
    """One term. Lives on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._outbox: AsyncIOMotorCollection[Document] = database.raw["outbox"]
        self._meta: AsyncIOMotorCollection[Document] = database.raw["meta"]
        self._term = 0
        self._published = 0
        self._reserved = 0
        self._first_round = True
        self._in_round = False

    async def begin(self) -> None:
        """Begin a term; that of whoever numbered before is over.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            state = await self._meta.find_one_and_update(
                {"_id": STATE},
                {"$inc": {"term": 1, "published": 0, "reserved": 0}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        self._term = state["term"]
        self._published = self._reserved = state["reserved"]
        self._first_round, self._in_round = True, False

    async def round(self) -> int:
        """Give numbers to what waits, and publish them; return how many events that was.

        Raises
        ------
        Deposed
            Another term has begun.
        IndexUnavailable
            MongoDB does not answer. Begin a new term before the next round.
        """
        # Cut off in the middle, it stays so: numbers may be on their way yet.
        self._in_round = True
        with translated():
            documents = await self._waiting()
            if not documents and not self._first_round:
                self._in_round = False
                return 0
            count: int = sum(document["count"] for document in documents)
            last = self._published + count
            if last > self._reserved:
                await self._update_state({"reserved": last})
            await self._number(documents)
            # The journal keeps this one's order with the numbers, which are on disk by now.
            self._reserved = last + _AHEAD
            await self._update_state({"published": last, "reserved": self._reserved})
            self._published = last
        self._first_round = self._in_round = False
        return count

    async def run(self) -> None:
        """Number what comes, in a term of its own, until cancelled.

        Raises
        ------
        Deposed, IndexUnavailable
            See `round`.
        """
        await self.begin()
        try:
            while True:
                if not await self.round():
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            with suppress(Temporary):
                await self._end()

    async def _end(self) -> None:
        """Give back the numbers that were reserved and not used."""
        if not self._in_round:
            with translated():
                await self._update_state({"reserved": self._published})

    async def _waiting(self) -> list[Document]:
        """Return documents without numbers, in the order in which they were added."""
        fields = {"added": 1, "count": 1}
        query: Document = {"waiting": True}
        if not self._first_round:
            oldest = self._outbox.find(query, {"added": 1}, hint=WAITING)
            head = await oldest.sort("added", ASCENDING).limit(_ROUND).to_list(_ROUND)
            if not head:
                return []
            query["added"] = {"$lte": head[-1]["added"]}
        found = self._outbox.find(query, fields, hint=WAITING).sort("added", DESCENDING)
        return (await found.to_list(None))[::-1]

    async def _number(self, documents: list[Document]) -> None:
        updates = []
        number = self._published
        for document in documents:
            first, number = number + 1, number + document["count"]
            updates.append(
                UpdateOne(
                    {"_id": document["_id"], "waiting": True},
                    {"$set": {"first": first, "last": number}, "$unset": {"waiting": ""}},
                )
            )
        if self._first_round:
            updates.reverse()
        if updates:
            await self._outbox.bulk_write(updates)

    async def _update_state(self, fields: Document) -> None:
        result = await self._meta.update_one({"_id": STATE, "term": self._term}, {"$set": fields})
        if not result.matched_count:
            raise Deposed("another process numbers the events")
