"""``GET /api/dicom/studies`` and ``/api/dicom/studies/{study_uid}``."""

import asyncio
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from hilum.core.identifiers import parse_uid
from hilum.core.levels import Level
from hilum.core.matching import matching_of
from hilum.core.query import Condition, Query
from hilum.http.answers import success
from hilum.http.parameters import single, whole
from hilum.http.study_json import study_json, study_tree_json
from hilum.services.search import Search

#: Parameter to the attribute it filters by.
FILTERS: Final = {
    "patientID": "PatientID",
    "patientName": "PatientName",
    "accessionNumber": "AccessionNumber",
    "modality": "ModalitiesInStudy",
    "studyDate": "StudyDate",
}
_LIMIT: Final = 50
_LARGEST_LIMIT: Final = 1000
_LARGEST_OFFSET: Final = 2**31 - 1


class Studies:
    """Lists studies, and tells all about one."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/dicom/studies", self._list),
            web.get("/api/dicom/studies/{study_uid}", self._one),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        query = parse_study_query(request.query)
        total, studies = await asyncio.gather(self._search.count(query), self._page(query))
        return success(studies, total=total, limit=query.limit, offset=query.offset)

    async def _page(self, query: Query) -> list[dict[str, object]]:
        return [study_json(match) async for match in self._search.find(query)]

    async def _one(self, request: web.Request) -> web.Response:
        study_uid = parse_uid(request.match_info["study_uid"], "the study's UID")
        return success(study_tree_json(await self._search.study(study_uid)))


def parse_study_query(parameters: MultiMapping[str]) -> Query:
    """Return the query that the parameters of the list stand for; unknown ones are left alone.

    Values match as in a C-FIND (PS3.4 C.2.2.2): ``*`` and ``?`` are wildcards, dates may be
    ranges, but of a name any beginnings of its words will do.

    Raises
    ------
    Invalid
        A date is none, or a number is out of range.
    """
    given = single(parameters, (*FILTERS, "search", "limit", "offset"))
    conditions = []
    for name, keyword in FILTERS.items():
        matching = matching_of(keyword, [given[name]], fuzzy=True) if name in given else None
        if matching is not None:
            conditions.append(Condition(keyword, matching))
    return Query(
        level=Level.STUDY,
        conditions=tuple(conditions),
        limit=whole("limit", given.get("limit", str(_LIMIT)), 1, _LARGEST_LIMIT),
        offset=whole("offset", given.get("offset", "0"), 0, _LARGEST_OFFSET),
        text=given.get("search"),
    )
