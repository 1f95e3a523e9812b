"""Walking from level to level: studies, their series, their instances, a few at a time.

A query is started where it says most: at the lowest level whose unique key it names, else
at the highest level it has conditions on. From there the walk goes up to what contains the
entities found and then down to the level asked for, and only as far as somebody reads.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from hilum.core.levels import Level
from hilum.core.query import AnyOf, Exact, Query
from hilum.index.database import Database, Document
from hilum.index.filters import Filter, level_filters

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCursor

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
) -> AsyncGenerator[list[Row], None]:
    """Yield what `query` finds, STUDY to IMAGE level, with all that contains it.

    Parameters
    ----------
    projections
        Fields wanted of each level's documents.

    Yields
    ------
    list of Row
        As many as come at a time, at least one: awaiting each takes longer than to read it.

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
        async for batch in found:
            yield batch


async def page(found: AsyncGenerator[list[T], None], query: Query) -> AsyncGenerator[list[T], None]:
    """Yield those of `found` that lie within the offset and limit of `query`."""
    skipped, left = query.offset, query.limit
    if left == 0:
        return
    async for batch in found:
        kept = batch[skipped:]
        skipped = max(0, skipped - len(batch))
        if left is not None:
            kept = kept[:left]
            left -= len(kept)
        if kept:
            yield kept
        if left == 0:
            return


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
) -> AsyncGenerator[list[Row], None]:
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
        while documents := await cursor.to_list(_BATCH):
            yield [{level: document} for document in documents]
    finally:
        await _close(cursor)


async def _with_parents(
    database: Database,
    found: AsyncGenerator[list[Row], None],
    level: Level,
    filters: Mapping[Level, Filter],
    projections: Projections,
) -> AsyncGenerator[list[Row], None]:
    """Add the documents above; leave out rows that the conditions above exclude."""
    async for chunk in _chunks(found, _PARENTS_AT_ONCE):
        remaining = chunk
        child = level
        while child in _PARENT:
            parent = LEVELS[LEVELS.index(child) - 1]
            field = _PARENT[child]
            ids = list({row[child][field] for row in remaining})
            cursor = database.collection(parent).find(
                {"$and": [{"_id": {"$in": ids}}, filters[parent]]}, _fields(projections, parent)
            )
            parents = {document["_id"]: document for document in await cursor.to_list(None)}
            remaining = [
                {**row, parent: parents[row[child][field]]}
                for row in remaining
                if row[child][field] in parents
            ]
            child = parent
        if remaining:
            yield remaining


async def _with_children(
    database: Database,
    found: AsyncGenerator[list[Row], None],
    level: Level,
    condition: Filter,
    projections: Projections,
) -> AsyncGenerator[list[Row], None]:
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
                while documents := await cursor.to_list(_BATCH):
                    yield [{**chunk[0], level: document} for document in documents]
                continue
            children: dict[str, list[Document]] = {}
            for document in await cursor.to_list(None):
                children.setdefault(document[field], []).append(document)
        finally:
            await _close(cursor)
        batch = [
            {**row, level: document}
            for key, row in by_id.items()
            for document in children.get(key, ())
        ]
        if batch:
            yield batch


async def _chunks(
    found: AsyncGenerator[list[Row], None],
    weight: int,
    level: Level | None = None,
    field: str = "",
) -> AsyncGenerator[list[Row], None]:
    """Yield rows in lists of at least one, and of about `weight` by the field's number."""
    chunk: list[Row] = []
    total = 0
    async for batch in found:
        for row in batch:
            own = max(1, row[level].get(field) or 1) if level else 1
            if chunk and total + own > weight:
                yield chunk
                chunk, total = [], 0
            chunk.append(row)
            total += own
    if chunk:
        yield chunk


async def _close(cursor: "AsyncIOMotorCursor[Document]") -> None:
    # One that is exhausted is closed, and to say so would take a thread. (A property, though
    # the driver's stub has it as a method.)
    if cursor.alive:  # type: ignore[truthy-function]
        await cursor.close()


def _fields(projections: Projections, level: Level) -> dict[str, Any]:
    return {**_NEEDED, **projections.get(level, {})}
