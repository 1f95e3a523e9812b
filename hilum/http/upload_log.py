"""``GET /api/uploads``: who sent files over HTTP, when, how much, and what came of it."""

from typing import Any, Final

from aiohttp import web

from hilum.http.answers import success
from hilum.http.parameters import single, whole
from hilum.index.upload_log import Upload, UploadLog

_LIMIT: Final = 50
_LARGEST_LIMIT: Final = 1000


class UploadHistory:
    """Tells of uploads, newest first."""

    def __init__(self, log: UploadLog) -> None:
        self._log = log

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.get("/api/uploads", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        given = single(request.query, ("limit", "before"))
        limit = whole("limit", given.get("limit", str(_LIMIT)), 1, _LARGEST_LIMIT)
        uploads = await self._log.newest(limit, given.get("before"))
        return success([upload_json(upload) for upload in uploads], limit=limit)


def upload_json(upload: Upload) -> dict[str, Any]:
    """Return what is told of an upload."""
    return {
        "id": upload.id,
        "at": upload.at.isoformat(),
        "kind": upload.kind,
        "user": upload.user,
        "client": upload.client,
        "files": upload.files,
        "bytes": upload.size_bytes,
        "seconds": upload.seconds,
        "outcomes": upload.outcomes,
        "studyInstanceUIDs": upload.study_instance_uids,
    }
