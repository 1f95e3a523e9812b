"""Which patients and studies are protected from retention, by their public ids.

A protection outlives what it protects: a patient that was deleted and is restored, or sends
again, is protected as before.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from hilum.core.errors import NotFound
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.faults import translated


class Protections:
    """The collection ``protected``. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._protected = database.raw["protected"]

    async def put(self, level: Level, public_id: str) -> None:
        """Protect a patient or a study. Idempotent.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        fields = {"level": level.value, "since": datetime.now(UTC)}
        with translated():
            await self._protected.update_one(
                {"_id": public_id}, {"$setOnInsert": fields}, upsert=True
            )

    async def remove(self, public_id: str) -> None:
        """Protect something no longer. Idempotent.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            await self._protected.delete_one({"_id": public_id})

    async def among(self, public_ids: Collection[str]) -> set[str]:
        """Return which of these are protected.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            return set(await self._protected.distinct("_id", {"_id": {"$in": [*public_ids]}}))

    async def all(self) -> dict[Level, set[str]]:
        """Return all that are protected, by level.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        found: dict[Level, set[str]] = {Level.PATIENT: set(), Level.STUDY: set()}
        with translated():
            async for document in self._protected.find():
                found[Level(document["level"])].add(document["_id"])
        return found

    async def studies(self, study_instance_uid: str) -> list[str]:
        """Return the public ids of the studies with a UID: of two patients there may be two.

        Raises
        ------
        NotFound
            There is none.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            found = await self._database.studies.distinct(
                "_id", {"StudyInstanceUID": study_instance_uid}
            )
        if not found:
            raise NotFound(f"no study {study_instance_uid}")
        return [str(each) for each in found]
