"""QIDO-RS: search for studies, series and instances (PS3.18 10.6).

Matching is that of C-FIND: the same queries against the same index. What is the web's own
is here: the resources, pages with a largest size, warnings, and where to fetch a match.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

import orjson
from aiohttp import web

from hilum.core.identifiers import parse_uid
from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag
from hilum.core.qido_query import parse_qido
from hilum.core.query import Query
from hilum.http.compression import answer
from hilum.http.dicomweb.media_types import Form, accepted, choose, not_acceptable
from hilum.http.dicomweb.urls import SERVICE_PATH, service_url
from hilum.services.search import Search

#: Matches in one answer, whatever the limit asked for: some 15 MB of JSON. More are had by
#: asking again with an offset, and an answer that leaves any out says so.
LARGEST_PAGE: Final = 10_000
#: What searches are answered in.
MEDIA_TYPES: Final = ("application/dicom+json", "application/json")
_FORMS: Final = tuple(Form(media_type) for media_type in MEDIA_TYPES)

_STUDY: Final = "/studies/{study_uid}"
_SERIES: Final = "/series/{series_uid}"
#: What can be searched (Table 10.6.1-1).
RESOURCES: Final = {
    "/studies": Level.STUDY,
    f"{_STUDY}/series": Level.SERIES,
    f"{_STUDY}/instances": Level.IMAGE,
    f"{_STUDY}{_SERIES}/instances": Level.IMAGE,
    "/series": Level.SERIES,
    "/instances": Level.IMAGE,
}
_WITHIN: Final = {"study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID"}
#: Path of a match from the one that contains it, by level, and the attribute that names it.
_PLACES: Final = (
    (Level.STUDY, "studies", json_tag("StudyInstanceUID")),
    (Level.SERIES, "series", json_tag("SeriesInstanceUID")),
    (Level.IMAGE, "instances", json_tag("SOPInstanceUID")),
)
_RETRIEVE_URL: Final = json_tag("RetrieveURL")
#: What every answer has (Tables 10.6.3-3 to 10.6.3-5); the URL is each match's own.
_CONSTANT: Final[Attributes] = {
    # Of no meaning to JSON; whoever makes a data set of it has to know.
    json_tag("SpecificCharacterSet"): {"vr": "CS", "Value": ["ISO_IR 192"]},
    json_tag("InstanceAvailability"): {"vr": "CS", "Value": ["ONLINE"]},
    _RETRIEVE_URL: {},
}


class Qido:
    """Answers searches."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(SERVICE_PATH + path, partial(self._find, level))
            for path, level in RESOURCES.items()
        ]

    async def _find(self, level: Level, request: web.Request) -> web.Response:
        if choose(accepted(request), _FORMS) is None:
            raise not_acceptable(_FORMS)
        within = {
            _WITHIN[name]: parse_uid(uid, _WITHIN[name]) for name, uid in request.match_info.items()
        }
        query = parse_qido(level, request.query.items(), within=within)
        limit = LARGEST_PAGE if query.limit is None else min(query.limit, LARGEST_PAGE)
        # One more than is given, to know whether there are more.
        matches, more = await self._page(replace(query, limit=limit + 1), limit, request)
        if matches:
            body = b"[" + b",".join(matches) + b"]"
            response = await answer(request, body, content_type=MEDIA_TYPES[0])
        else:
            response = web.Response(status=204)
        for text in _remarks(query):
            _warn(response, text)
        if more:
            remaining = await self._search.count(query) - query.offset - len(matches)
            _warn(
                response,
                f"There are {max(1, remaining)} additional results that can be requested",
            )
        return response

    async def _page(
        self, query: Query, limit: int, request: web.Request
    ) -> tuple[list[bytes], bool]:
        """Return up to `limit` matches as DICOM JSON, and whether there are more."""
        with_url = _with_url(query.level, service_url(request))
        matches: list[bytes] = []
        # As text at once: it is a tenth as large as what it is made of.
        async with aclosing(self._search.data_sets(query, _CONSTANT)) as found:
            async for batch in found:
                matches += [orjson.dumps(with_url(data_set)) for data_set in batch]
        return matches[:limit], len(matches) > limit


def _with_url(level: Level, service: str) -> Callable[[Attributes], Attributes]:
    """Return the function that adds to an answer where its match is to be had."""
    places = [(name, tag) for each, name, tag in _PLACES if each in level.with_above]

    def with_url(data_set: Attributes) -> Attributes:
        url = service
        for name, tag in places:
            url += f"/{name}/{data_set[tag]['Value'][0]}"
        # In the place that `_CONSTANT` keeps for it, so in order of tags (F.2.2).
        data_set[_RETRIEVE_URL] = {"vr": "UR", "Value": [url]}
        return data_set

    return with_url


def _remarks(query: Query) -> list[str]:
    if not query.unsupported:
        return []
    # What was asked for stands in a header now: nothing but what a header can carry.
    names = ", ".join(ascii(name)[1:-1].replace('"', "'")[:64] for name in query.unsupported[:8])
    return [f"Not matched on or not returned here, and ignored: {names}"]


def _warn(response: web.Response, text: str) -> None:
    """Add a warning that persists (RFC 7234 5.5.7)."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    response.headers.add("Warning", f'299 Hilum "{text}"')
