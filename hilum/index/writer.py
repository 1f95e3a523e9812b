"""Batches of received instances into the index, and what contains them brought up to them.

Many in a few round trips. Any number of writers may do so at once; who of them is right about an
instance is settled by `instance_writer`, and about counts by `derive` and `tally`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from pymongo import UpdateOne

from hilum.core.errors import Invalid
from hilum.core.instance import Identity, Instance
from hilum.core.levels import Level
from hilum.index.bulk import executed
from hilum.index.database import Database, Document
from hilum.index.derive import derive_series, derive_studies
from hilum.index.entity_documents import arrival, entity_update
from hilum.index.faults import translated
from hilum.index.instance_documents import representable
from hilum.index.instance_writer import InstanceWriter, Write
from hilum.index.references import Reference, References
from hilum.index.tally import Addition, Tally, addition

log = structlog.get_logger(__name__)


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
        self._instances = InstanceWriter(database)
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
            lost, known = await self._instances.write(batch)
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
            refused, inserted = await executed(self._database.collection(level), operations)
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
