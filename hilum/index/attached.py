"""What clients attach to resources: labels, and metadata of their own.

By public id, in a collection of its own, one document a resource: a study that is sent again
or restored has them still, and the index is rebuilt without touching them.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from hilum.core.errors import Conflict
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.faults import translated

_COLLECTION: Final = "attached"


@dataclass(frozen=True, slots=True)
class Entry:
    """Metadata under one number."""

    value: bytes
    revision: int
    """How often it has been replaced."""


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

    async def metadata(self, ids: Collection[str]) -> dict[str, dict[int, Entry]]:
        """Return the metadata of those resources that have any, by number."""
        with translated():
            cursor = self._documents.find(
                {"_id": {"$in": list(ids)}, "metadata": {"$exists": True}}, {"metadata": 1}
            )
            documents = await cursor.to_list(None)
        return {
            document["_id"]: {
                int(number): Entry(bytes(kept["value"]), kept["revision"] - 1)
                for number, kept in document["metadata"].items()
            }
            for document in documents
        }

    async def noted(self, level: Level, number: int) -> dict[str, bytes]:
        """Return what is noted under a number, by the public ids of a level."""
        field = f"metadata.{number}"
        with translated():
            cursor = self._documents.find(
                {"level": level.value, field: {"$exists": True}}, {f"{field}.value": 1}
            )
            documents = await cursor.to_list(None)
        return {each["_id"]: bytes(each["metadata"][str(number)]["value"]) for each in documents}

    async def set_metadata(self, level: Level, public_id: str, number: int, value: bytes) -> Entry:
        """Give a resource metadata under a number, in place of what was there."""
        field = f"metadata.{number}"
        with translated():
            document = await self._documents.find_one_and_update(
                {"_id": public_id},
                {
                    "$set": {f"{field}.value": value, "level": level.value},
                    "$inc": {f"{field}.revision": 1},
                    "$unset": {f"{field}.copied": ""},
                },
                {field: 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert document is not None
        return Entry(value, document["metadata"][str(number)]["revision"] - 1)

    async def copy_metadata(self, level: Level, public_id: str, number: int, value: bytes) -> Entry:
        """Have what another archive has noted, in place of what was copied from it before.

        Raises
        ------
        Conflict
            Somebody has noted something else here.
        """
        here = (await self.metadata([public_id])).get(public_id, {}).get(number)
        if here is not None and here.value == value:
            return here
        field = f"metadata.{number}"
        nobodys = [{field: {"$exists": False}}, {f"{field}.copied": True}]
        changes = {
            "$set": {f"{field}.value": value, f"{field}.copied": True, "level": level.value},
            "$inc": {f"{field}.revision": 1},
        }
        with translated():
            try:
                document = await self._documents.find_one_and_update(
                    {"_id": public_id, "$or": nobodys},
                    changes,
                    {field: 1},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:  # it is there, and is somebody's
                raise Conflict(f"something else is noted here under {number}") from None
        return Entry(value, document["metadata"][str(number)]["revision"] - 1)

    async def remove_metadata(self, public_id: str, number: int) -> None:
        """Take metadata away from a resource. Idempotent."""
        with translated():
            await self._documents.update_one(
                {"_id": public_id}, {"$unset": {f"metadata.{number}": ""}}
            )

    async def all(self, level: Level) -> AsyncIterator[str]:
        """Yield the public ids of a level that have labels or metadata, or once had."""
        with translated():
            async for document in self._documents.find({"level": level.value}, {"_id": 1}):
                yield document["_id"]
