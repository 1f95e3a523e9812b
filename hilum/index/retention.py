"""What retention asks of the index: which studies may go, and what a run has found out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: In the collection ``meta``: that deleting has not made room.
_HALT: Final = {"_id": "retention"}
_FIELDS: Final = {
    "StudyInstanceUID": 1,
    "StudyDate": 1,
    "StudyDescription": 1,
    "ModalitiesInStudy": 1,
    "NumberOfStudyRelatedInstances": 1,
    "size": 1,
    "received_at": 1,
    "updated_at": 1,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that may go."""

    study: str
    """Public id."""
    study_instance_uid: str
    study_date: str
    study_description: str
    modalities: tuple[str, ...]
    instances: int
    size_bytes: int
    """Of current versions."""
    received_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Eligible:
    """Which studies may go at all."""

    quiet_since: datetime
    """Nothing has come for them since then."""
    patients: Collection[str]
    """Public ids of those that are protected, as the following."""
    studies: Collection[str]
    modalities: Collection[str] = ()
    """Only studies that have nothing but these; empty: all."""

    def condition(self) -> Document:
        """Return the filter that finds them."""
        found: Document = {
            "stable": {"$ne": False},
            "updated_at": {"$lte": self.quiet_since},
            # When something came here, whenever it had been received: restored, for instance.
            "changed_at": {"$not": {"$gt": self.quiet_since}},
            "patient": {"$nin": [*self.patients]},
            "_id": {"$nin": [*self.studies]},
        }
        if self.modalities:
            others = {"$elemMatch": {"$nin": [*self.modalities]}}
            found["ModalitiesInStudy"] = {"$not": others, "$nin": [None, []]}
        return found


class Candidates:
    """Finds studies that may go. Runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._studies = database.studies
        self._meta = database.raw["meta"]

    async def aged(
        self, eligible: Eligible, of: Literal["received", "study"], before: datetime, limit: int
    ) -> list[Candidate]:
        """Return studies older than `before`, the oldest received first.

        Parameters
        ----------
        of
            What is that old: the last instance that came, or the study by its StudyDate;
            one without a proper date is not.
        """
        if of == "received":
            eligible = replace(eligible, quiet_since=min(before, eligible.quiet_since))
        condition = eligible.condition()
        if of == "study":
            condition["StudyDate"] = {"$regex": r"^\d{8}$", "$lt": f"{before:%Y%m%d}"}
        with translated():
            found = self._studies.find(condition, _FIELDS).sort([("received_at", 1), ("_id", 1)])
            return [_candidate(each) for each in await found.limit(limit).to_list(None)]

    async def oldest(
        self, eligible: Eligible, without: Sequence[str], size_bytes: int, limit: int
    ) -> list[Candidate]:
        """Return the studies received first, as many as have `size_bytes` together."""
        condition = eligible.condition()
        condition["_id"]["$nin"] += without
        taken: list[Candidate] = []
        with translated():
            found = self._studies.find(condition, _FIELDS).sort([("received_at", 1), ("_id", 1)])
            async for document in found.limit(limit):
                if size_bytes <= 0:
                    break
                taken.append(_candidate(document))
                size_bytes -= taken[-1].size_bytes
        return taken

    async def size_bytes(self, eligible: Eligible | None = None) -> int:
        """Return how much all studies have, or those that may go; current versions only."""
        condition = eligible.condition() if eligible is not None else {}
        with translated():
            found = await self._studies.aggregate(
                [
                    {"$match": condition},
                    {"$group": {"_id": None, "size": {"$sum": "$size"}}},
                ]
            ).to_list(1)
        return int(found[0]["size"]) if found else 0

    async def still(self, candidate: Candidate, eligible: Eligible) -> bool:
        """Return whether a study may still go, and nothing has come for it."""
        unchanged = {"_id": candidate.study, "updated_at": candidate.updated_at}
        with translated():
            found = await self._studies.find_one({"$and": [eligible.condition(), unchanged]})
        return found is not None

    async def halt(self, target_bytes: int, expected_bytes: int, gained_bytes: int) -> None:
        """Note that room was to be made, and was not."""
        halt = {
            "target": target_bytes,
            "expected": expected_bytes,
            "gained": gained_bytes,
            "at": datetime.now(UTC),
        }
        with translated():
            await self._meta.update_one(_HALT, {"$set": halt}, upsert=True)

    async def halted(self) -> int | None:
        """Return for which target no room could be made, if that is so."""
        with translated():
            found = await self._meta.find_one(_HALT)
        return found["target"] if found else None

    async def resume(self) -> None:
        """Forget that no room could be made."""
        with translated():
            await self._meta.delete_one(_HALT)


def _candidate(document: dict[str, Any]) -> Candidate:
    return Candidate(
        study=document["_id"],
        study_instance_uid=document["StudyInstanceUID"],
        study_date=document.get("StudyDate") or "",
        study_description=document.get("StudyDescription") or "",
        modalities=tuple(document.get("ModalitiesInStudy") or ()),
        instances=document.get("NumberOfStudyRelatedInstances") or 0,
        size_bytes=document.get("size") or 0,
        received_at=document["received_at"],
        updated_at=document["updated_at"],
    )
