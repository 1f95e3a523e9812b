"""Instances into the index: many in one round trip, guarded against whoever else writes.

An instance has one current version; the digest of its bytes is what a write is guarded by.
A write names the digest it supersedes, and applies only while that one is current. So of
two senders of one instance either comes first, and the other learns of it and decides anew:
no version is lost, and none becomes current by accident.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from hilum.core.errors import Invalid
from hilum.core.instance import Blob, Identity, Instance
from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.derive import derive_series, derive_studies
from hilum.index.entity_documents import arrival, entity_update
from hilum.index.faults import translated
from hilum.index.instance_documents import instance_document, representable, version_document
from hilum.index.references import Reference, References
from hilum.index.tally import Addition, Tally, addition

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

log = structlog.get_logger(__name__)

_DUPLICATE_KEY: Final = 11000


@dataclass(frozen=True, slots=True)
class Write:
    """What is to become of one received instance."""

    instance: Instance
    supersedes: Blob | None = None
    """The current version this decision was taken against; None: there was none, or it has
    these very bytes."""
    keep_current: bool = False
    """Leave `supersedes` current, and keep the new one among the other versions."""
    arrived: bool = True
    """Whether it has just come; otherwise what the index says of it is only written anew."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    lost: list[Write]
    """Those that did not apply: another version had become current in the meantime. Ask
    `Writer.current` and decide anew. Nothing of them was written."""
    begun: frozenset[str]
    """Public ids of the patients, studies and series that began with an instance of the batch."""


class Writer:
    """Writes batches of instances. Any number of writers may write at once.

    Runs on the loop of its database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._references = References(database)
        self._tally = Tally()

    async def current(self, ids: Collection[str]) -> dict[str, Reference]:
        """Return the versions of each of these instances that the index knows.

        Parameters
        ----------
        ids
            Public ids.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._references.of(ids)

    async def write(self, batch: Sequence[Write]) -> Written:
        """Write a batch, and bring the series and studies it touches up to it.

        Raises
        ------
        Invalid
            An instance cannot be kept even without the attributes that are at fault.
        IndexUnavailable
            MongoDB does not answer. Part of the batch may be written.

        Notes
        -----
        Journaled when it returns. Idempotent: a batch may be written again, in whole or in
        part, after any fault. A replay must do so even for instances that are current
        already: the fault may lie between an instance and the counts of its study.

        An attribute that MongoDB cannot keep, such as a comment of megabytes, is left out
        of the index rather than its instance.
        """
        try:
            lost, begun = await self._write(batch)
        except Invalid:
            log.warning("attributes that cannot be indexed are left out", instances=len(batch))
            lost, begun = await self._write(
                [replace(write, instance=representable(write.instance)) for write in batch]
            )
        finally:
            # Of a batch that failed, part may be there.
            if self._database.changes is not None:
                self._database.changes.put(
                    _identity(write.instance).study_instance_uid for write in batch
                )
        return Written([batch[position] for position in sorted(lost)], begun)

    async def _write(self, batch: Sequence[Write]) -> tuple[set[int], frozenset[str]]:
        """Write a batch; return the positions of those that did not apply, and what began."""
        identities = [_identity(write.instance) for write in batch]
        # Before anything is inserted: what was counted until then has none of the batch.
        left = self._tally.take({key for each in identities for key in (each.series, each.study)})
        with translated():
            lost, known = await self._write_instances(batch)
            written = [
                write
                for position, write in enumerate(batch)
                if position not in lost and not write.keep_current
            ]
            for position in known:
                left.pop(identities[position].series, None)
            added, begun = await self._bring_up(Level.SERIES, written, left)
            for identity in identities:
                if identity.series not in added:
                    left.pop(identity.study, None)
            _, studies = await self._bring_up(Level.STUDY, written, left)
            if any(batch[position].arrived for position in known):
                # Written again after a fault: before it, it may have been what they began with.
                begun |= await self._begun_by(Level.SERIES, written)
                studies |= await self._begun_by(Level.STUDY, written)
            patients = await self._begun_patients(written, studies) if studies else set()
        return lost, frozenset(begun | studies | patients)

    async def _write_instances(self, batch: Sequence[Write]) -> tuple[set[int], set[int]]:
        """Write the instances.

        Returns
        -------
        lost, known
            The positions of those that did not apply, and of all that were in the index
            already.
        """
        unopposed = [i for i, write in enumerate(batch) if write.supersedes is None]
        refused, contended = await self._insert([batch[i].instance for i in unopposed])
        known = {unopposed[i] for i in refused}
        lost = {unopposed[i] for i in contended}
        for i, write in enumerate(batch):
            if write.supersedes is not None:
                known.add(i)
                if not await self._replace(write, write.supersedes):
                    lost.add(i)
        return lost, known

    async def _insert(self, instances: Sequence[Instance]) -> tuple[list[int], list[int]]:
        """Write instances that supersede nothing.

        Returns
        -------
        known, contended
            The positions of those that were there already, and of those among them where
            another version is current.

        Notes
        -----
        Nearly all are new, and MongoDB inserts a document at a quarter of the processor
        time of an upsert. What is there already refuses the insert by its `_id`, and is
        written again if it has the same bytes: the filter has the digest in it, so where
        another version is current, the upsert turns into an insert that is refused too.
        """
        known, _ = await _refused(
            self._database.instances, [InsertOne(_new_document(each)) for each in instances]
        )
        again = [_rewrite(instances[position]) for position in known]
        refused, _ = await _refused(self._database.instances, again)
        return known, [known[i] for i in refused]

    async def _replace(self, write: Write, superseded: Blob) -> bool:
        """Apply a write against a current version; return False if that is current no more."""
        instance = write.instance
        digest = instance.blob.digest
        update = _kept_version(instance) if write.keep_current else _new_version(instance)
        result = await self._database.instances.update_one(
            {"_id": _identity(instance).instance, "blob.digest": superseded.digest}, update
        )
        if result.matched_count:
            return True
        # Replayed: what this write was to do is done.
        done = {"blob.digest": digest}
        if write.keep_current:
            done = {"blob.digest": superseded.digest, "versions.digest": digest}
        found = await self._database.instances.find_one(
            {"_id": _identity(instance).instance, **done}, {"_id": 1}
        )
        return found is not None

    async def _bring_up(
        self, level: Level, writes: Iterable[Write], left: Mapping[str, Document]
    ) -> tuple[AbstractSet[str], set[str]]:
        """Bring series or studies up to these instances of theirs.

        Parameters
        ----------
        left
            Of entities that the instances may be added to: how this writer left them.

        Returns
        -------
        added, begun
            Those whose counts were added to; of the others they were derived anew. And those
            that were not there before.
        """
        entities = _entities(level, writes)
        begun: set[str] = set()
        additions = {
            key: added
            for key, found in entities.items()
            if key in left and (added := addition(level, key, left[key], *_instances(found)))
        }
        if additions and await self._add(level, additions.values()):
            for key, added in additions.items():
                self._tally.keep(key, added.left)
                del entities[key]
        else:
            additions = {}
        if entities:
            begun = await self._merge(level, entities)
        return additions.keys(), begun

    async def _add(self, level: Level, additions: Collection[Addition]) -> bool:
        """Add to counts; return False if a rival was at one of them, so that all are derived."""
        updates = [added.update for added in additions]
        result = await self._database.collection(level).bulk_write(updates, ordered=False)
        return result.matched_count == len(additions)

    async def _merge(self, level: Level, entities: Mapping[str, Sequence[Write]]) -> set[str]:
        """Add what instances say to their series or studies, under new revisions, and derive.

        Returns
        -------
        set of str
            Those that were not there before.
        """
        updates = {}
        for key, found in entities.items():
            instances, arrived = _instances(found)
            updates[key] = entity_update(level, instances, arrived)
        operations = [UpdateOne({"_id": key}, updates[key], upsert=True) for key in updates]
        begun: set[str] = set()
        while operations:
            # Refused only where another writer inserted the entity at the same moment.
            refused, inserted = await _refused(self._database.collection(level), operations)
            begun |= inserted
            operations = [operations[i] for i in refused]
        derive = derive_studies if level is Level.STUDY else derive_series
        for key, derived in (await derive(self._database, updates)).items():
            said = updates[key]["$set"]
            if derived["revision"] == said["revision"]:  # no rival has said anything since
                self._tally.keep(key, {**said, **derived})
        return begun

    async def _begun_by(self, level: Level, writes: Iterable[Write]) -> set[str]:
        """Return the series or studies that one of these arrivals was the first of."""
        entities = _entities(level, writes)
        first = [arrival(each.instance) for found in entities.values() for each in found]
        cursor = self._database.collection(level).find(
            {"_id": {"$in": list(entities)}, "begun_by": {"$in": first}}, {"_id": 1}
        )
        return {document["_id"] async for document in cursor}

    async def _begun_patients(self, writes: Iterable[Write], studies: Collection[str]) -> set[str]:
        """Return the patients whose first study is one of `studies`.

        Of rivals who begin studies of one patient at the same moment, whoever sees that of
        the other agrees with him which of the two was first. Who does not, was before him.
        """
        first: dict[str, tuple[datetime, str, str]] = {}
        for write in writes:
            identity = _identity(write.instance)
            if identity.study in studies:
                begun = (write.instance.origin.received_at, identity.study, identity.patient_id)
                first[identity.patient] = min(first.get(identity.patient, begun), begun)
        patients = set()
        for patient, (received_at, study, patient_id) in first.items():
            earlier = {
                "PatientID": patient_id,
                "patient": patient,
                "$or": [
                    {"received_at": {"$lt": received_at}, "_id": {"$ne": study}},
                    {"received_at": received_at, "_id": {"$lt": study}},
                ],
            }
            if not await self._database.studies.find_one(earlier, {"_id": 1}):
                patients.add(patient)
        return patients


def _identity(instance: Instance) -> Identity:
    return instance.header.identity


def _entities(level: Level, writes: Iterable[Write]) -> dict[str, list[Write]]:
    """Return the writes by the public id of their series or study."""
    entities: dict[str, list[Write]] = {}
    for write in writes:
        identity = _identity(write.instance)
        key = identity.study if level is Level.STUDY else identity.series
        entities.setdefault(key, []).append(write)
    return entities


def _instances(writes: Sequence[Write]) -> tuple[list[Instance], Instance | None]:
    """Return what is written, what was there before first, and the first that has just come."""
    before = [write.instance for write in writes if not write.arrived]
    arrived = [write.instance for write in writes if write.arrived]
    return before + arrived, arrived[0] if arrived else None


def _new_document(instance: Instance) -> Document:
    return {**instance_document(instance), "versions": []}


def _rewrite(instance: Instance) -> UpdateOne:
    document = instance_document(instance)
    return UpdateOne(
        {"_id": document.pop("_id"), "blob.digest": instance.blob.digest},
        {"$set": document, "$setOnInsert": {"versions": []}},
        upsert=True,
    )


def _new_version(instance: Instance) -> list[Document]:
    """Return the update that makes `instance` current and keeps what was."""
    superseded = {
        "digest": "$blob.digest",
        "size": "$blob.size",
        "received_at": "$received_at",
        "source": "$source",
    }
    versions = {"$concatArrays": [_other_versions(instance.blob), [superseded]]}
    # A value may begin with a dollar sign, which an expression would take for a field.
    document = {"$literal": instance_document(instance)}
    return [{"$replaceWith": {"$mergeObjects": [document, {"versions": versions}]}}]


def _kept_version(instance: Instance) -> list[Document]:
    """Return the update that adds `instance` to the versions that are not current."""
    kept = {"$literal": [version_document(instance)]}
    versions = {"$concatArrays": [_other_versions(instance.blob), kept]}
    return [{"$set": {"versions": versions}}]


def _other_versions(blob: Blob) -> Document:
    return {
        "$filter": {"input": "$versions", "cond": {"$ne": ["$$this.digest", blob.digest]}},
    }


async def _refused(
    collection: "AsyncIOMotorCollection[Document]",
    operations: Sequence[InsertOne[Document] | UpdateOne],
) -> tuple[list[int], set[str]]:
    """Execute operations in no order.

    Returns
    -------
    refused, inserted
        The positions refused for a duplicate key; the ids of what an upsert inserted.
    """
    if not operations:
        return [], set()
    try:
        result = await collection.bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        errors = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(
            each["code"] != _DUPLICATE_KEY for each in errors
        ):
            raise
        inserted = {each["_id"] for each in error.details["upserted"]}
        return [each["index"] for each in errors], inserted
    return [], set((result.upserted_ids or {}).values())
