"""Deletion over the web: studies, series and instances, where it is allowed.

Not in the standard, which leaves it to the origin server; resources, method and statuses
are those that other servers and their clients agree on.
"""

from aiohttp import web

from hilum.http.auth import asker
from hilum.http.dicomweb.resources import INSTANCE, SERIES, STUDY, uids_of
from hilum.services.deletion import Deletion


class Delete:
    """Deletes what is asked for; without it in the application, 405 says that it is not done."""

    def __init__(self, deletion: Deletion) -> None:
        self._deletion = deletion

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.delete(path, self._delete) for path in (STUDY, SERIES, INSTANCE)]

    async def _delete(self, request: web.Request) -> web.Response:
        await self._deletion.delete(*uids_of(request).values(), by=asker(request))
        return web.Response(status=204)
