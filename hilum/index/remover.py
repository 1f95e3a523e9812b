"""Instances out of the index, and what a deletion has still to do if it is interrupted.

A deletion touches the index first and the store last. In between nothing refers to the
bytes that it is to remove, so before it begins it notes them: a note outlives a crash, and
whoever finds one finishes the deletion.
"""

import secrets
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import DeleteOne

from hilum.core.instance import Blob, Identity, Origin
from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.derive import derive_series, derive_studies
from hilum.index.entity_documents import new_revision
from hilum.index.faults import translated
from hilum.index.instance_documents import ORIGIN_FIELDS, origin_fields, origin_of

_NEEDED: Final = {
    "PatientID": 1,
    "hashed_patient_id": 1,
    "StudyInstanceUID": 1,
    "SeriesInstanceUID": 1,
    "SOPInstanceUID": 1,
    "blob": 1,
    "versions": 1,
    **ORIGIN_FIELDS,
}
#: Versions in one note, which is one document of MongoDB.
_VERSIONS_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """One version of an instance that is deleted."""

    blob: Blob
    origin: Origin


@dataclass(frozen=True, slots=True)
class Removed:
    """An instance that is deleted."""

    identity: Identity
    files: tuple[RemovedFile, ...]
    """All its versions, the current one first, then the others, oldest first."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Instances that are deleted, and what has to follow."""

    id: str
    trash: str | None
    """The deletion under which their bytes are kept; None: they are not."""
    begun_at: datetime
    instances: tuple[Removed, ...]
    reason: str = ""

    @property
    def series(self) -> set[str]:
        """Public ids of their series."""
        return {each.identity.series for each in self.instances}

    @property
    def studies(self) -> set[str]:
        """Public ids of their studies."""
        return {each.identity.study for each in self.instances}

    @property
    def digests(self) -> set[str]:
        """Of all their versions."""
        return {file.blob.digest for each in self.instances for file in each.files}


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
        *,
        only_study: str | None = None,
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
            "study": only_study,
        }
        with translated():
            cursor = self._database.instances.find(
                {keyword: uid for keyword, uid in named.items() if uid is not None}, {"_id": 1}
            )
            return [document["_id"] for document in await cursor.to_list(None)]

    async def remove(
        self, ids: Sequence[str], trash: str | None = None, reason: str = ""
    ) -> Removal | None:
        """Delete instances, and bring their series and studies up to what is left.

        Parameters
        ----------
        ids
            Public ids.
        trash
            The deletion that this is part of, if it can be undone.
        reason
            Why, for those who hear of it.

        Returns
        -------
        Removal
            What has been deleted, to be finished by the caller; None if there was nothing.
            Of an instance that got another version at this very moment nothing is deleted,
            nor is all of a great many versions: call again until there is nothing.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer. What was begun is noted (`unfinished`).
        """
        with translated():
            cursor = self._database.instances.find({"_id": {"$in": list(ids)}}, _NEEDED)
            documents = _portion(await cursor.to_list(None))
            if not documents:
                return None
            removal = Removal(
                id=secrets.token_hex(12),
                trash=trash,
                begun_at=datetime.now(UTC),
                instances=tuple(map(_removed, documents)),
                reason=reason,
            )
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
            await self._database.series.update_many(
                {"_id": {"$in": series}}, {"$set": {"revision": new_revision()}}
            )
            await derive_series(self._database, series)
            await self._database.studies.update_many(
                {"_id": {"$in": studies}}, {"$set": {"revision": new_revision()}}
            )
            await derive_studies(self._database, studies)
        if self._database.changes is not None:
            self._database.changes.put(
                {each.identity.study_instance_uid for each in removal.instances}
            )

    async def gone(self, removal: Removal) -> dict[Level, set[str]]:
        """Return the public ids of what is not there any more, of all levels.

        Not among them is an instance that got another version as it was to be deleted, or
        was stored again.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        instances = {each.identity.instance for each in removal.instances}
        patients = {each.identity.patient for each in removal.instances}
        with translated():
            there = await self._database.instances.distinct("_id", {"_id": {"$in": [*instances]}})
            series = await self._database.series.distinct(
                "_id", {"_id": {"$in": list(removal.series)}}
            )
            studies = await self._database.studies.distinct(
                "_id", {"_id": {"$in": list(removal.studies)}}
            )
            left = await self._database.studies.distinct(
                "patient",
                {"PatientID": {"$in": [each.identity.patient_id for each in removal.instances]}},
            )
        return {
            Level.IMAGE: instances - set(there),
            Level.SERIES: removal.series - set(series),
            Level.STUDY: removal.studies - set(studies),
            Level.PATIENT: patients - set(left),
        }

    async def wanted(self, removal: Removal) -> set[str]:
        """Return which of the digests documents refer to, because they were stored again.

        Equal bytes have equal identifiers: no other instance can refer to them.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        ids = [each.identity.instance for each in removal.instances]
        with translated():
            cursor = self._database.instances.find(
                {"_id": {"$in": ids}}, {"blob": 1, "versions": 1}
            )
            documents = await cursor.to_list(None)
        return {digest for document in documents for digest in _digests(document)}

    async def finish(self, removal: Removal, wanted: Collection[str]) -> None:
        """Close a deletion: its bytes are gone, or in the trash.

        Parameters
        ----------
        removal
            If its bytes are in the trash its note stays, as that of what can be had back.
        wanted
            Digests that went neither way: they were stored again.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        # Not what somebody else has finished meanwhile: it may be on its way back by now.
        begun = {"_id": removal.id, "state": BEGUN}
        kept = [
            Removed(each.identity, files)
            for each in removal.instances
            if (files := tuple(file for file in each.files if file.blob.digest not in wanted))
        ]
        with translated():
            if removal.trash is None or not kept:
                await self._notes.delete_one(begun)
                return
            await self._notes.update_one(
                begun,
                {
                    "$set": {
                        "state": KEPT,
                        "instances": [_instance_note(each) for each in kept],
                        "size": sum(file.blob.size_bytes for each in kept for file in each.files),
                    }
                },
            )

    async def unfinished(self, older_than_seconds: float) -> AsyncGenerator[Removal, None]:
        """Yield the deletions that nobody has been at for so long and are not finished.

        Each is noted as taken up by that: of several who look at once one gets it.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        now = datetime.now(UTC)
        left = {
            "state": BEGUN,
            "touched_at": {"$lt": now - timedelta(seconds=older_than_seconds)},
        }
        while True:
            with translated():
                note = await self._notes.find_one_and_update(
                    left, {"$set": {"touched_at": datetime.now(UTC)}}
                )
            if note is None:
                return
            yield removal_of(note)


#: States of a note.
BEGUN: Final = "begun"
KEPT: Final = "kept"


def removal_of(note: Mapping[str, Any]) -> Removal:
    """Return the removal that a note of the collection ``deletions`` is of."""
    return Removal(
        note["_id"],
        note["trash"],
        note["begun_at"],
        tuple(
            Removed(_identity(each), tuple(map(_file, each["files"]))) for each in note["instances"]
        ),
        note["reason"],
    )


def _portion(documents: Sequence[Document]) -> list[Document]:
    """Return the first of these, as many as one note holds."""
    taken: list[Document] = []
    versions = 0
    for document in documents:
        versions += 1 + len(document["versions"])
        if taken and versions > _VERSIONS_AT_ONCE:
            break
        taken.append(document)
    return taken


def _removed(document: Document) -> Removed:
    current = RemovedFile(
        Blob(document["blob"]["digest"], document["blob"]["size"]), origin_of(document)
    )
    return Removed(_identity(document), (current, *map(_file, document["versions"])))


def _identity(document: Mapping[str, Any]) -> Identity:
    return Identity(
        document["PatientID"],
        document["StudyInstanceUID"],
        document["SeriesInstanceUID"],
        document["SOPInstanceUID"],
        document.get("hashed_patient_id"),
    )


def _file(version: Document) -> RemovedFile:
    return RemovedFile(Blob(version["digest"], version["size"]), origin_of(version))


def _note(removal: Removal) -> Document:
    return {
        "_id": removal.id,
        "state": BEGUN,
        "begun_at": removal.begun_at,
        "touched_at": removal.begun_at,
        "trash": removal.trash,
        "reason": removal.reason,
        "instances": [_instance_note(each) for each in removal.instances],
    }


def _instance_note(removed: Removed) -> Document:
    identity = removed.identity
    return {
        "PatientID": identity.patient_id,
        "hashed_patient_id": identity.hashed_patient_id,
        "StudyInstanceUID": identity.study_instance_uid,
        "SeriesInstanceUID": identity.series_instance_uid,
        "SOPInstanceUID": identity.sop_instance_uid,
        "files": [
            {
                "digest": file.blob.digest,
                "size": file.blob.size_bytes,
                **origin_fields(file.origin),
            }
            for file in removed.files
        ],
    }


def _digests(document: Document) -> list[str]:
    return [document["blob"]["digest"], *(each["digest"] for each in document["versions"])]
