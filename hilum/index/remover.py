"""Instances out of the index, and what a deletion has still to do if it is interrupted.

A deletion touches the index first and the store last. In between nothing refers to the
bytes that it is to remove, so before it begins it notes them: a note outlives a crash, and
whoever finds one finishes the deletion.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo import DeleteOne

from hilum.index.database import Database, Document
from hilum.index.derive import derive_series, derive_studies
from hilum.index.faults import translated

_REVISION_BITS = 62
_BLOBS = {"series": 1, "study": 1, "StudyInstanceUID": 1, "blob": 1, "versions": 1}


@dataclass(frozen=True, slots=True)
class Removal:
    """Instances that are deleted, and what has to follow."""

    id: str
    instances: tuple[str, ...]
    """Public ids, as the following."""
    series: tuple[str, ...]
    studies: tuple[str, ...]
    study_instance_uids: tuple[str, ...]
    digests: tuple[str, ...]
    """Of all their versions."""


class Remover:
    """Deletes documents. Any number may, while others write; runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notes = database.raw["deletions"]

    async def find(
        self,
        study_instance_uid: str,
        series_instance_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> list[str]:
        """Return the public ids of the instances of a study, a series, or of one instance.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        named = {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": series_instance_uid,
            "SOPInstanceUID": sop_instance_uid,
        }
        with translated():
            cursor = self._database.instances.find(
                {keyword: uid for keyword, uid in named.items() if uid is not None}, {"_id": 1}
            )
            return [document["_id"] for document in await cursor.to_list(None)]

    async def remove(self, ids: Sequence[str]) -> Removal | None:
        """Delete instances, and bring their series and studies up to what is left.

        Returns
        -------
        Removal
            What has been deleted, to be finished by the caller; None if there was nothing.
            Of an instance that got another version at this very moment nothing is deleted:
            call again until there is nothing.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer. What was begun is noted (`unfinished`).
        """
        with translated():
            cursor = self._database.instances.find({"_id": {"$in": list(ids)}}, _BLOBS)
            documents = await cursor.to_list(None)
            if not documents:
                return None
            removal = _removal(documents)
            await self._notes.insert_one(_note(removal))
            # With all that is noted of it: bytes that are not must not lose their document.
            await self._database.instances.bulk_write(
                [
                    DeleteOne({key: each[key] for key in ("_id", "blob", "versions")})
                    for each in documents
                ],
                ordered=False,
            )
        await self.settle(removal)
        return removal

    async def settle(self, removal: Removal) -> None:
        """Bring series and studies up to what is left of them. Idempotent.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        series, studies = list(removal.series), list(removal.studies)
        with translated():
            await self._database.series.update_many({"_id": {"$in": series}}, _new_revision())
            await derive_series(self._database, series)
            await self._database.studies.update_many({"_id": {"$in": studies}}, _new_revision())
            await derive_studies(self._database, studies)
        if self._database.changes is not None:
            self._database.changes.put(removal.study_instance_uids)

    async def wanted(self, removal: Removal) -> set[str]:
        """Return which of the digests documents refer to, because they were stored again.

        Equal bytes have equal identifiers: no other instance can refer to them.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            cursor = self._database.instances.find(
                {"_id": {"$in": list(removal.instances)}}, _BLOBS
            )
            documents = await cursor.to_list(None)
        return {digest for document in documents for digest in _digests(document)}

    async def finish(self, removal: Removal) -> None:
        """Forget a deletion: its bytes are removed."""
        with translated():
            await self._notes.delete_one({"_id": removal.id})

    async def unfinished(self, older_than_seconds: float) -> list[Removal]:
        """Return the deletions that were begun so long ago and are not finished."""
        latest = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        with translated():
            notes = await self._notes.find({"begun_at": {"$lt": latest}}).to_list(None)
        return [
            Removal(
                note["_id"],
                tuple(note["instances"]),
                tuple(note["series"]),
                tuple(note["studies"]),
                tuple(note["study_instance_uids"]),
                tuple(note["digests"]),
            )
            for note in notes
        ]


def _removal(documents: Sequence[Document]) -> Removal:
    return Removal(
        id=secrets.token_hex(12),
        instances=tuple(each["_id"] for each in documents),
        series=tuple({each["series"] for each in documents}),
        studies=tuple({each["study"] for each in documents}),
        study_instance_uids=tuple({each["StudyInstanceUID"] for each in documents}),
        digests=tuple({digest for each in documents for digest in _digests(each)}),
    )


def _note(removal: Removal) -> Document:
    return {
        "_id": removal.id,
        "begun_at": datetime.now(UTC),
        "instances": list(removal.instances),
        "series": list(removal.series),
        "studies": list(removal.studies),
        "study_instance_uids": list(removal.study_instance_uids),
        "digests": list(removal.digests),
    }


def _digests(document: Document) -> list[str]:
    return [document["blob"]["digest"], *(each["digest"] for each in document["versions"])]


def _new_revision() -> Document:
    return {"$set": {"revision": secrets.randbits(_REVISION_BITS)}}
