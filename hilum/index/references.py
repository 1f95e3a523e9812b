"""Which stored files the documents refer to: for holding index and store against each other."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from hilum.core.instance import Blob, Origin
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.instance_documents import ORIGIN_FIELDS, origin_of

# Of a cold disk they take seconds, and each question has ten.
_AT_ONCE: Final = 1000
_FIELDS: Final = {"SOPInstanceUID": 1, "blob": 1, "versions": 1, **ORIGIN_FIELDS}


@dataclass(frozen=True, slots=True)
class Reference:
    """The files of one instance, as its document names them."""

    instance: str
    """Public id."""
    sop_instance_uid: str
    current: Blob
    origin: Origin
    """Of the current version."""
    others: dict[str, datetime]
    """By digest the versions that are not current, and when each arrived."""

    @property
    def digests(self) -> list[str]:
        """Of all versions, the current one first."""
        return [self.current.digest, *self.others]


class References:
    """Reads what documents refer to. Runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, ids: Collection[str]) -> dict[str, Reference]:
        """Return those of the instances with these public ids that the index knows.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        found: dict[str, Reference] = {}
        remaining = iter(ids)
        with translated():
            while some := list(islice(remaining, _AT_ONCE)):
                cursor = self._database.instances.find({"_id": {"$in": some}}, _FIELDS)
                found |= {each["_id"]: _reference(each) for each in await cursor.to_list(None)}
        return found

    async def all(self) -> AsyncIterator[Reference]:
        """Yield those of every instance, in no order.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            async for document in self._database.instances.find({}, _FIELDS, batch_size=_AT_ONCE):
                yield _reference(document)


def _reference(document: Document) -> Reference:
    blob = document["blob"]
    return Reference(
        instance=document["_id"],
        sop_instance_uid=document["SOPInstanceUID"],
        current=Blob(blob["digest"], blob["size"]),
        origin=origin_of(document),
        others={each["digest"]: each["received_at"] for each in document["versions"]},
    )
