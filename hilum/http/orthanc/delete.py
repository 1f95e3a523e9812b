"""``DELETE`` of resources, one by one or many; they go where `Deletion` puts them."""

from typing import Any

from aiohttp import web

from hilum.core.errors import NotFound
from hilum.core.levels import Level
from hilum.http.auth import asker
from hilum.http.orthanc.bodies import resources_of
from hilum.http.orthanc.resources import NAMES, PLURALS, id_of, level_of, path_of
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.services.deletion import Deletion

_REASON = "orthanc"


class DeleteRoutes:
    """Deletes; without it in the application, 405 says that it is not done."""

    def __init__(self, resources: Resources, deletion: Deletion) -> None:
        self._resources = resources
        self._deletion = deletion

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.delete(path_of(), self._one),
            web.post("/tools/bulk-delete", self._many),
        ]

    async def _one(self, request: web.Request) -> web.Response:
        resource = await self._resources.one(level_of(request), id_of(request))
        await self._delete(request, resource)
        return json_answer({"RemainingAncestor": await self._remaining(resource)})

    async def _many(self, request: web.Request) -> web.Response:
        for public_id in await resources_of(request):
            try:
                level = await self._resources.level_of(public_id)
                await self._delete(request, await self._resources.one(level, public_id))
            except NotFound:
                continue  # gone with another of them
        return text_answer("")

    async def _delete(self, request: web.Request, resource: Resource) -> None:
        below = [resource]
        if resource.level is Level.PATIENT:
            children = await self._resources.children(Level.PATIENT, [resource.id])
            below = await self._resources.some(Level.STUDY, children[resource.id])
        for each in below:
            await self._deletion.delete(
                *each.uids,
                only_study=each.study,
                by=asker(request),
                reason=_REASON,
            )

    async def _remaining(self, resource: Resource) -> dict[str, Any] | None:
        """Return the nearest resource that contained what was deleted and is still there."""
        for above in reversed(resource.level.above):
            found = await self._resources.some(above, [resource.at(above)])
            if found:
                path = f"/{PLURALS[above]}/{found[0].id}"
                return {"ID": found[0].id, "Path": path, "Type": NAMES[above]}
        return None
