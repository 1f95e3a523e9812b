"""Reading the index: what a query finds, where an instance lies, the frames of a study."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import COMPUTED_KEYWORDS, LEVEL_OF, Level, json_tag, vr_of
from hilum.core.query import Condition, Exact, Query
from hilum.index import patients, walk
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.filters import Filter, level_filters
from hilum.index.instance_documents import STORED_FIELDS, stored_instance
from hilum.index.layouts import Layouts
from hilum.index.stored import Match, Statistics, StoredInstance, StudyLayout

__all__ = ["Catalogue", "Match", "Statistics", "StoredInstance", "StudyLayout"]

#: Field that a document keeps a computed attribute in.
_COMPUTED: Final[dict[Level, dict[str, str]]] = {
    level: {keyword: keyword for keyword in COMPUTED_KEYWORDS[level]} for level in walk.LEVELS
} | {Level.IMAGE: {"AvailableTransferSyntaxUID": "TransferSyntaxUID"}}

_MATCH_FIELDS: Final[Mapping[str, Any]] = {
    "patient": 1,
    "attributes": 1,
    "frames": 1,
    "size": 1,
    "blob": 1,
    "received_at": 1,
    "updated_at": 1,
}
_ABOVE: Final = {Level.SERIES: Level.STUDY, Level.IMAGE: Level.SERIES}
#: Where an entity of the first level says how many of the second it contains.
_COUNTERS: Final = {
    (Level.STUDY, Level.SERIES): "NumberOfStudyRelatedSeries",
    (Level.STUDY, Level.IMAGE): "NumberOfStudyRelatedInstances",
    (Level.SERIES, Level.IMAGE): "NumberOfSeriesRelatedInstances",
}
#: Up to here the entities of a level are counted, one by one.
_COUNTED: Final = 10_000
#: UIDs in one command to MongoDB.
_UIDS_AT_ONCE: Final = 1000
_INSTANCE_PROJECTIONS: Final = {Level.IMAGE: STORED_FIELDS, Level.SERIES: {"order": 1}}


class Catalogue:
    """Reads. Any number may run at once; runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = Layouts(database)

    async def find(self, query: Query) -> AsyncGenerator[Match, None]:
        """Yield what `query` finds, as it is found.

        Yields
        ------
        Match
            Patients by name; studies newest first; series and instances in the order of
            their studies and then by number. The order is total and stable, so that pages
            by offset and limit fit together.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, or no longer.

        Notes
        -----
        Memory is bounded, whatever the number of matches. Close the iterator (`aclosing`)
        to stop early.

        References
        ----------
        PS3.4 C.4.1.2, C.2.2.2
        """
        found = (
            patients.find(self._database, query)
            if query.level is Level.PATIENT
            else self._find(query)
        )
        with translated():
            async with aclosing(found):
                async for batch in found:
                    for match in batch:
                        yield match

    async def _find(self, query: Query) -> AsyncGenerator[list[Match], None]:
        above: Document | None = None
        inherited: Attributes = {}
        found = walk.rows(self._database, query, _projections(query))
        async with aclosing(found):
            async for rows in found:
                matches = []
                for row in rows:
                    container = row.get(_ABOVE[query.level]) if query.level in _ABOVE else None
                    if container is not above:
                        # Rows of one series share its document, and so what they inherit.
                        above = container
                        inherited = _inherited(row, query.level)
                    matches.append(_match(row, query.level, inherited))
                yield matches

    async def data_sets(
        self, query: Query, constant: Attributes
    ) -> AsyncGenerator[list[Attributes], None]:
        """Yield what `query` requests of all it finds, STUDY to IMAGE level, in `find`'s order.

        Parameters
        ----------
        constant
            Elements that each data set has beside what is requested.

        Yields
        ------
        list of data sets
            As many as come at a time, elements in order of tags.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer, or no longer.
        """
        level = query.level
        above: Document | None = None
        select = query.selector({}, constant)
        found = walk.rows(self._database, query, _requested(query))
        with translated():
            async with aclosing(found):
                async for rows in found:
                    data_sets = []
                    for row in rows:
                        if level in _ABOVE and row[_ABOVE[level]] is not above:
                            above = row[_ABOVE[level]]
                            select = query.selector(_inherited(row, level), constant)
                        document = row[level]
                        attributes = document.get("attributes", {})
                        attributes.update(_computed(level, document))
                        data_sets.append(select(attributes))
                    yield data_sets

    async def count(self, query: Query) -> int:
        """Return how many `query` finds, its limit and offset aside.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        query = replace(query, limit=None, offset=0)
        with translated():
            if query.level is Level.PATIENT:
                return await patients.count(self._database, query)
            filters = level_filters(query)
            elsewhere = [level for level, each in filters.items() if each and level != query.level]
            if not elsewhere:
                return await self._count(query.level, filters[query.level])
            return await self._count_below(query, filters)

    async def _count_below(self, query: Query, filters: Mapping[Level, Filter]) -> int:
        """Return how many `query` finds by conditions on what contains it.

        What no condition is on is not read: what is above says how many it contains.
        """
        levels = walk.LEVELS[: walk.LEVELS.index(query.level) + 1]
        lowest = max(levels.index(level) for level in levels if filters[level])
        counter = _COUNTERS.get((levels[lowest], query.level))
        found = walk.rows(
            self._database,
            replace(query, level=levels[lowest]) if counter else query,
            {levels[lowest]: {counter: 1}} if counter else {},
        )
        async with aclosing(found):
            batches = [
                sum(row[levels[lowest]].get(counter) or 0 for row in rows) if counter else len(rows)
                async for rows in found
            ]
        return sum(batches)

    async def _count(self, level: Level, condition: Filter) -> int:
        collection = self._database.collection(level)
        if not condition:
            # What MongoDB notes of a collection may be off by a few after a crash. Nobody
            # sees that in a large number, and a page that polls must not count to it.
            noted = await collection.estimated_document_count()
            if noted > _COUNTED:
                return noted
        return await collection.count_documents(condition)

    async def instances(self, query: Query) -> list[StoredInstance]:
        """Return the instances of all that `query` finds, whatever its level.

        Returns
        -------
        list of StoredInstance
            By study, series number and instance number.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        below = replace(query, level=Level.IMAGE)
        found = walk.rows(self._database, below, _INSTANCE_PROJECTIONS)
        with translated():
            async with aclosing(found):
                documents = [row async for batch in found for row in batch]
        documents.sort(key=_retrieval_order)
        return [stored_instance(row[Level.IMAGE]) for row in documents]

    async def with_uids(self, sop_instance_uids: Sequence[str]) -> list[StoredInstance]:
        """Return the instances of these SOP Instance UIDs, in whatever series, in no order.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        found: list[StoredInstance] = []
        with translated():
            for start in range(0, len(sop_instance_uids), _UIDS_AT_ONCE):
                some = list(sop_instance_uids[start : start + _UIDS_AT_ONCE])
                cursor = self._database.instances.find(
                    {"SOPInstanceUID": {"$in": some}}, STORED_FIELDS
                )
                found += [stored_instance(document) async for document in cursor]
        return found

    async def instance(self, public_id: str) -> StoredInstance:
        """Return the instance with this public id.

        Raises
        ------
        NotFound
            There is none.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            document = await self._database.instances.find_one({"_id": public_id}, STORED_FIELDS)
        if document is None:
            raise NotFound(f"no instance {public_id[:44]}")
        return stored_instance(document)

    async def study_frames(self, study_instance_uid: str) -> StudyLayout:
        """Return the instances and frames of a study in order.

        Raises
        ------
        NotFound
            There is no such study.
        IndexUnavailable
            MongoDB does not answer.

        Notes
        -----
        Recent layouts are kept, and read again only when their study has changed.
        """
        with translated():
            return await self._layouts.of(study_instance_uid)

    async def match(self, level: Level, public_id: str) -> Match:
        """Return the study, series or instance with this public id.

        Raises
        ------
        NotFound
            There is none.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            document = await self._database.collection(level).find_one(
                {"_id": public_id}, {level.unique_key: 1}
            )
        if document is not None:
            query = Query(level, (Condition(level.unique_key, Exact(document[level.unique_key])),))
            async with aclosing(self.find(query)) as found:
                async for match in found:
                    if public_id in {match.study, match.series, match.instance}:
                        return match
        raise NotFound(f"no {level.value.lower()} {public_id[:44]}")

    async def statistics(self) -> Statistics:
        """Return what the index holds.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        pipeline: list[Document] = [
            {
                "$group": {
                    "_id": "$patient",
                    "studies": {"$sum": 1},
                    "series": {"$sum": "$NumberOfStudyRelatedSeries"},
                    "instances": {"$sum": "$NumberOfStudyRelatedInstances"},
                    "frames": {"$sum": "$frames"},
                    "size": {"$sum": "$size"},
                }
            },
            {
                "$group": {
                    "_id": None,
                    "patients": {"$sum": 1},
                    "studies": {"$sum": "$studies"},
                    "series": {"$sum": "$series"},
                    "instances": {"$sum": "$instances"},
                    "frames": {"$sum": "$frames"},
                    "size_bytes": {"$sum": "$size"},
                }
            },
            {"$unset": "_id"},
        ]
        with translated():
            found = await self._database.studies.aggregate(pipeline).to_list(1)
        return Statistics(**found[0]) if found else Statistics(0, 0, 0, 0, 0, 0)


def _requested(query: Query) -> walk.Projections:
    """Return the fields that the requested attributes are in, and no others."""
    projections: dict[Level, dict[str, Any]] = {level: {} for level in walk.LEVELS}
    for keyword in query.requested:
        level = LEVEL_OF[keyword]
        fields = projections[Level.STUDY if level is Level.PATIENT else level]
        field = _COMPUTED.get(level, {}).get(keyword) or f"attributes.{json_tag(keyword)}"
        fields[field] = 1
    return projections


def _projections(query: Query) -> walk.Projections:
    """Return the fields that matches are made of: only what is requested, if that is said."""
    projections = {}
    for level in walk.LEVELS:
        fields = {**_MATCH_FIELDS, **dict.fromkeys(_COMPUTED[level].values(), 1)}
        if query.requested:
            del fields["attributes"]
            fields |= {f"attributes.{json_tag(keyword)}": 1 for keyword in query.requested}
        projections[level] = fields
    return projections


def _inherited(row: walk.Row, level: Level) -> Attributes:
    """Return the attributes of all that contains the entity of `level`."""
    attributes: Attributes = {}
    for above in walk.LEVELS[: walk.LEVELS.index(level)]:
        attributes.update(row[above].get("attributes", {}))
        attributes.update(_computed(above, row[above]))
    return attributes


def _match(row: walk.Row, level: Level, inherited: Attributes) -> Match:
    document = row[level]
    return Match(
        attributes={**inherited, **document.get("attributes", {}), **_computed(level, document)},
        patient=document["patient"],
        study=row[Level.STUDY]["_id"],
        series=row[Level.SERIES]["_id"] if Level.SERIES in row else "",
        instance=row[Level.IMAGE]["_id"] if Level.IMAGE in row else "",
        frame_count=document.get("frames", 0),
        size_bytes=document["blob"]["size"] if "blob" in document else document.get("size", 0),
        received_at=document.get("received_at"),
        updated_at=document.get("updated_at", document.get("received_at")),
    )


def _computed(level: Level, document: Document) -> Attributes:
    computed: Attributes = {}
    for keyword, field in _COMPUTED[level].items():
        value = document.get(field)
        element: dict[str, Any] = {"vr": vr_of(keyword)}
        if value or value == 0:
            element["Value"] = value if isinstance(value, list) else [value]
        computed[json_tag(keyword)] = element
    return computed


def _retrieval_order(row: walk.Row) -> tuple[str, str, str]:
    instance = row[Level.IMAGE]
    return instance["study"], row[Level.SERIES]["order"], instance["order"]
