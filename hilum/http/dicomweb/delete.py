"""Deletion over the web: studies, series and instances, where it is allowed.

Not in the standard, which leaves it to the origin server; resources, method and statuses
are those that other servers and their clients agree on.
"""

from typing import Final

from aiohttp import web

from hilum.core.identifiers import parse_uid
from hilum.http.dicomweb.urls import SERVICE_PATH
from hilum.services.deletion import Deletion

_NAMES: Final = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "instance_uid": "SOPInstanceUID",
}


class Delete:
    """Deletes what is asked for; without it in the application, 405 says that it is not done."""

    def __init__(self, deletion: Deletion) -> None:
        self._deletion = deletion

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        study = SERVICE_PATH + "/studies/{study_uid}"
        series = study + "/series/{series_uid}"
        instance = series + "/instances/{instance_uid}"
        return [web.delete(path, self._delete) for path in (study, series, instance)]

    async def _delete(self, request: web.Request) -> web.Response:
        uids = [parse_uid(uid, _NAMES[name]) for name, uid in request.match_info.items()]
        await self._deletion.delete(*uids)
        return web.Response(status=204)
