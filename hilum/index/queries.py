"""The collections `queries` and `answers`: what clients have asked other nodes, for a while."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import Level
from hilum.index.database import Database, Document
from hilum.index.faults import translated

_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class RemoteQuery:
    """A query of a client, and how many answers it has got."""

    id: str
    modality: str
    level: Level
    keys: Attributes
    answers: int


class QueryLedger:
    """Reads and writes; runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._queries = database.raw["queries"]
        self._answers = database.raw["answers"]

    async def add(
        self, modality: str, level: Level, keys: Attributes, answers: Sequence[Attributes]
    ) -> RemoteQuery:
        """Keep a query with its answers."""
        query = RemoteQuery(str(uuid.uuid4()), modality, level, keys, len(answers))
        at = datetime.now(UTC)
        documents: list[Document] = [
            {"query": query.id, "number": number, "attributes": each, "created_at": at}
            for number, each in enumerate(answers)
        ]
        with translated():
            for start in range(0, len(documents), _AT_ONCE):
                await self._answers.insert_many(documents[start : start + _AT_ONCE])
            # Last: what is listed is whole.
            await self._queries.insert_one(
                {
                    "_id": query.id,
                    "modality": modality,
                    "level": level.value,
                    "keys": keys,
                    "answers": len(answers),
                    "created_at": at,
                }
            )
        return query

    async def ids(self) -> list[str]:
        """Return the ids of all queries."""
        with translated():
            return sorted(each["_id"] for each in await self._queries.find({}, {}).to_list(None))

    async def one(self, query_id: str) -> RemoteQuery:
        """Return a query.

        Raises
        ------
        NotFound
            There is none of this id, or no longer.
        """
        with translated():
            document = await self._queries.find_one({"_id": query_id})
        if document is None:
            raise NotFound(f"no query {query_id[:36]}")
        return RemoteQuery(
            document["_id"],
            document["modality"],
            Level(document["level"]),
            document["keys"],
            document["answers"],
        )

    async def answers(self, query_id: str) -> list[Attributes]:
        """Return the answers of a query, in the order in which they came."""
        with translated():
            cursor = self._answers.find({"query": query_id}).sort("number", 1)
            return [each["attributes"] for each in await cursor.to_list(None)]

    async def answer(self, query_id: str, number: int) -> Attributes | None:
        """Return one answer of a query, counted from 0; None if it has not so many."""
        with translated():
            document = await self._answers.find_one({"query": query_id, "number": number})
        return None if document is None else document["attributes"]

    async def remove(self, query_id: str) -> None:
        """Forget a query, if it is there."""
        with translated():
            await self._queries.delete_one({"_id": query_id})
            await self._answers.delete_many({"query": query_id})
