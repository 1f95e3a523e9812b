"""What has come to rest: series and studies of which nothing new has come for a while.

Whatever is written of an arrival makes its series and study unstable, with the time of the
change by MongoDB's clock and a new revision (`index.entity_documents`, `index.tally`). Those
few are in an index of their own. One becomes stable on condition that its revision is still the one
that was read: whoever writes to it in between makes it unstable again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, UpdateOne

from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: Entities of one level that are taken at a time.
_AT_ONCE: Final = 500
_FIELDS: Final = {
    "study": 1,
    "patient": 1,
    "PatientID": 1,
    "StudyInstanceUID": 1,
    "SeriesInstanceUID": 1,
    "revision": 1,
    "changed_at": 1,
    "main": 1,
    "NumberOfSeriesRelatedInstances": 1,
    "NumberOfStudyRelatedInstances": 1,
    "NumberOfStudyRelatedSeries": 1,
}


@dataclass(frozen=True, slots=True)
class AtRest:
    """A series or a study of which nothing new has come for a while."""

    level: Level
    id: str
    """Its public id, as the following."""
    study: str
    patient: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str | None
    """None: it is a study."""
    revision: int
    changed_at: datetime
    """When it last changed, by MongoDB's clock (UTC)."""
    quiet_seconds: float
    """For how long nothing had come when it was read."""
    instances: int
    series: int
    """Of a study; of a series 1."""
    main: Mapping[str, str]
    """Its main tags (`hilum.core.main_tags`)."""


class Stability:
    """Finds what has come to rest, and notes that it has. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def at_rest(self, level: Level, seconds: float) -> list[AtRest]:
        """Return series or studies that are not stable yet and have not changed for so long.

        Those that have been at rest for longest, and not all of a great many: call again.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            hello = await self._database.raw.command("hello")
            now = hello["localTime"].replace(tzinfo=UTC)
            found = self._database.collection(level).find(
                {"stable": False, "changed_at": {"$lte": now - timedelta(seconds=seconds)}},
                _FIELDS,
            )
            documents = await found.sort("changed_at", ASCENDING).limit(_AT_ONCE).to_list(None)
        return [_at_rest(level, document, now) for document in documents]

    async def settle(self, level: Level, found: Sequence[AtRest], at: datetime) -> None:
        """Note that these are stable, but for those that have changed since they were read.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        stable = {"$set": {"stable": True, "stable_at": at}}
        updates = [UpdateOne({"_id": each.id, "revision": each.revision}, stable) for each in found]
        if updates:
            with translated():
                await self._database.collection(level).bulk_write(updates, ordered=False)

    async def has_unstable(self, study: AtRest, studies: Collection[str]) -> bool:
        """Return whether a study's patient has studies that are not stable, other than these.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        others = {
            "PatientID": study.patient_id,
            "patient": study.patient,
            "stable": False,
            "_id": {"$nin": list(studies)},
        }
        with translated():
            return await self._database.studies.find_one(others, {"_id": 1}) is not None

    async def main_tags_below(self, studies: Collection[str]) -> dict[str, list[dict[str, str]]]:
        """Return the main tags of the series of each of these studies.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        below: dict[str, list[dict[str, str]]] = {}
        with translated():
            found = self._database.series.find(
                {"study": {"$in": list(studies)}}, {"study": 1, "main": 1}
            )
            async for document in found:
                below.setdefault(document["study"], []).append(document.get("main", {}))
        return below


def _at_rest(level: Level, document: Document, now: datetime) -> AtRest:
    counts: dict[str, Any] = document
    of_study = level is Level.STUDY
    instances = "NumberOfStudyRelatedInstances" if of_study else "NumberOfSeriesRelatedInstances"
    return AtRest(
        level=level,
        id=document["_id"],
        study=document["_id"] if of_study else document["study"],
        patient=document["patient"],
        patient_id=document["PatientID"],
        study_instance_uid=document["StudyInstanceUID"],
        series_instance_uid=document.get("SeriesInstanceUID"),
        revision=document["revision"],
        changed_at=document["changed_at"],
        quiet_seconds=(now - document["changed_at"]).total_seconds(),
        instances=counts.get(instances, 0),
        series=counts.get("NumberOfStudyRelatedSeries", 0) if of_study else 1,
        main=document.get("main", {}),
    )
