"""What the index knows of the trash: one document a deletion, and one note for each batch of it.

The notes are those that the deletion itself has left (`index.remover`): they say which
instances, which files of them, who had sent each, and when. What is in the trash all in all
is summed up from them, so that there is no count to get wrong.

A deletion is in one state at a time, and goes from one to another by one conditional update:
of two who want to undo it and to empty it, one comes first, and the other learns of it.
"""

import secrets
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from hilum.core.errors import Conflict, NotFound
from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.remover import KEPT, Removal, removal_of

#: Of the study, to tell one deletion from another; nothing that names a patient.
_TITLE: Final = {"StudyDate": 1, "StudyDescription": 1, "ModalitiesInStudy": 1}
_NEWEST: Final = {"deleted_at": -1, "_id": 1}
_OLDEST: Final = {"deleted_at": 1, "_id": -1}
_LEVELS: Final = (
    (Level.IMAGE, "SOPInstanceUID"),
    (Level.SERIES, "SeriesInstanceUID"),
    (Level.STUDY, "StudyInstanceUID"),
)


class State(StrEnum):
    """What is being done with a deletion."""

    DELETING = "deleting"
    KEPT = "kept"
    RESTORING = "restoring"
    COLLECTING = "collecting"


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """A deletion in the trash."""

    id: str
    state: State
    deleted_at: datetime
    level: Level
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    by: str
    """Who asked for it, as far as that is known."""
    reason: str
    study_date: str
    study_description: str
    modalities: tuple[str, ...]
    instances: int
    size_bytes: int
    """Of all versions."""


class TrashNotes:
    """The documents of the trash. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries = database.raw["trash"]
        self._notes = database.raw["deletions"]

    async def open(self, uids: Sequence[str | None], *, by: str = "", reason: str = "") -> str:
        """Note that a deletion begins, and return its id.

        Parameters
        ----------
        uids
            Study, Series and SOP Instance UID, as far down as it goes.
        by, reason
            Who asks for it, and why, if that is known.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        given = dict(
            zip(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), uids, strict=False)
        )
        level = next(level for level, keyword in _LEVELS if given.get(keyword))
        now = datetime.now(UTC)
        with translated():
            study = await self._database.studies.find_one(
                {"StudyInstanceUID": given["StudyInstanceUID"]}, _TITLE
            )
            entry = {
                **{key: value for key, value in (study or {}).items() if key in _TITLE},
                **{keyword: uid for keyword, uid in given.items() if uid},
                "_id": secrets.token_hex(12),
                "state": State.DELETING,
                "touched_at": now,
                "deleted_at": now,
                "level": level.value,
                "by": by,
                "reason": reason,
            }
            await self._entries.insert_one(entry)
        return str(entry["_id"])

    async def entries(self, limit: int, offset: int = 0) -> list[TrashEntry]:
        """Return what is in the trash, the newest first.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._find({}, _NEWEST, limit, offset)

    async def total(self) -> tuple[int, int]:
        """Return how many deletions there are, and how many bytes could be collected.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        kept: Document = {"trash": {"$ne": None}, "state": KEPT}
        with translated():
            count = await self._entries.count_documents({})
            found = await self._notes.aggregate(
                [{"$match": kept}, {"$group": {"_id": None, "size": {"$sum": "$size"}}}]
            ).to_list(1)
        return count, int(found[0]["size"]) if found else 0

    async def oldest(self, until: datetime | None = None) -> TrashEntry | None:
        """Return the deletion that is collected first, if there is one of before `until`.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        condition: Document = {"state": State.KEPT}
        if until is not None:
            condition["deleted_at"] = {"$lte": until}
        found = await self._find(condition, _OLDEST, 1)
        return found[0] if found else None

    async def entry(self, deletion: str) -> TrashEntry:
        """Return one deletion.

        Raises
        ------
        NotFound
            It is not in the trash, or not any more.
        """
        found = await self._find({"_id": deletion}, _NEWEST, 1)
        if not found:
            raise NotFound(f"no deletion {deletion} is in the trash")
        return found[0]

    async def _find(
        self, condition: Document, order: Document, limit: int, offset: int = 0
    ) -> list[TrashEntry]:
        with translated():
            cursor = self._entries.aggregate(
                [
                    {"$match": condition},
                    {"$sort": order},
                    {"$skip": offset},
                    {"$limit": limit},
                    {
                        "$lookup": {
                            "from": "deletions",
                            "localField": "_id",
                            "foreignField": "trash",
                            "as": "notes",
                            "pipeline": [
                                {
                                    "$group": {
                                        "_id": None,
                                        "instances": {"$sum": {"$size": "$instances"}},
                                        "size": {"$sum": "$size"},
                                    }
                                }
                            ],
                        }
                    },
                ]
            )
            return [_entry(document) for document in await cursor.to_list(None)]

    async def claim(self, deletion: str, state: State) -> None:
        """Set out to restore or to collect a deletion.

        Raises
        ------
        NotFound
            It is not in the trash, or not any more.
        Conflict
            Somebody else is at it.
        """
        if not await self.turn(deletion, State.KEPT, state):
            entry = await self.entry(deletion)
            raise Conflict(f"deletion {deletion} is {entry.state.value} at the moment")

    async def turn(self, deletion: str, old: State, new: State) -> bool:
        """Bring a deletion from one state to another; False if it is not in the old one."""
        with translated():
            result = await self._entries.update_one(
                {"_id": deletion, "state": old},
                {"$set": {"state": new, "touched_at": datetime.now(UTC)}},
            )
        return bool(result.matched_count)

    async def hold(self, deletion: str) -> bool:
        """Note that a deletion is still going on; False if somebody took it for interrupted."""
        return await self.turn(deletion, State.DELETING, State.DELETING)

    async def close(self, deletion: str) -> bool:
        """Note that a deletion is done, or that what was begun of it is.

        Nothing is noted while something of it is to be finished.

        Returns
        -------
        bool
            Whether there is anything in it. If not it is forgotten: somebody else was
            faster, or all of it was stored again.
        """
        with translated():
            notes = await self._notes.distinct("state", {"trash": deletion})
            if not notes:
                await self._entries.delete_one({"_id": deletion, "state": State.DELETING})
        if notes == [KEPT]:
            await self.turn(deletion, State.DELETING, State.KEPT)
        return bool(notes)

    async def adopt(self, state: State, older_than_seconds: float) -> AsyncGenerator[str, None]:
        """Yield the deletions in a state that nobody has touched for so long.

        Each is touched by that: of several who adopt at once one gets it.
        """
        now = datetime.now(UTC)
        left = {"state": state, "touched_at": {"$lt": now - timedelta(seconds=older_than_seconds)}}
        while True:
            with translated():
                found = await self._entries.find_one_and_update(
                    left, {"$set": {"touched_at": datetime.now(UTC)}}, {"_id": 1}
                )
            if found is None:
                return
            yield str(found["_id"])

    async def removals(self, deletion: str) -> AsyncGenerator[Removal, None]:
        """Yield the batches of a deletion that can be had back."""
        with translated():
            ids = await self._notes.distinct("_id", {"trash": deletion, "state": KEPT})
        for key in ids:
            with translated():
                note = await self._notes.find_one({"_id": key})
            if note is not None:
                yield removal_of(note)

    async def elsewhere(self, removal: Removal, digests: Collection[str]) -> set[str]:
        """Return which of these digests other notes have, too.

        Two who delete an instance at the same moment both note it, and one gets its files.
        """
        if not digests:
            return set()
        condition = {"_id": {"$ne": removal.id}, "instances.files.digest": {"$in": [*digests]}}
        with translated():
            found = self._notes.find(condition, {"instances.files.digest": 1})
            return {
                file["digest"]
                for note in await found.to_list(None)
                for each in note["instances"]
                for file in each["files"]
            }

    async def drop(self, removal: Removal) -> None:
        """Forget a batch: it is restored."""
        with translated():
            await self._notes.delete_one({"_id": removal.id})

    async def forget(self, deletion: str) -> None:
        """Forget a deletion whose files are gone. Idempotent.

        What was taken for interrupted, and turns out to go on, is an entry again.
        """
        with translated():
            await self._notes.delete_many({"trash": deletion, "state": KEPT})
            if not await self._notes.count_documents({"trash": deletion}, limit=1):
                await self._entries.delete_one({"_id": deletion})
                return
            await self._entries.update_one({"_id": deletion}, {"$set": {"state": State.DELETING}})


def _entry(document: Document) -> TrashEntry:
    total = document["notes"][0] if document["notes"] else {"instances": 0, "size": 0}
    return TrashEntry(
        id=document["_id"],
        state=State(document["state"]),
        deleted_at=document["deleted_at"],
        level=Level(document["level"]),
        study_instance_uid=document["StudyInstanceUID"],
        series_instance_uid=document.get("SeriesInstanceUID"),
        sop_instance_uid=document.get("SOPInstanceUID"),
        by=document["by"],
        reason=document["reason"],
        study_date=document.get("StudyDate") or "",
        study_description=document.get("StudyDescription") or "",
        modalities=tuple(document.get("ModalitiesInStudy") or ()),
        instances=total["instances"],
        size_bytes=total["size"],
    )
