"""Web pages of other origins: who may ask, what, and what they may see of the answers.

A browser lets a page of another origin (a viewer served elsewhere) read answers only if
they say so, and asks first, with a preflight, before anything but a simple request (Fetch
standard, 3.2). Only DICOMweb and the front ends' API are open to others, and only to the
origins that are set.
"""

from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

#: Paths that pages of other origins may use.
_OPEN: Final = ("/dicom-web", "/wado", "/api/")
_ANY: Final = "*"
_METHODS: Final = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
#: Beyond those that need no permission.
_REQUEST_HEADERS: Final = (
    "Accept, Authorization, Cache-Control, Content-Type, If-Match, If-None-Match, "
    "If-Modified-Since, If-Range, Pragma, Range, X-Requested-With"
)
_EXPOSED: Final = (
    "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Location, "
    "Content-Range, ETag, Last-Modified, Location, Retry-After, Warning, X-SOP-Instance-UID"
)
#: How long a browser may remember a preflight; longer than any of them would.
_REMEMBERED_SECONDS: Final = 7200


class CrossOrigin:
    """Lets pages of some origins in.

    Parameters
    ----------
    origins
        Such as ``https://viewer.example.org``; ``*`` for all. None: nobody.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def middleware(self) -> Middleware:
        """Return the middleware that answers preflights; place it before the handlers' errors."""

        @web.middleware
        async def answer_preflights(request: web.Request, handler: Handler) -> web.StreamResponse:
            if (
                request.method == "OPTIONS"
                and "Access-Control-Request-Method" in request.headers
                and self._allowed(request)
            ):
                return web.Response(status=204, headers=_preflight())
            return await handler(request)

        return answer_preflights

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say who may read an answer (`Application.on_response_prepare`)."""
        if not self._origins or not request.path.startswith(_OPEN):
            return
        if _ANY not in self._origins:
            # The answer differs by origin, whether this one has been let in or not.
            response.headers.add("Vary", "Origin")
        if not (origin := self._allowed(request)):
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        if origin != _ANY:
            # The node, or a proxy in front, may ask for them; never for just anybody.
            response.headers["Access-Control-Allow-Credentials"] = "true"

    def _allowed(self, request: web.Request) -> str:
        """Return the origin that may read the answer; empty if it is to be nobody."""
        origin = request.headers.get("Origin", "")
        if not origin or not request.path.startswith(_OPEN):
            return ""
        if origin.lower() in self._origins:
            return origin
        return _ANY if _ANY in self._origins else ""


def _preflight() -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": str(_REMEMBERED_SECONDS),
    }
