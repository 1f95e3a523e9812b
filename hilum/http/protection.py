"""``/api/dicom/studies/{study_uid}/protection``: studies that retention leaves alone."""

from aiohttp import web

from hilum.core.identifiers import parse_uid
from hilum.http.answers import success
from hilum.services.protection import Protection


class ProtectionRoutes:
    """Protects studies."""

    def __init__(self, protection: Protection) -> None:
        self._protection = protection

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        path = "/api/dicom/studies/{study_uid}/protection"
        return [web.put(path, self._put), web.delete(path, self._delete)]

    async def _put(self, request: web.Request) -> web.Response:
        return await self._protect(request, protected=True)

    async def _delete(self, request: web.Request) -> web.Response:
        return await self._protect(request, protected=False)

    async def _protect(self, request: web.Request, *, protected: bool) -> web.Response:
        study_uid = parse_uid(request.match_info["study_uid"], "the study's UID")
        await self._protection.protect_study(study_uid, protected=protected)
        return success({"studyInstanceUID": study_uid, "protected": protected})
