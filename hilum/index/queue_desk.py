"""The queue as people see it: pages, counts, another try, removal. Any worker may ask."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from hilum.core.errors import NotFound
from hilum.core.events import Event
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.queue import away_of, open_lanes
from hilum.index.queued import Entry, State, Summary

_AT_ONCE: Final = 1000


class QueueDesk:
    """Shows the queue and changes it. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._subscriptions = database.raw["subscriptions"]
        self._deliveries = database.raw["deliveries"]
        self._lanes = database.raw["lanes"]

    async def page(
        self,
        states: Collection[State] = (),
        subscription: str | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Entry]:
        """Return deliveries, the latest events first.

        Parameters
        ----------
        states, subscription
            Which ones; all without.
        limit, offset
            At most so many, after so many.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, as with every method here.
        """
        with translated():
            names = [subscription] if subscription else await self._subscriptions.distinct("_id")
            # Both are named, however many there are: the index then yields them in order.
            cursor = self._deliveries.find(
                {
                    "subscription": {"$in": names},
                    "state": {"$in": [each.value for each in states or State]},
                },
                sort={"sequence": -1},
                limit=limit,
                skip=offset,
            )
            return [_entry(each) for each in await cursor.to_list(None)]

    async def entry(self, delivery_id: str) -> Entry:
        """Return one delivery.

        Raises
        ------
        NotFound
            There is none of this id.
        """
        with translated():
            document = await self._deliveries.find_one({"_id": delivery_id})
        if document is None:
            raise NotFound(f"no delivery {delivery_id[:100]!r}")
        return _entry(document)

    async def summaries(self) -> list[Summary]:
        """Return every subscription that there is or that has left something, by name.

        The time it takes grows with the number of deliveries: it counts them in an index.
        """
        with translated():
            documents = await self._subscriptions.find(sort={"_id": 1}).to_list(None)
            return [await self._summary(each) for each in documents]

    async def _summary(self, document: Document) -> Summary:
        name = document["_id"]
        counts = {
            state: await self._deliveries.count_documents(
                {"subscription": name, "state": state.value}
            )
            for state in State
        }
        oldest = await self._deliveries.find_one(
            {"subscription": name, "state": State.WAITING.value},
            {"queued_at": 1},
            sort={"sequence": 1},
        )
        return Summary(
            name=name,
            describe=document["describe"],
            active=document["active"],
            cursor=document["cursor"],
            away=away_of(document),
            counts=counts,
            oldest_at=oldest["queued_at"] if oldest else None,
        )

    async def retry(self, delivery_id: str) -> None:
        """Have one delivery made now, whatever has become of it.

        Raises
        ------
        NotFound
            There is none of this id.
        """
        with translated():
            document = await self._deliveries.find_one(
                {"_id": delivery_id}, {"subscription": 1, "study": 1}
            )
            if document is None:
                raise NotFound(f"no delivery {delivery_id[:100]!r}")
            await self._requeue(document["subscription"], [document])
            await self._hurry([document["subscription"]])

    async def retry_all(self, subscription: str | None = None) -> int:
        """Have all dead letters, and what waits for another attempt, delivered now.

        Returns
        -------
        int
            How many dead letters wait again.
        """
        began = datetime.now(UTC)
        retried = 0
        with translated():
            names = [subscription] if subscription else await self._subscriptions.distinct("_id")
            for name in names:
                dead = {
                    "subscription": name,
                    "state": State.DEAD.value,
                    "finished_at": {"$lt": began},
                }
                while found := await self._some(dead):
                    retried += await self._requeue(name, found)
            await self._hurry(names)
        return retried

    async def _some(self, which: Document) -> list[Document]:
        """Return ids and studies of the first deliveries that are meant."""
        cursor = self._deliveries.find(which, {"study": 1}, limit=_AT_ONCE)
        return await cursor.to_list(None)

    async def _requeue(self, subscription: str, documents: Sequence[Document]) -> int:
        now = datetime.now(UTC)
        studies = {each["study"] for each in documents}
        # Before, lest a crash leave what waits without a lane; after, lest somebody have found
        # the lane empty in between.
        await open_lanes(self._lanes, subscription, studies, now)
        done = await self._deliveries.update_many(
            {"_id": {"$in": [each["_id"] for each in documents]}},
            {
                "$set": {
                    "state": State.WAITING.value,
                    "attempts": 0,
                    "queued_at": now,
                    "due_at": now,
                },
                "$unset": {"expires_at": "", "finished_at": ""},
            },
        )
        await open_lanes(self._lanes, subscription, studies, now)
        lanes = [f"{subscription}:{study}" for study in studies]
        await self._lanes.update_many({"_id": {"$in": lanes}}, {"$set": {"due_at": now}})
        return done.modified_count

    async def _hurry(self, names: Collection[str]) -> None:
        """Have everything due, and receivers that are away tried, now."""
        now = datetime.now(UTC)
        later = {"subscription": {"$in": list(names)}, "due_at": {"$gt": now}}
        await self._lanes.update_many(later, {"$set": {"due_at": now}})
        await self._subscriptions.update_many(
            {"_id": {"$in": list(names)}, "away": {"$exists": True}},
            {"$set": {"away.probe_at": now}},
        )

    async def remove(self, delivery_id: str) -> None:
        """Forget one delivery; what waits is never made.

        Raises
        ------
        NotFound
            There is none of this id.
        """
        with translated():
            done = await self._deliveries.delete_one({"_id": delivery_id})
        if not done.deleted_count:
            raise NotFound(f"no delivery {delivery_id[:100]!r}")

    async def remove_all(self, subscription: str, states: Collection[State] = ()) -> int:
        """Forget the deliveries of a subscription; return how many.

        One that is not set any more and has nothing left is forgotten itself.

        Raises
        ------
        NotFound
            There is no such subscription, nor has there been one.
        """
        removed = 0
        which = {
            "subscription": subscription,
            "state": {"$in": [each.value for each in states or State]},
        }
        with translated():
            document = await self._subscriptions.find_one({"_id": subscription})
            if document is None:
                raise NotFound(f"no subscription {subscription[:100]!r}")
            while found := await self._some(which):
                done = await self._deliveries.delete_many(
                    {"_id": {"$in": [each["_id"] for each in found]}}
                )
                removed += done.deleted_count
            if not document["active"] and not await self._deliveries.find_one(
                {"subscription": subscription}, {"_id": 1}
            ):
                await self._lanes.delete_many({"subscription": subscription})
                await self._subscriptions.delete_one({"_id": subscription, "active": False})
        return removed


def _entry(document: Document) -> Entry:
    return Entry(
        id=document["_id"],
        subscription=document["subscription"],
        state=State(document["state"]),
        event=Event.from_json(document["event"]),
        attempts=document["attempts"],
        error=document["error"],
        queued_at=document["queued_at"],
        due_at=document["due_at"],
        finished_at=document.get("finished_at"),
    )
