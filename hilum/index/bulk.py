"""Many writes in one command to MongoDB, of which some may find that they come too late."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from hilum.index.database import Document

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

_DUPLICATE_KEY: Final = 11000


async def executed(
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
