"""``/patients/{id}/protected``: patients that retention leaves alone."""

from typing import Final

from aiohttp import web

from hilum.core.levels import Level
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, Refusal
from hilum.http.orthanc.resources import id_of, path_of
from hilum.http.orthanc.styled import text_answer
from hilum.index.resources import Resources
from hilum.services.protection import Protection

_TRUTHS: Final = {"1": True, "true": True, "0": False, "false": False}


class ProtectedRoutes:
    """Protects patients, and tells whether they are."""

    def __init__(self, resources: Resources, protection: Protection) -> None:
        self._resources = resources
        self._protection = protection

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        path = path_of(Level.PATIENT, below="/protected")
        return [web.get(path, self._get), web.put(path, self._put)]

    async def _get(self, request: web.Request) -> web.Response:
        patient = await self._resources.one(Level.PATIENT, id_of(request))
        return text_answer("1" if await self._protection.is_protected(patient.id) else "0")

    async def _put(self, request: web.Request) -> web.Response:
        patient = await self._resources.one(Level.PATIENT, id_of(request))
        text = (await request.read()).decode(errors="replace").strip().lower()
        if text not in _TRUTHS:
            raise Refusal(BAD_FILE_FORMAT, "Boolean value expected")
        await self._protection.protect(Level.PATIENT, patient.id, protected=_TRUTHS[text])
        return text_answer("")
