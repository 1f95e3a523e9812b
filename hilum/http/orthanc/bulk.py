"""``/tools/bulk-content``: what is told of many resources, of whatever levels."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from hilum.core.errors import NotFound
from hilum.core.levels import Level
from hilum.http.orthanc.bodies import object_of, strings, truth
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.metadata import metadata_of, texts
from hilum.http.orthanc.own_names import OwnNames
from hilum.http.orthanc.search import form_of_body, level_of_body
from hilum.http.orthanc.styled import json_answer
from hilum.index.attached import Attached
from hilum.index.resources import Resources


class BulkRoutes:
    """Tells of resources by their ids alone."""

    def __init__(
        self, resources: Resources, attached: Attached, describer: Describer, names: OwnNames
    ) -> None:
        self._resources = resources
        self._attached = attached
        self._describer = describer
        self._names = names

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.post("/tools/bulk-content", self._content)]

    async def _content(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        wanted = level_of_body(body) if "Level" in body else None
        metadata = truth(body, "Metadata", otherwise=True)
        described = []
        by_level = await self._by_level(strings(body, "Resources"), wanted)
        for level, ids in by_level.items():
            resources = await self._resources.some(level, ids)
            told = await self._describer.all(level, resources, form_of_body(body))
            if metadata:
                found = await metadata_of(self._attached, resources)
                told = [
                    {**each, "Metadata": texts(found[each["ID"]], self._names)} for each in told
                ]
            described += told
        return json_answer(described)

    async def _by_level(self, ids: Sequence[str], wanted: Level | None) -> dict[Level, list[str]]:
        """Return the resources by level; those at the level wanted that belong to them."""
        found: dict[Level, list[str]] = {}
        for public_id in ids:
            try:
                level = await self._resources.level_of(public_id)
            except NotFound:
                continue
            found.setdefault(level, []).append(public_id)
        if wanted is None:
            return found
        keys: set[str] = set()
        order: Any = tuple(Level).index
        for level, here in found.items():
            if order(level) > order(wanted):
                above = await self._resources.some(level, here)
                keys.update(each.at(wanted) for each in above)
            else:
                below = await self._resources.children(level, here, wanted)
                keys.update(key for each in below.values() for key in each)
        return {wanted: sorted(keys)}
