"""``/tools/find``, ``/tools/count-resources`` and ``/tools/lookup``: searching what is here."""

import re
from collections.abc import AsyncIterator, Collection, Mapping
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
from hilum.core.query import AnyOf, Condition, Exact, Query
from hilum.http.orthanc.bodies import count, object_of, strings, truth
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.errors import BAD_REQUEST, OUT_OF_RANGE, UNKNOWN_TAG, Refusal
from hilum.http.orthanc.listing import AT_ONCE, list_answer
from hilum.http.orthanc.order import Order, is_natural, order_of
from hilum.http.orthanc.own_names import FIRST, OwnNames
from hilum.http.orthanc.resources import NAMES, PLURALS
from hilum.http.orthanc.response_content import ResponseContent, content_of
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
    only: Collection[str] | None = None
    """Public ids besides which nothing is wanted, by labels and metadata; None: all are."""
    without: Collection[str] = ()
    """Public ids that are not wanted."""
    names: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    """Of names by tag, what they have to match in capitals and small letters; the index does
    not tell these apart."""

    @property
    def direct(self) -> bool:
        """Whether what the query finds is what is wanted, one for one."""
        chosen = self.only is not None or self.without or self.names
        return self.query.level is self.level and not chosen

    def has(self, public_id: str) -> bool:
        return (self.only is None or public_id in self.only) and public_id not in self.without

    def spelt(self, attributes: Attributes) -> bool:
        return all(
            pattern.match(text_of(attributes.get(tag, {}))) is not None
            for tag, pattern in self.names.items()
        )


class SearchRoutes:
    """Finds resources by their tags, labels and identifiers."""

    def __init__(
        self,
        search: Search,
        resources: Resources,
        attached: Attached,
        describer: Describer,
        contents: ResponseContent,
        names: OwnNames,
    ) -> None:
        self._search = search
        self._resources = resources
        self._attached = attached
        self._describer = describer
        self._contents = contents
        self._names = names
        self._order = Order(resources, attached)

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
        order = order_of(body, self._names)
        if wanted is None:
            return json_answer([])
        if not is_natural(wanted.level, order):
            found = [key async for key in self._ids(wanted)]
            ids = (await self._order.of(wanted.level, found, order))[since:][:limit]
        elif wanted.direct:
            query = replace(wanted.query, offset=since, limit=limit)
            ids = [key async for key in self._ids(replace(wanted, query=query))]
        else:
            ids = [key async for key in self._ids(wanted)][since:][:limit]
        if not (truth(body, "Expand") or "ResponseContent" in body):
            return json_answer(ids)
        requested = strings(body, "RequestedTags") if "RequestedTags" in body else []
        form = form_of_body(body)
        if "ResponseContent" in body:
            content = content_of(body)
            told = partial(self._contents.some, wanted.level, content, form, requested)
            return await list_answer(request, ids, told)
        describe = partial(self._describer.some, wanted.level, form=form, requested=requested)
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
        only, without = await self._chosen(level, body)
        if only is not None:
            only -= without
            conditions += await self._narrowing(level, only)
            if not only:
                return None
        levels = tuple(Level)
        lowest = max([level, *(LEVEL_OF[each.keyword] for each in conditions)], key=levels.index)
        spelling = _spelling(body["Query"]) if truth(body, "CaseSensitive") else {}
        names = {json_tag(keyword): pattern for keyword, pattern in spelling.items()}
        query = Query(lowest, tuple(conditions), requested=(lowest.unique_key, *spelling))
        return _Wanted(level, query, only, without, names=names)

    async def _chosen(self, level: Level, body: dict[str, Any]) -> tuple[set[str] | None, set[str]]:
        """Return what may be found by labels and metadata, None for all; and what may not."""
        only = await self._by_metadata(level, body)
        if "Labels" not in body and "LabelsConstraint" not in body:
            return only, set()
        constraint = body.get("LabelsConstraint", "All")
        labels = strings(body, "Labels") if "Labels" in body else []
        if constraint not in _CONSTRAINTS:
            raise Refusal(OUT_OF_RANGE, "LabelsConstraint is All, Any or None")
        if not labels and constraint != "None":
            return only, set()
        found, included = await self._attached.labelled(level, labels, constraint)
        if not included:
            return only, set(found)
        return set(found) if only is None else only.intersection(found), set()

    async def _by_metadata(self, level: Level, body: dict[str, Any]) -> set[str] | None:
        """Return what ``MetadataQuery`` asks for; None: it asks for nothing."""
        asked = body.get("MetadataQuery", {})
        if not isinstance(asked, dict):
            raise Refusal(BAD_REQUEST, 'Field "MetadataQuery" must be a JSON object')
        only: set[str] | None = None
        case = re.NOFLAG if truth(body, "CaseSensitive") else re.IGNORECASE
        for name, value in asked.items():
            number = self._names.number_of(name)
            if not isinstance(value, str):
                raise Refusal(BAD_REQUEST, f'Tag "{name}" must be associated with a string')
            if number < FIRST:
                raise Refusal(BAD_REQUEST, f"{name} is not kept in the index")
            if not value:
                continue
            patterns = [wildcard_pattern(each) for each in value.split("\\")]
            pattern = re.compile("|".join(patterns), re.DOTALL | case)
            found = {
                key
                for key, noted in (await self._attached.noted(level, number)).items()
                if pattern.match(noted.decode(errors="replace"))
            }
            only = found if only is None else only & found
        return only

    async def _narrowing(self, level: Level, only: Collection[str]) -> list[Condition]:
        """Return conditions that the index can begin with where little may be found."""
        if not 0 < len(only) <= AT_ONCE:
            return []
        resources = await self._resources.some(level, list(only))
        uids = [each.uids[-1] if each.uids else each.patient_id for each in resources]
        if not uids or not all(uids):
            return []
        return [Condition(level.unique_key, AnyOf(tuple(Exact(uid) for uid in uids)))]


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
