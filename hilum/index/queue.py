"""The queue of deliveries, and how far each subscription has got with the outbox.

``subscriptions`` has a document for each there has ever been: its cursor, and since when its
receiver is away. ``deliveries`` has one for each event that a subscription wants; its id is
``subscription:sequence``, so that taking an event twice makes one delivery. ``lanes`` has one
for each study of a subscription with deliveries that wait: when the first of them is due. The
lanes that are due are found without looking at what waits in them: a million deliveries cost
no more than a hundred. A lane may be left without deliveries, never the other way round.

Here is what the leader does with them; what people do is in `hilum.index.queue_desk`.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from hilum.core.events import Event
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.queued import Away, Delivery, Lane

#: How long what is delivered can still be seen.
KEPT: Final = timedelta(days=1)
_DUPLICATE: Final = 11000
_REVISION_BITS: Final = 62
_AT_ONCE: Final = 1000


class Queue:
    """What the leader does with the queue. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._subscriptions = database.raw["subscriptions"]
        self._deliveries = database.raw["deliveries"]
        self._lanes = database.raw["lanes"]

    async def register(self, name: str, describe: str, begin: int) -> int:
        """Make sure of a subscription, and return its cursor.

        Parameters
        ----------
        name, describe
            See `hilum.services.subscriptions.Subscription`.
        begin
            Its cursor if it is new: the sequence number of the last event it is not told of.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, as with every method here.
        """
        with translated():
            document = await self._subscriptions.find_one_and_update(
                {"_id": name},
                {
                    "$set": {"describe": describe, "active": True},
                    "$setOnInsert": {"cursor": begin, "created_at": datetime.now(UTC)},
                },
                upsert=True,
                return_document=True,
            )
        return int(document["cursor"])

    async def retire_others(self, names: Collection[str]) -> None:
        """Note that subscriptions of other names are set no more; what they have stays."""
        with translated():
            await self._subscriptions.update_many(
                {"_id": {"$nin": list(names)}, "active": True}, {"$set": {"active": False}}
            )

    async def add(self, subscription: str, events: Sequence[Event], cursor: int) -> None:
        """Queue `events`, and move the cursor behind them. Idempotent.

        Parameters
        ----------
        events
            Those that the subscription wants, in order.
        cursor
            The sequence number of the last one that was looked at.
        """
        now = datetime.now(UTC)
        with translated():
            if events:
                await self._insert(subscription, events, now)
                # After what waits in them, before the cursor: a crash leaves nothing unseen.
                await open_lanes(self._lanes, subscription, {each.study for each in events}, now)
            await self._subscriptions.update_one(
                {"_id": subscription}, {"$max": {"cursor": cursor}}
            )

    async def _insert(self, subscription: str, events: Sequence[Event], now: datetime) -> None:
        documents = [
            {
                "_id": f"{subscription}:{event.sequence}",
                "subscription": subscription,
                "sequence": event.sequence,
                "study": event.study,
                "state": "waiting",
                "attempts": 0,
                "queued_at": now,
                "due_at": now,
                "error": None,
                "event": event.as_json(),
            }
            for event in events
        ]
        try:
            await self._deliveries.bulk_write(
                [InsertOne(each) for each in documents], ordered=False
            )
        except BulkWriteError as error:
            faults = error.details["writeErrors"]
            if any(fault["code"] != _DUPLICATE for fault in faults):
                raise

    async def due(self, subscription: str, besides: Collection[str], limit: int) -> list[Lane]:
        """Return the lanes that are due, the longest due first, but those in `besides`."""
        due = {"due_at": {"$lte": datetime.now(UTC)}}
        return await self._find_lanes(subscription, due, besides, limit)

    async def next_lane(self, subscription: str, besides: Collection[str] = ()) -> Lane | None:
        """Return the lane that is due first, now or later."""
        found = await self._find_lanes(subscription, {}, besides, 1)
        return found[0] if found else None

    async def _find_lanes(
        self, subscription: str, due: Document, besides: Collection[str], limit: int
    ) -> list[Lane]:
        with translated():
            cursor = self._lanes.find(
                {"subscription": subscription, **due, "_id": {"$nin": list(besides)}},
                sort={"due_at": 1},
                limit=limit,
            )
            return [
                Lane(each["_id"], each["study"], each["due_at"], each["revision"])
                for each in await cursor.to_list(None)
            ]

    async def waiting(self, subscription: str, study: str, limit: int) -> list[Delivery]:
        """Return the first deliveries that wait in a lane, in order."""
        with translated():
            cursor = self._deliveries.find(
                {"subscription": subscription, "state": "waiting", "study": study},
                {"event": 1, "attempts": 1, "queued_at": 1},
                sort={"sequence": 1},
                limit=limit,
            )
            return [
                Delivery(
                    each["_id"], Event.from_json(each["event"]), each["attempts"], each["queued_at"]
                )
                for each in await cursor.to_list(None)
            ]

    async def delivered(self, ids: Collection[str]) -> None:
        """Note that these are done; they can be seen for `KEPT` more."""
        now = datetime.now(UTC)
        with translated():
            await self._deliveries.update_many(
                {"_id": {"$in": list(ids)}, "state": "waiting"},
                {
                    "$set": {
                        "state": "done",
                        "error": None,
                        "finished_at": now,
                        "expires_at": now + KEPT,
                    }
                },
            )

    async def failed(self, delivery: Delivery, reason: str, due_at: datetime) -> None:
        """Note a failed attempt, and when the next one is due."""
        with translated():
            await self._deliveries.update_one(
                _as_found(delivery),
                {"$set": {"error": reason, "due_at": due_at}, "$inc": {"attempts": 1}},
            )

    async def buried(self, delivery: Delivery, reason: str) -> None:
        """Note a failed attempt that was the last: a dead letter."""
        with translated():
            await self._deliveries.update_one(
                _as_found(delivery),
                {
                    "$set": {"state": "dead", "error": reason, "finished_at": datetime.now(UTC)},
                    "$inc": {"attempts": 1},
                },
            )

    async def bury_older(self, subscription: str, queued_before: datetime, reason: str) -> int:
        """Make dead letters of what waits since before `queued_before`; return how many."""
        old = {
            "subscription": subscription,
            "state": "waiting",
            "queued_at": {"$lt": queued_before},
        }
        buried = 0
        with translated():
            # Some at a time: one command for a million would outlast its time limit.
            while found := await self._deliveries.find(
                old, {"_id": 1}, sort={"sequence": 1}, limit=_AT_ONCE
            ).to_list(None):
                done = await self._deliveries.update_many(
                    # And nothing that an index over more than these could be chosen for.
                    {"_id": {"$in": [each["_id"] for each in found]}, "state": "waiting"},
                    {"$set": {"state": "dead", "error": reason, "finished_at": datetime.now(UTC)}},
                )
                buried += done.modified_count
        return buried

    async def postpone(self, lane: Lane, due_at: datetime, *, probed: bool = False) -> None:
        """Have a lane wait; `probed`: not longer than its receiver is away."""
        with translated():
            await self._lanes.update_one(
                {"_id": lane.id}, {"$set": {"due_at": due_at, "probed": probed}}
            )

    async def close(self, lane: Lane) -> bool:
        """Remove a lane in which nothing was found; False if something was added meanwhile."""
        with translated():
            done = await self._lanes.delete_one({"_id": lane.id, "revision": lane.revision})
        return bool(done.deleted_count)

    async def away(self, subscription: str) -> Away | None:
        """Return since when a receiver is away; None if it is not."""
        with translated():
            document = await self._subscriptions.find_one({"_id": subscription}, {"away": 1})
        return away_of(document) if document else None

    async def set_away(self, subscription: str, away: Away | None) -> None:
        """Note that a receiver is away; None: it is back, and what was a probe is due now."""
        with translated():
            if away is not None:
                await self._subscriptions.update_one(
                    {"_id": subscription}, {"$set": {"away": _away_document(away)}}
                )
                return
            await self._subscriptions.update_one({"_id": subscription}, {"$unset": {"away": ""}})
            await self._lanes.update_many(
                {"subscription": subscription, "probed": True},
                {"$set": {"due_at": datetime.now(UTC), "probed": False}},
            )


def away_of(document: Document) -> Away | None:
    """Return what the document of a subscription says of its receiver's absence."""
    away = document.get("away")
    return away and Away(away["since"], away["attempts"], away["probe_at"], away["reason"])


def _away_document(away: Away) -> Document:
    return {
        "since": away.since,
        "attempts": away.attempts,
        "probe_at": away.probe_at,
        "reason": away.reason,
    }


def _as_found(delivery: Delivery) -> Document:
    """Return what a delivery is still like, unless somebody has had it tried anew meanwhile.

    An attempt that had failed before is then none against it.
    """
    return {"_id": delivery.id, "state": "waiting", "queued_at": delivery.queued_at}


async def open_lanes(
    lanes: Any, subscription: str, studies: Collection[str], due_at: datetime
) -> None:
    """Make sure of the lanes of `studies`, and that a new one is due at `due_at`."""
    await lanes.bulk_write(
        [
            UpdateOne(
                {"_id": f"{subscription}:{study}"},
                {
                    "$set": {"revision": secrets.randbits(_REVISION_BITS)},
                    "$setOnInsert": {
                        "subscription": subscription,
                        "study": study,
                        "due_at": due_at,
                    },
                },
                upsert=True,
            )
            for study in studies
        ],
        ordered=False,
    )
