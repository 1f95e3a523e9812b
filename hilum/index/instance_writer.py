"""Instances of a batch into the index, each guarded by the version it supersedes.

An instance has one current version; the digest of its bytes is what a write is guarded by.
A write names the digest it supersedes, and applies only while that one is current. So of
two senders of one instance either comes first, and the other learns of it and decides anew:
no version is lost, and none becomes current by accident.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import InsertOne, UpdateOne

from hilum.core.instance import Blob, Instance
from hilum.index.bulk import executed
from hilum.index.database import Database, Document
from hilum.index.instance_documents import instance_document, version_document


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


class InstanceWriter:
    """Writes instances; their series and studies are for others (`hilum.index.writer`)."""

    def __init__(self, database: Database) -> None:
        self._instances = database.instances

    async def write(self, batch: Sequence[Write]) -> tuple[set[int], set[int]]:
        """Write the instances of a batch.

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
        known, _ = await executed(
            self._instances, [InsertOne(_new_document(each)) for each in instances]
        )
        again = [_rewrite(instances[position]) for position in known]
        refused, _ = await executed(self._instances, again)
        return known, [known[i] for i in refused]

    async def _replace(self, write: Write, superseded: Blob) -> bool:
        """Apply a write against a current version; return False if that is current no more."""
        instance = write.instance
        digest = instance.blob.digest
        update = _kept_version(instance) if write.keep_current else _new_version(instance)
        result = await self._instances.update_one(
            {"_id": instance.header.identity.instance, "blob.digest": superseded.digest}, update
        )
        if result.matched_count:
            return True
        # Replayed: what this write was to do is done.
        done = {"blob.digest": digest}
        if write.keep_current:
            done = {"blob.digest": superseded.digest, "versions.digest": digest}
        found = await self._instances.find_one(
            {"_id": instance.header.identity.instance, **done}, {"_id": 1}
        )
        return found is not None


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
