"""The web page at ``/`` and its files under ``/static``."""

from pathlib import Path
from typing import Final

from aiohttp import web

WEB_FOLDER: Final = Path(__file__).with_name("web")
# The page's files change with the node and have no version in their names: a browser may
# keep them but asks each time, which costs a 304.
_CACHING: Final = "no-cache"
#: Nothing from elsewhere, nothing inline, no other page around this one.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class Pages:
    """Serves the page's files as they lie in `folder`."""

    def __init__(self, folder: Path = WEB_FOLDER) -> None:
        self._folder = folder

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/", self._index), web.static("/static", self._folder)]

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._folder / "index.html")


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Tell browsers what they may make of an answer (`Application.on_response_prepare`)."""
    headers = response.headers
    headers["Server"] = "Hilum"  # and no versions to choose an attack by
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if request.path == "/" or request.path.startswith("/static/"):
        headers.setdefault("Cache-Control", _CACHING)
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    else:
        # Without a word about it, a browser would guess how long a list stays true.
        headers.setdefault("Cache-Control", "no-store")
