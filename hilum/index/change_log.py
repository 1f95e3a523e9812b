"""The log of changes as Orthanc has it: the outbox, without what it does not tell.

It is cleared by a mark, from which on it is read: others follow the same events. Of what was
deleted it tells nothing any more, as whoever reads it asks for what it names.
"""

from collections.abc import Sequence
from typing import Final

from hilum.core.events import Event, Kind
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.faults import translated
from hilum.index.outbox import Outbox, Page

#: What is told.
KINDS: Final = frozenset(Kind) - {Kind.DELETED, Kind.CONFLICT}
_MARK: Final = "changes"


class ChangeLog:
    """The log. Runs on the loop of its database; every method raises `IndexUnavailable`."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._meta = database.raw["meta"]

    async def page(self, sequence: int, limit: int) -> Page:
        """Return changes above a number, at most `limit`, and where to go on."""
        cleared = await self._cleared()
        page = await self._outbox.page(max(sequence, cleared), limit, KINDS)
        return Page(await self._present(page.events), page.last, is_last=page.is_last)

    async def last(self) -> Event | None:
        """Return the last change that was not cleared away."""
        cleared = await self._cleared()
        found = await self._outbox.latest(1, KINDS)
        return found[0] if found and found[0].sequence > cleared else None

    async def clear(self) -> None:
        """Tell of nothing that has happened until now; numbers go on."""
        last = await self._outbox.last()
        with translated():
            await self._meta.update_one({"_id": _MARK}, {"$max": {"cleared": last}}, upsert=True)

    async def _cleared(self) -> int:
        with translated():
            mark = await self._meta.find_one({"_id": _MARK})
        return mark["cleared"] if mark else 0

    async def _present(self, events: Sequence[Event]) -> list[Event]:
        """Return the events whose resources are there."""
        wanted: dict[Level, set[str]] = {level: set() for level in Level}
        for event in events:
            wanted[event.level].add(event.resource)
        present: set[str] = set()
        with translated():
            for level, ids in wanted.items():
                if not ids:
                    continue
                field = "patient" if level is Level.PATIENT else "_id"
                collection = self._database.collection(
                    Level.STUDY if level is Level.PATIENT else level
                )
                present |= set(await collection.distinct(field, {field: {"$in": list(ids)}}))
        return [event for event in events if event.resource in present]
