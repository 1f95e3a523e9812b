"""The outbox: events in MongoDB, written by any worker, numbered by one, read by all.

A document holds the events that one worker wrote at a time, up to a hundred: an event of
its own document would cost ingest as much as an instance does. Documents get their numbers
later, from `hilum.index.numbering`, one for each event in them. What is published has all
the numbers below it given, so a reader who has come to some number has missed none.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from hilum.core.events import Draft, Event, Kind
from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: In the collection ``meta``: how far numbers are given, and by whom (`index.numbering`).
STATE: Final = "outbox"
#: The index of documents without numbers (`index.schema`). MongoDB, left to itself, may take
#: that of all documents, of which there are millions.
WAITING: Final = "waiting"
_EVENTS_PER_DOCUMENT: Final = 100
#: Documents that are read at a time: most readers are near the end.
_BATCH_SIZE: Final = 10
#: Clocks are set back now and then.
_CLOCK_MARGIN: Final = timedelta(minutes=1)
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and where those that follow begin."""

    events: list[Event]
    last: int
    """Whoever asks for what is above it misses nothing."""
    is_last: bool
    """Whether nothing follows yet."""


class Outbox:
    """The outbox, as one process sees it. Lives on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._outbox = database.raw["outbox"]
        self._meta = database.raw["meta"]
        self._subscriptions = database.raw["subscriptions"]
        self._added = 0

    async def add(self, drafts: Sequence[Draft]) -> None:
        """Add events, in this order.

        Idempotent for drafts that say since when they may be there (`Draft.perhaps_since`).
        Journaled when it returns.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer. Some of them may be there.
        """
        if not drafts:
            return
        with translated():
            drafts = await self._absent(drafts)
            documents = [
                {
                    "added": self._next(),
                    "waiting": True,
                    "count": len(part),
                    "kinds": sorted({draft.kind.value for draft in part}),
                    "events": [_document(draft) for draft in part],
                }
                for part in _parts(drafts)
            ]
            if documents:
                await self._outbox.insert_many(documents)

    async def since(
        self, sequence: int, limit: int, kinds: Collection[Kind] | None = None
    ) -> list[Event]:
        """Return the first events with numbers above `sequence`, in order.

        Parameters
        ----------
        sequence
            0 for all that are kept.
        limit
            How many at most.
        kinds
            Only these.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            return await self._since(sequence, await self._published(), limit, kinds)

    async def page(self, sequence: int, limit: int, kinds: Collection[Kind]) -> Page:
        """Return the first events of these kinds above `sequence`, and where to go on.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            published = await self._published()
            events = await self._since(sequence, published, limit + 1, kinds)
        last = published if len(events) <= limit else events[limit - 1].sequence
        return Page(events[:limit], last, is_last=len(events) <= limit)

    async def _since(
        self, sequence: int, published: int, limit: int, kinds: Collection[Kind] | None
    ) -> list[Event]:
        if sequence >= published:
            return []
        events: list[Event] = []
        query: Document = {"last": {"$gt": sequence, "$lte": published}, **_only(kinds)}
        found = self._outbox.find(query, {"first": 1, "events": 1}).sort("last", ASCENDING)
        async for document in found.limit(limit + 1).batch_size(_BATCH_SIZE):
            events += [event for event in _events(document, kinds) if event.sequence > sequence]
            if len(events) >= limit:
                break
        return events[:limit]

    async def latest(self, limit: int, kinds: Collection[Kind] | None = None) -> list[Event]:
        """Return the events with the greatest numbers, in order.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        events: list[Event] = []
        with translated():
            query = {"last": {"$gt": 0, "$lte": await self._published()}, **_only(kinds)}
            found = self._outbox.find(query, {"first": 1, "events": 1}).sort("last", DESCENDING)
            async for document in found.limit(limit).batch_size(_BATCH_SIZE):
                events = [*_events(document, kinds), *events]
                if len(events) >= limit:
                    break
        return events[-limit:]

    async def prune(self, before: datetime) -> int:
        """Delete events that were added before a time, unless a subscription is to read them.

        Returns
        -------
        int
            How many documents of them were deleted.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            behind = await self._subscriptions.find_one(
                {"active": True}, sort=[("cursor", ASCENDING)]
            )
            query: Document = {
                "added": {"$lt": _microseconds(before)},
                "last": {"$lte": behind["cursor"]} if behind else {"$exists": True},
            }
            return (await self._outbox.delete_many(query)).deleted_count

    async def last(self) -> int:
        """Return the greatest number that readers may see, 0 if there is none yet.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            return await self._published()

    async def pending(self) -> tuple[int, float | None]:
        """Return how many events wait for a number, and when the oldest was added.

        Returns
        -------
        tuple
            Events; seconds since 1970, None if there are none.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            cursor = self._outbox.aggregate(
                [
                    {"$match": {"waiting": True}},
                    {
                        "$group": {
                            "_id": None,
                            "count": {"$sum": "$count"},
                            "added": {"$min": "$added"},
                        }
                    },
                ],
                hint=WAITING,
            )
            found = await cursor.to_list(1)
        return (found[0]["count"], found[0]["added"] / _MICROSECONDS) if found else (0, None)

    async def _published(self) -> int:
        state = await self._meta.find_one({"_id": STATE}, {"published": 1})
        return state["published"] if state else 0

    async def _absent(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Return those that are not there already."""
        doubtful = {draft.key for draft in drafts if draft.perhaps_since}
        times = [draft.perhaps_since for draft in drafts if draft.perhaps_since]
        if not doubtful:
            return drafts
        since = _microseconds(min(times) - _CLOCK_MARGIN)
        found = self._outbox.find({"added": {"$gte": since}}, {"events.key": 1})
        present = {event["key"] async for each in found for event in each["events"]} & doubtful
        return [draft for draft in drafts if draft.key not in present]

    def _next(self) -> int:
        """Return the time in microseconds since 1970, later with each call."""
        self._added = max(self._added + 1, int(time.time() * _MICROSECONDS))
        return self._added


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * _MICROSECONDS)


def _parts(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    for start in range(0, len(drafts), _EVENTS_PER_DOCUMENT):
        yield drafts[start : start + _EVENTS_PER_DOCUMENT]


def _document(draft: Draft) -> dict[str, Any]:
    return {
        "key": draft.key,
        "kind": draft.kind.value,
        "level": draft.level.value,
        "resource": draft.resource,
        "study": draft.study,
        "uids": [draft.study_instance_uid, draft.series_instance_uid, draft.sop_instance_uid],
        "at": draft.at,
        "details": draft.details,
    }


def _only(kinds: Collection[Kind] | None) -> Document:
    return {} if kinds is None else {"kinds": {"$in": [kind.value for kind in kinds]}}


def _events(document: Document, kinds: Collection[Kind] | None) -> list[Event]:
    return [
        _event(number, event)
        for number, event in enumerate(document["events"], document["first"])
        if kinds is None or event["kind"] in kinds
    ]


def _event(sequence: int, document: Document) -> Event:
    study_instance_uid, series_instance_uid, sop_instance_uid = document["uids"]
    return Event(
        sequence=sequence,
        kind=Kind(document["kind"]),
        level=Level(document["level"]),
        resource=document["resource"],
        study=document["study"],
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        sop_instance_uid=sop_instance_uid,
        at=document["at"],
        details=document["details"],
    )
