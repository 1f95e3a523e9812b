"""``/peers``: other Orthancs that are spoken to by HTTP. This node has none; it has DICOM."""

from aiohttp import web

from hilum.http.orthanc.styled import json_answer


class Peers:
    """Answers that there are none."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/peers", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        return json_answer({} if "expand" in request.query else [])
