"""The collection `exports`: what was sent to whom, on whose behalf it may be asked later.

Sequence numbers have no gaps, and nothing comes in behind one that was read: the next number
is taken by writing the record under it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pymongo.errors import BulkWriteError

from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.resource import Resource

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_DUPLICATE: Final = 11000


@dataclass(frozen=True, slots=True)
class Export:
    """A resource that a peer was sent."""

    sequence: int
    level: Level
    resource: str
    patient_id: str
    uids: tuple[str, ...]
    modality: str
    at: datetime


class ExportLedger:
    """Reads and writes; runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._exports = database.raw["exports"]
        self._meta = database.raw["meta"]

    async def add(self, resources: Sequence[Resource], modality: str) -> None:
        """Write down that `resources` are sent to a modality."""
        at = datetime.now(UTC)
        waiting: list[Document] = [
            {
                "level": resource.level.value,
                "resource": resource.id,
                "patient_id": resource.patient_id,
                "uids": list(resource.uids),
                "modality": modality,
                "at": at,
            }
            for resource in resources
        ]
        with translated():
            while waiting:
                last = await self._last()
                numbered = [{"_id": last + n, **each} for n, each in enumerate(waiting, 1)]
                try:
                    await self._exports.insert_many(numbered)
                except BulkWriteError as error:
                    if error.details["writeErrors"][0]["code"] != _DUPLICATE:
                        raise
                    # Somebody else was faster: those in front of that number are written.
                    waiting = waiting[error.details["nInserted"] :]
                else:
                    return

    async def since(self, sequence: int, limit: int) -> tuple[list[Export], int]:
        """Return the records behind `sequence`, and the number of the last one there is.

        Parameters
        ----------
        limit
            Return so many at most; 0 for all.
        """
        with translated():
            cursor = self._exports.find({"_id": {"$gt": sequence}}).sort("_id", 1)
            found = await cursor.limit(limit).to_list(None)
            newest = await self._newest()
        return [_export(document) for document in found], newest

    async def clear(self) -> None:
        """Forget all records; numbers go on behind them."""
        with translated():
            last = await self._last()
            await self._meta.update_one({"_id": "exports"}, {"$max": {"last": last}}, upsert=True)
            await self._exports.delete_many({"_id": {"$lte": last}})

    async def _newest(self) -> int:
        newest = await self._exports.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        return int(newest["_id"]) if newest else 0

    async def _last(self) -> int:
        cleared = await self._meta.find_one({"_id": "exports"})
        return max(await self._newest(), int(cleared["last"]) if cleared else 0)


def _export(document: Document) -> Export:
    return Export(
        sequence=document["_id"],
        level=Level(document["level"]),
        resource=document["resource"],
        patient_id=document["patient_id"],
        uids=tuple(document["uids"]),
        modality=document["modality"],
        at=document["at"],
    )


def named_uids(export: Export) -> dict[str, str]:
    """Return the UIDs of an export by keyword."""
    return dict(zip(_UIDS, export.uids, strict=False))
