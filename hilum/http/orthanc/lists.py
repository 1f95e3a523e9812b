"""Resources one by one and in lists, what they contain and what contains them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from hilum.core.levels import Level
from hilum.http.orthanc.describe import Describer, form_of, requested_of
from hilum.http.orthanc.errors import Refusal
from hilum.http.orthanc.listing import list_answer
from hilum.http.orthanc.resources import LISTS, PLURALS, id_of, level_of, path_of
from hilum.http.orthanc.styled import json_answer
from hilum.index.resources import Resources

_MEGABYTE: Final = 1 << 20
_BAD_TYPE: Final = 5
_NOT: Final = frozenset({"false", "0"})
#: Last part of a path to what contains a resource.
_ABOVE: Final = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series"}


class Lists:
    """Tells of resources."""

    def __init__(self, resources: Resources, describer: Describer) -> None:
        self._resources = resources
        self._describer = describer

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        levels = tuple(Level)
        routes = [
            web.get(LISTS, self._list),
            web.get(path_of(), self._one),
            web.get(path_of(below="/statistics"), self._statistics),
        ]
        for level in levels:
            for below in levels[levels.index(level) + 1 :]:
                path = path_of(level, below=f"/{PLURALS[below]}")
                routes.append(web.get(path, partial(self._below, below)))
            for above in level.above:
                path = path_of(level, below=f"/{_ABOVE[above]}")
                routes.append(web.get(path, partial(self._container, above)))
        return routes

    async def _list(self, request: web.Request) -> web.StreamResponse:
        level = level_of(request)
        since, limit = _page(request)
        ids = await self._resources.page(level, since, limit)
        return await self._answer(request, level, ids, expanded=wants(request, "expand"))

    async def _one(self, request: web.Request) -> web.Response:
        return await self._told(request, level_of(request), id_of(request))

    async def _below(self, below: Level, request: web.Request) -> web.StreamResponse:
        resource = await self._resources.one(level_of(request), id_of(request))
        ids = (await self._resources.children(resource.level, [resource.id], below))[resource.id]
        expanded = wants(request, "expand", otherwise=True)
        return await self._answer(request, below, ids, expanded=expanded)

    async def _container(self, above: Level, request: web.Request) -> web.Response:
        resource = await self._resources.one(level_of(request), id_of(request))
        return await self._told(request, above, resource.at(above))

    async def _told(self, request: web.Request, level: Level, public_id: str) -> web.Response:
        form, requested = form_of(request.query), requested_of(request.query)
        return json_answer(await self._describer.one(level, public_id, form, requested=requested))

    async def _answer(
        self, request: web.Request, level: Level, ids: Sequence[str], *, expanded: bool
    ) -> web.StreamResponse:
        if not expanded:
            return json_answer(ids)
        form, requested = form_of(request.query), requested_of(request.query)
        describe = partial(self._describer.some, level, form=form, requested=requested)
        return await list_answer(request, ids, describe)

    async def _statistics(self, request: web.Request) -> web.Response:
        resource = await self._resources.one(level_of(request), id_of(request))
        size = resource.size_bytes
        told: dict[str, Any] = {}
        for name in ("DicomDiskSize", "DicomUncompressedSize", "DiskSize", "UncompressedSize"):
            told[name] = str(size)
            told[f"{name}MB"] = size // _MEGABYTE
        if resource.level is Level.PATIENT:
            told["CountStudies"] = resource.studies
        if resource.level in {Level.PATIENT, Level.STUDY}:
            told["CountSeries"] = resource.series_count
        if resource.level is not Level.IMAGE:
            told["CountInstances"] = resource.instances
        return json_answer(told)


def wants(request: web.Request, argument: str, *, otherwise: bool = False) -> bool:
    """Return whether an argument of the URL is there, and not ``false`` or ``0``."""
    if argument not in request.query:
        return otherwise
    return request.query[argument].lower() not in _NOT


def _page(request: web.Request) -> tuple[int, int | None]:
    numbers = {}
    for name in ("since", "limit"):
        if name in request.query:
            text = request.query[name]
            if not (text.isascii() and text.isdigit() and len(text) < 16):
                raise Refusal(_BAD_TYPE, f"{name} is a number from 0")
            numbers[name] = int(text)
    return numbers.get("since", 0), numbers.get("limit")
