"""``GET /api/dicom/studies`` and ``/api/dicom/studies/{study_uid}``."""

import asyncio
from collections.abc import Collection, Sequence
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
from hilum.index.stored import Match
from hilum.services.protection import Protection
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

    def __init__(self, search: Search, protection: Protection) -> None:
        self._search = search
        self._protection = protection

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
        return await self.told([match async for match in self._search.find(query)])

    async def told(self, matches: Sequence[Match]) -> list[dict[str, object]]:
        """Return what the list tells of studies."""
        protected = await self._protected(matches)
        return [
            {**study_json(match), "protected": _is_protected(match, protected)} for match in matches
        ]

    async def _protected(self, matches: Sequence[Match]) -> set[str]:
        """Return which of these studies, and of their patients, are protected."""
        ids = {public_id for match in matches for public_id in (match.study, match.patient)}
        return await self._protection.among(ids)

    async def _one(self, request: web.Request) -> web.Response:
        study_uid = parse_uid(request.match_info["study_uid"], "the study's UID")
        tree = await self._search.study(study_uid)
        protected = await self._protected([tree.study])
        return success({**study_tree_json(tree), "protected": _is_protected(tree.study, protected)})


def _is_protected(match: Match, protected: Collection[str]) -> bool:
    return match.study in protected or match.patient in protected


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
