"""Walking from level to level: studies, their series, their instances, a few at a time.

A query is started where it says most: at the lowest level whose unique key it names, else
at the highest level it has conditions on. From there the walk goes up to what contains the
entities found and then down to the level asked for, and only as far as somebody reads.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final, TypeAlias, TypeVar

from hilum.core.levels import Level
from hilum.core.query import AnyOf, Exact, Query
from hilum.index.database import Database, Document
from hilum.index.filters import Filter, level_filters

#: The documents of one entity and of all that contains it, by level.
Row: TypeAlias = dict[Level, Document]
T = TypeVar("T")
Projections: TypeAlias = Mapping[Level, Mapping[str, Any]]

LEVELS: Final = (Level.STUDY, Level.SERIES, Level.IMAGE)
#: Newest studies first; in them by number. `order` ends in a UID, so the order is total.
_SORT: Final = {
    Level.STUDY: [("StudyDate", -1), ("StudyTime", -1), ("_id", 1)],
    Level.SERIES: [("study", 1), ("order", 1)],
    Level.IMAGE: [("series", 1), ("order", 1)],
}
#: Field with the public id of the entity that contains this one.
_PARENT: Final = {Level.SERIES: "study", Level.IMAGE: "series"}
#: Field of the containing entity that says how many it contains.
_CHILDREN: Final = {
    Level.SERIES: "NumberOfStudyRelatedSeries",
    Level.IMAGE: "NumberOfSeriesRelatedInstances",
}
#: What every step needs of a document, whoever asks for more.
_NEEDED: Final[Mapping[str, int]] = {
    "study": 1,
    "series": 1,
    **dict.fromkeys(_CHILDREN.values(), 1),
}
#: Entities, expected ones, that are fetched at once.
_AT_ONCE: Final = 1000
_PARENTS_AT_ONCE: Final = 200
#: Documents that MongoDB sends at a time. It waits until it has found that many, so more
#: would keep the first match of a slow search from whoever asked.
_BATCH: Final = 250


async def rows(
    database: Database, query: Query, projections: Projections
) -> AsyncGenerator[Row, None]:
    """Yield what `query` finds, STUDY to IMAGE level, with all that contains it.

    Parameters
    ----------
    projections
        Fields wanted of each level's documents.

    Notes
    -----
    Holds some thousand documents at most. Limit and offset of the query apply.
    """
    filters = level_filters(query)
    start = starting_level(query, filters)
    only_here = start is query.level is Level.STUDY
    async with AsyncExitStack() as stack:
        found = _scan(database, start, filters[start], projections, query if only_here else None)
        await stack.enter_async_context(aclosing(found))
        if start is not Level.STUDY:
            found = _with_parents(database, found, start, filters, projections)
            await stack.enter_async_context(aclosing(found))
        for level in LEVELS[LEVELS.index(start) + 1 : LEVELS.index(query.level) + 1]:
            found = _with_children(database, found, level, filters[level], projections)
            await stack.enter_async_context(aclosing(found))
        if not only_here:
            found = page(found, query)
            await stack.enter_async_context(aclosing(found))
        async for row in found:
            yield row


async def page(found: AsyncGenerator[T, None], query: Query) -> AsyncGenerator[T, None]:
    """Yield those of `found` that lie within the offset and limit of `query`."""
    end = None if query.limit is None else query.offset + query.limit
    position = 0
    async for each in found:
        if end is not None and position >= end:
            return
        if position >= query.offset:
            yield each
        position += 1


def starting_level(query: Query, filters: Mapping[Level, Filter]) -> Level:
    """Return the level whose collection is read first."""
    named = {
        condition.keyword
        for condition in query.conditions
        if isinstance(condition.matching, Exact | AnyOf)
    }
    levels = LEVELS[: LEVELS.index(query.level) + 1]
    by_key = [level for level in levels if level.unique_key in named]
    if by_key:
        return by_key[-1]
    return next((level for level in levels if filters[level]), Level.STUDY)


async def _scan(
    database: Database,
    level: Level,
    condition: Filter,
    projections: Projections,
    paged: Query | None,
) -> AsyncGenerator[Row, None]:
    cursor = (
        database.collection(level)
        .find(condition, _fields(projections, level), batch_size=_BATCH)
        .sort(_SORT[level])
    )
    if paged is not None:
        if paged.limit == 0:
            return  # To MongoDB a limit of 0 is none.
        cursor = cursor.skip(paged.offset).limit(paged.limit or 0)
    try:
        async for document in cursor:
            yield {level: document}
    finally:
        await cursor.close()


async def _with_parents(
    database: Database,
    found: AsyncGenerator[Row, None],
    level: Level,
    filters: Mapping[Level, Filter],
    projections: Projections,
) -> AsyncGenerator[Row, None]:
    """Add the documents above; leave out rows that the conditions above exclude."""
    async for chunk in _chunks(found, _PARENTS_AT_ONCE):
        remaining = chunk
        child = level
        while child in _PARENT:
            parent = LEVELS[LEVELS.index(child) - 1]
            ids = list({row[child][_PARENT[child]] for row in remaining})
            cursor = database.collection(parent).find(
                {"$and": [{"_id": {"$in": ids}}, filters[parent]]}, _fields(projections, parent)
            )
            parents = {document["_id"]: document async for document in cursor}
            remaining = [
                {**row, parent: parents[row[child][_PARENT[child]]]}
                for row in remaining
                if row[child][_PARENT[child]] in parents
            ]
            child = parent
        for row in remaining:
            yield row


async def _with_children(
    database: Database,
    found: AsyncGenerator[Row, None],
    level: Level,
    condition: Filter,
    projections: Projections,
) -> AsyncGenerator[Row, None]:
    """Replace each row by one for each entity of `level` in it, in order."""
    above = LEVELS[LEVELS.index(level) - 1]
    field = _PARENT[level]
    async for chunk in _chunks(found, _AT_ONCE, above, _CHILDREN[level]):
        by_id = {row[above]["_id"]: row for row in chunk}
        cursor = (
            database.collection(level)
            .find(
                {"$and": [{field: {"$in": list(by_id)}}, condition]},
                _fields(projections, level),
                batch_size=_BATCH,
            )
            .sort(_SORT[level])
        )
        try:
            if len(chunk) == 1:
                # However many there are, they need not be held.
                async for document in cursor:
                    yield {**chunk[0], level: document}
                continue
            children: dict[str, list[Document]] = {}
            async for document in cursor:
                children.setdefault(document[field], []).append(document)
        finally:
            await cursor.close()
        for key, row in by_id.items():
            for document in children.get(key, ()):
                yield {**row, level: document}


async def _chunks(
    found: AsyncGenerator[Row, None], weight: int, level: Level | None = None, field: str = ""
) -> AsyncGenerator[list[Row], None]:
    """Yield rows in lists of at least one, and of about `weight` by the field's number."""
    chunk: list[Row] = []
    total = 0
    async for row in found:
        own = max(1, row[level].get(field) or 1) if level else 1
        if chunk and total + own > weight:
            yield chunk
            chunk, total = [], 0
        chunk.append(row)
        total += own
    if chunk:
        yield chunk


def _fields(projections: Projections, level: Level) -> dict[str, Any]:
    return {**_NEEDED, **projections.get(level, {})}
