"""What clients attach to resources: labels, and metadata of their own.

By public id, in a collection of its own, one document a resource: a study that is sent again
or restored has them still, and the index is rebuilt without touching them.
"""

from collections.abc import Collection, Sequence
from typing import Final

from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.faults import translated

_COLLECTION: Final = "attached"


class Attached:
    """Reads and writes labels and metadata. Runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._documents = database.raw[_COLLECTION]

    async def labels(self, ids: Collection[str]) -> dict[str, list[str]]:
        """Return the labels of those resources that have any, sorted."""
        with translated():
            cursor = self._documents.find(
                {"_id": {"$in": list(ids)}, "labels": {"$exists": True}}, {"labels": 1}
            )
            return {each["_id"]: sorted(each["labels"]) for each in await cursor.to_list(None)}

    async def add_label(self, level: Level, public_id: str, label: str) -> None:
        """Give a resource a label. Idempotent."""
        with translated():
            await self._documents.update_one(
                {"_id": public_id},
                {"$addToSet": {"labels": label}, "$set": {"level": level.value}},
                upsert=True,
            )

    async def remove_label(self, public_id: str, label: str) -> None:
        """Take a label away from a resource. Idempotent."""
        with translated():
            await self._documents.update_one({"_id": public_id}, {"$pull": {"labels": label}})

    async def all_labels(self) -> list[str]:
        """Return every label that some resource has, sorted."""
        with translated():
            return sorted(await self._documents.distinct("labels"))

    async def labelled(
        self, level: Level, labels: Sequence[str], constraint: str
    ) -> tuple[list[str], bool]:
        """Return the resources of a level by their labels.

        Parameters
        ----------
        constraint
            ``All``, ``Any`` or ``None`` of `labels`.

        Returns
        -------
        ids, wanted
            The public ids, and whether it is they that are wanted, or all the others.
        """
        operator = "$all" if constraint == "All" else "$in"
        condition: dict[str, object] = {operator: list(labels)}
        if constraint == "None" and not labels:
            condition = {"$exists": True, "$ne": []}
        with translated():
            cursor = self._documents.find({"level": level.value, "labels": condition}, {"_id": 1})
            return [each["_id"] for each in await cursor.to_list(None)], constraint != "None"

    async def metadata(self, public_id: str) -> dict[int, bytes]:
        """Return the metadata of a resource, by number."""
        with translated():
            document = await self._documents.find_one({"_id": public_id}, {"metadata": 1})
        kept = (document or {}).get("metadata", {})
        return {int(number): bytes(value) for number, value in kept.items()}

    async def set_metadata(self, level: Level, public_id: str, number: int, value: bytes) -> None:
        """Give a resource metadata under a number, in place of what was there."""
        with translated():
            await self._documents.update_one(
                {"_id": public_id},
                {"$set": {f"metadata.{number}": value, "level": level.value}},
                upsert=True,
            )

    async def remove_metadata(self, public_id: str, number: int) -> None:
        """Take metadata away from a resource. Idempotent."""
        with translated():
            await self._documents.update_one(
                {"_id": public_id}, {"$unset": {f"metadata.{number}": ""}}
            )
