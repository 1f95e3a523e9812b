"""``/labels``: words that clients give to resources (Orthanc 1.12)."""

import re
from typing import Final

from aiohttp import web

from hilum.core.errors import NotFound
from hilum.http.orthanc.errors import OUT_OF_RANGE, Refusal
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.attached import Attached
from hilum.index.resource import Resource
from hilum.index.resources import Resources

#: What Orthanc allows in a label; a length is nothing it says.
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class LabelRoutes:
    """Gives labels, takes them away, tells them."""

    def __init__(self, resources: Resources, attached: Attached) -> None:
        self._resources = resources
        self._attached = attached

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        one = path_of(below="/labels/{label}")
        return [
            web.get(path_of(below="/labels"), self._list),
            web.get(one, self._get),
            web.put(one, self._put),
            web.delete(one, self._delete),
            web.get("/tools/labels", self._all),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        resource = await self._resource(request)
        return json_answer((await self._attached.labels([resource.id])).get(resource.id, []))

    async def _get(self, request: web.Request) -> web.Response:
        resource = await self._resource(request)
        label = request.match_info["label"]
        if label not in (await self._attached.labels([resource.id])).get(resource.id, ()):
            raise NotFound("it has no such label")
        return text_answer("")

    async def _put(self, request: web.Request) -> web.Response:
        label = _label(request)
        resource = await self._resource(request)
        await self._attached.add_label(resource.level, resource.id, label)
        return text_answer("")

    async def _delete(self, request: web.Request) -> web.Response:
        label = _label(request)
        resource = await self._resource(request)
        await self._attached.remove_label(resource.id, label)
        return text_answer("")

    async def _all(self, _request: web.Request) -> web.Response:
        return json_answer(await self._attached.all_labels())

    async def _resource(self, request: web.Request) -> Resource:
        return await self._resources.one(level_of(request), id_of(request))


def _label(request: web.Request) -> str:
    label = request.match_info["label"]
    if not _LABEL.fullmatch(label):
        raise Refusal(OUT_OF_RANGE, "a label is made of letters, digits, hyphens and underscores")
    return label
