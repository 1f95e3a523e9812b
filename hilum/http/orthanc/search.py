"""``/tools/find``, ``/tools/count-resources`` and ``/tools/lookup``: searching what is here."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from aiohttp import web
from pydicom.datadict import keyword_for_tag

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import LEVEL_OF, Level, json_tag, vr_of
from hilum.core.main_tags import text_of
from hilum.core.matching import matching_of
from hilum.core.query import Condition, Exact, Query
from hilum.http.orthanc.bodies import count, object_of, strings, truth
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.errors import BAD_REQUEST, OUT_OF_RANGE, UNKNOWN_TAG, Refusal
from hilum.http.orthanc.listing import list_answer
from hilum.http.orthanc.resources import NAMES, PLURALS
from hilum.http.orthanc.styled import json_answer
from hilum.http.orthanc.tag_names import Form, tag_named
from hilum.index.attached import Attached
from hilum.index.filters import wildcard_pattern
from hilum.index.resources import Resources
from hilum.index.stored import Match
from hilum.services.search import Search

_LEVELS: Final = {name.lower(): level for level, name in NAMES.items()}
_PARENTS: Final = {
    "ParentPatient": Level.PATIENT,
    "ParentStudy": Level.STUDY,
    "ParentSeries": Level.SERIES,
}
_CONSTRAINTS: Final = frozenset({"All", "Any", "None"})
_LONGEST_IDENTIFIER: Final = 256


@dataclass(frozen=True)
class _Wanted:
    """What a body asks for."""

    level: Level
    query: Query
    """At `level`, or at the lowest level it has conditions on."""
    labelled: frozenset[str] | None = None
    """Public ids to which `excluded` applies; None: labels do not matter."""
    excluded: bool = False
    names: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    """Of names by tag, what they have to match in capitals and small letters; the index does
    not tell these apart."""

    @property
    def direct(self) -> bool:
        """Whether what the query finds is what is wanted, one for one."""
        return self.query.level is self.level and self.labelled is None and not self.names

    def has(self, public_id: str) -> bool:
        return self.labelled is None or (public_id in self.labelled) != self.excluded

    def spelt(self, attributes: Attributes) -> bool:
        return all(
            pattern.match(text_of(attributes.get(tag, {}))) is not None
            for tag, pattern in self.names.items()
        )


class SearchRoutes:
    """Finds resources by their tags, labels and identifiers."""

    def __init__(
        self, search: Search, resources: Resources, attached: Attached, describer: Describer
    ) -> None:
        self._search = search
        self._resources = resources
        self._attached = attached
        self._describer = describer

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/tools/find", self._find),
            web.post("/tools/count-resources", self._count),
            web.post("/tools/lookup", self._lookup),
        ]

    async def _find(self, request: web.Request) -> web.StreamResponse:
        body = await object_of(request)
        wanted = await self._wanted(body)
        since, limit = count(body, "Since"), count(body, "Limit") or None
        if wanted is None:
            return json_answer([])
        if wanted.direct:
            query = replace(wanted.query, offset=since, limit=limit)
            ids = [key async for key in self._ids(replace(wanted, query=query))]
        else:
            ids = [key async for key in self._ids(wanted)][since:][:limit]
        if not (truth(body, "Expand") or "ResponseContent" in body):
            return json_answer(ids)
        requested = strings(body, "RequestedTags") if "RequestedTags" in body else ()
        describe = partial(
            self._describer.some, wanted.level, form=form_of_body(body), requested=requested
        )
        return await list_answer(request, ids, describe)

    async def _count(self, request: web.Request) -> web.Response:
        wanted = await self._wanted(await object_of(request))
        if wanted is None:
            number = 0
        elif wanted.direct:
            number = await self._search.count(wanted.query)
        else:
            number = len([key async for key in self._ids(wanted)])
        return json_answer({"Count": number})

    async def _lookup(self, request: web.Request) -> web.Response:
        text = (await request.read()).decode(errors="replace").strip(" \0\r\n\t")
        found = await self._resources.lookup(text) if 0 < len(text) <= _LONGEST_IDENTIFIER else ()
        return json_answer(
            [
                {"ID": key, "Path": f"/{PLURALS[level]}/{key}", "Type": NAMES[level]}
                for level, key in found
            ]
        )

    async def _ids(self, wanted: _Wanted) -> AsyncIterator[str]:
        """Yield the public ids of what is wanted, each once."""
        seen: set[str] = set()
        async with aclosing(self._search.find(wanted.query)) as found:
            async for match in found:
                key = _id_at(wanted.level, match)
                if key not in seen and wanted.has(key) and wanted.spelt(match.attributes):
                    # Of what is found one for one, nothing comes twice.
                    if wanted.query.level is not wanted.level:
                        seen.add(key)
                    yield key

    async def _wanted(self, body: dict[str, Any]) -> _Wanted | None:
        """Return what a body asks for; None if there can be no such thing."""
        level = level_of_body(body)
        if not isinstance(body.get("Query"), dict):
            raise Refusal(BAD_REQUEST, 'Field "Query" is missing, or should be a JSON object')
        if body.get("MetadataQuery"):
            raise Refusal(BAD_REQUEST, "MetadataQuery is not supported")
        conditions = _conditions(body["Query"], any_case=not truth(body, "CaseSensitive"))
        for name, parent in _PARENTS.items():
            if body.get(name):
                try:
                    resource = await self._resources.one(parent, str(body[name]))
                except NotFound:
                    return None
                uids = (resource.patient_id, *resource.uids)
                keywords = [each.unique_key for each in parent.with_above]
                conditions += (
                    Condition(keyword, Exact(uid))
                    for keyword, uid in zip(keywords, uids, strict=False)
                )
        levels = tuple(Level)
        lowest = max([level, *(LEVEL_OF[each.keyword] for each in conditions)], key=levels.index)
        spelling = _spelling(body["Query"]) if truth(body, "CaseSensitive") else {}
        names = {json_tag(keyword): pattern for keyword, pattern in spelling.items()}
        query = Query(lowest, tuple(conditions), requested=(lowest.unique_key, *spelling))
        if "Labels" not in body and "LabelsConstraint" not in body:
            return _Wanted(level, query, names=names)
        constraint = body.get("LabelsConstraint", "All")
        labels = strings(body, "Labels") if "Labels" in body else []
        if constraint not in _CONSTRAINTS:
            raise Refusal(OUT_OF_RANGE, "LabelsConstraint is All, Any or None")
        if not labels and constraint != "None":
            return _Wanted(level, query, names=names)
        found, included = await self._attached.labelled(level, labels, constraint)
        return _Wanted(level, query, frozenset(found), excluded=not included, names=names)


def level_of_body(body: Mapping[str, Any]) -> Level:
    """Return the level that a body names."""
    name = body.get("Level")
    if not isinstance(name, str):
        raise Refusal(BAD_REQUEST, 'Field "Level" is missing, or should be a string')
    if name.lower() not in _LEVELS:
        raise Refusal(OUT_OF_RANGE, "Level is Patient, Study, Series or Instance")
    return _LEVELS[name.lower()]


def form_of_body(body: dict[str, Any]) -> Form:
    """Return how tags are to be named, as a body asks for."""
    if truth(body, "Short"):
        return Form.SHORT
    return Form.FULL if truth(body, "Full") else Form.HUMAN


def _conditions(query: Mapping[str, Any], *, any_case: bool) -> list[Condition]:
    conditions = []
    for name, value in query.items():
        if not isinstance(value, str):
            raise Refusal(BAD_REQUEST, f'Tag "{name[:64]}" should be associated with a string')
        tag = tag_named(name)
        if tag is None:
            raise Refusal(UNKNOWN_TAG, f"{name[:64]} is no tag")
        if not value:
            continue
        keyword = keyword_for_tag(tag)
        if keyword not in LEVEL_OF or vr_of(keyword) == "SQ":
            # Left out in silence it would find what was not asked for.
            raise Refusal(BAD_REQUEST, f"{name[:64]} is not kept in the index")
        matching = matching_of(keyword, value.split("\\"), any_case=any_case)
        if matching is not None:
            conditions.append(Condition(keyword, matching))
    return conditions


def _spelling(query: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Return by keyword what names have to match as they are written."""
    patterns = {}
    for name, value in query.items():
        tag = tag_named(name)
        keyword = keyword_for_tag(tag) if tag is not None else ""
        if value and keyword in LEVEL_OF and vr_of(keyword) == "PN":
            alternatives = [wildcard_pattern(each.strip()) for each in value.split("\\")]
            patterns[keyword] = re.compile("|".join(alternatives), re.DOTALL)
    return patterns


def _id_at(level: Level, match: Match) -> str:
    ids: dict[Level, str] = {
        Level.PATIENT: match.patient,
        Level.STUDY: match.study,
        Level.SERIES: match.series,
        Level.IMAGE: match.instance,
    }
    return ids[level]
