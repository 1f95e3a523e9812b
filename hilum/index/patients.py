"""Queries at PATIENT level: patients are found through their studies."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from hilum.core.instance import Attributes
from hilum.core.levels import COMPUTED_KEYWORDS, STORED_KEYWORDS, Level, json_tag, vr_of
from hilum.core.query import AnyOf, Condition, Exact, Query
from hilum.index.database import Database, Document
from hilum.index.filters import level_filters
from hilum.index.stored import Match
from hilum.index.walk import page

_TAGS: Final = frozenset(json_tag(keyword) for keyword in STORED_KEYWORDS[Level.PATIENT])
_COMPUTED: Final = COMPUTED_KEYWORDS[Level.PATIENT]
_AT_ONCE: Final = 200

#: The newest study speaks for its patient.
_NEWEST_FIRST: Final = {"StudyDate": -1, "StudyTime": -1, "_id": 1}


async def find(database: Database, query: Query) -> AsyncGenerator[list[Match], None]:
    """Yield the patients that `query` finds, by name, then Patient ID; some at a time."""
    async with aclosing(_matching(database, query)) as found:
        async for batch in page(found, query):
            yield batch


async def count(database: Database, query: Query) -> int:
    """Return the number of patients that `query` finds."""
    async with aclosing(_matching(database, query)) as found:
        return sum([len(batch) async for batch in found])


async def _matching(database: Database, query: Query) -> AsyncGenerator[list[Match], None]:
    counted = [each for each in query.conditions if each.keyword in _COMPUTED]
    stored = tuple(each for each in query.conditions if each.keyword not in _COMPUTED)
    studies = level_filters(Query(Level.STUDY, stored, text=query.text))[Level.STUDY]
    cursor = database.studies.aggregate(
        [
            {"$match": studies},
            {"$sort": _NEWEST_FIRST},
            {
                "$group": {
                    "_id": "$patient",
                    "study": {"$first": "$_id"},
                    # As an array it would sort by whichever group comes first, or is absent.
                    "name": {"$first": {"$arrayElemAt": ["$search.PatientName", 0]}},
                    "id": {"$first": "$PatientID"},
                }
            },
            {"$sort": {"name": 1, "id": 1, "_id": 1}},
        ]
    )
    try:
        while chunk := await cursor.to_list(_AT_ONCE):
            found = await _matches(database, chunk)
            if kept := [match for match in found if _meets(match, counted)]:
                yield kept
    finally:
        await cursor.close()


async def _matches(database: Database, patients: list[Document]) -> list[Match]:
    studies = {
        document["_id"]: document
        async for document in database.studies.find(
            {"_id": {"$in": [each["study"] for each in patients]}}, {"attributes": 1}
        )
    }
    # Over all of a patient's studies, not only those that matched.
    totals = {
        document["_id"]: document
        async for document in database.studies.aggregate(
            [
                {"$match": {"PatientID": {"$in": [each["id"] for each in patients]}}},
                {
                    "$group": {
                        "_id": "$patient",
                        "studies": {"$sum": 1},
                        "series": {"$sum": "$NumberOfStudyRelatedSeries"},
                        "instances": {"$sum": "$NumberOfStudyRelatedInstances"},
                        "frames": {"$sum": "$frames"},
                        "size": {"$sum": "$size"},
                        "received_at": {"$min": "$received_at"},
                        "updated_at": {"$max": "$updated_at"},
                    }
                },
            ]
        )
    }
    return [
        _match(each["_id"], studies[each["study"]], totals[each["_id"]])
        for each in patients
        if each["study"] in studies and each["_id"] in totals
    ]


def _match(patient: str, study: Document, total: Document) -> Match:
    attributes: Attributes = {
        tag: element for tag, element in study.get("attributes", {}).items() if tag in _TAGS
    }
    for keyword, field in zip(_COMPUTED, ("studies", "series", "instances"), strict=True):
        attributes[json_tag(keyword)] = {"vr": vr_of(keyword), "Value": [total[field]]}
    return Match(
        attributes=attributes,
        patient=patient,
        frame_count=total["frames"],
        size_bytes=total["size"],
        received_at=total["received_at"],
        updated_at=total["updated_at"],
    )


def _meets(match: Match, conditions: list[Condition]) -> bool:
    """Return whether the counts of a patient are those that were asked for."""
    for condition in conditions:
        [found] = match.attributes[json_tag(condition.keyword)]["Value"]
        wanted: Any = condition.matching
        alternatives = wanted.alternatives if isinstance(wanted, AnyOf) else (wanted,)
        if Exact(found) not in alternatives:
            return False
    return True
