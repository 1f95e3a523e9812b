"""``/api/trash``: what was deleted and can be had back."""

from typing import Any, Final

from aiohttp import web

from hilum.http.answers import success
from hilum.http.parameters import single, whole
from hilum.index.trash import TrashEntry
from hilum.services.trash import Trashcan

_LIMIT: Final = 100
_LARGEST_LIMIT: Final = 1000
_LARGEST_OFFSET: Final = 2**31 - 1


class TrashRoutes:
    """Lists deletions, undoes them, and empties the trash.

    Parameters
    ----------
    trashcan
        The trash.
    may_collect
        Whether what is in it may be deleted for good, as other things may.
    """

    def __init__(self, trashcan: Trashcan, may_collect: bool) -> None:
        self._trashcan = trashcan
        self._may_collect = may_collect

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        routes = [
            web.get("/api/trash", self._list),
            web.get("/api/trash/{deletion}", self._one),
            web.post("/api/trash/{deletion}/restore", self._restore),
        ]
        if self._may_collect:
            routes += [
                web.delete("/api/trash", self._empty),
                web.delete("/api/trash/{deletion}", self._collect),
            ]
        return routes

    async def _list(self, request: web.Request) -> web.Response:
        given = single(request.query, ("limit", "offset"))
        limit = whole("limit", given.get("limit", str(_LIMIT)), 1, _LARGEST_LIMIT)
        offset = whole("offset", given.get("offset", "0"), 0, _LARGEST_OFFSET)
        entries = await self._trashcan.entries(limit, offset)
        total, size_bytes = await self._trashcan.total()
        told = [entry_json(entry) for entry in entries]
        return success(told, total=total, limit=limit, offset=offset, bytes=size_bytes)

    async def _one(self, request: web.Request) -> web.Response:
        return success(entry_json(await self._trashcan.entry(request.match_info["deletion"])))

    async def _restore(self, request: web.Request) -> web.Response:
        deletion = request.match_info["deletion"]
        instances = await self._trashcan.restore(deletion)
        if instances is None:
            return success({"id": deletion, "state": "restoring"}, status=202)
        return success({"id": deletion, "state": "restored", "instances": instances})

    async def _collect(self, request: web.Request) -> web.Response:
        deletion = request.match_info["deletion"]
        return success({"id": deletion, "bytes": await self._trashcan.collect(deletion)})

    async def _empty(self, _request: web.Request) -> web.Response:
        return success({"bytes": await self._trashcan.empty()})


def entry_json(entry: TrashEntry) -> dict[str, Any]:
    """Return a deletion as ``/api/trash`` tells it: nothing in it names a patient."""
    return {
        "id": entry.id,
        "state": entry.state.value,
        "deletedAt": entry.deleted_at.isoformat(),
        "by": entry.by,
        "reason": entry.reason,
        "level": entry.level.value,
        "studyInstanceUID": entry.study_instance_uid,
        "seriesInstanceUID": entry.series_instance_uid,
        "sopInstanceUID": entry.sop_instance_uid,
        "studyDate": entry.study_date,
        "studyDescription": entry.study_description,
        "modalities": list(entry.modalities),
        "instanceCount": entry.instances,
        "bytes": entry.size_bytes,
    }
