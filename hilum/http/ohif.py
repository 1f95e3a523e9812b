"""The OHIF viewer at ``/ohif``, on this node's own DICOMweb.

Its files are those of npm's package, which ``hilum ohif install`` lays into a folder
(`hilum.cli.ohif`); they need nothing of the address they are served from. What depends on it
is made here: the page, whose links start with the path the client sees, and the
configuration, which names the data source.
"""

import asyncio
import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from aiohttp import web

from hilum.http.dicomweb.urls import prefix

#: Where the viewer is, below the address of the node.
PATH: Final = "/ohif"
_CONFIGURATION: Final = Path(__file__).with_name("ohif_config.js")
_INDEX: Final = "index.html"
_ABSENT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>OHIF is not installed</title>
<h1>OHIF is not installed</h1>
<p>This node serves the OHIF viewer here once its files are there:</p>
<pre>hilum ohif install</pre>
<p><a href="./">Hilum's own page</a> needs none of it.</p>
</html>
"""
#: A name with a hash of what is in it: what it stands for never changes.
_HASHED: Final = re.compile(r"(.*\.)?[0-9a-f]{16}\.\w+")
_FOREVER: Final = "public, max-age=31536000, immutable"
_ASK: Final = "no-cache"
#: The standard library's table depends on the system's.
_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
_HEADERS: Final = {
    # Shared memory for workers is given to pages that nothing foreign can get into.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_INLINE_SCRIPT: Final = re.compile(r"<script>(.+?)</script>", re.DOTALL)


class Ohif:
    """Serves the viewer.

    Parameters
    ----------
    folder
        Where `hilum ohif install` puts it; need not be there, and may come or change while
        the node runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get(PATH, self._enter), web.get(f"{PATH}/{{path:.*}}", self._serve)]

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        query = f"?{request.query_string}" if request.query_string else ""
        raise web.HTTPFound(f"{prefix(request)}{PATH}/{query}")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        name = PurePosixPath(path).name
        if path == "app-config.js":
            return await self._configuration()
        # Every other address below is one of the page's own: it reads the address itself.
        if path != _INDEX and await asyncio.to_thread(self._has, path):
            return _file(self._folder / path, name)
        if PurePosixPath(name).suffix in _CONTENT_TYPES and name != _INDEX:
            raise web.HTTPNotFound(text="no such file of the viewer")
        return await self._page(request)

    async def installed(self) -> bool:
        """Whether the viewer is there."""
        return await asyncio.to_thread((self._folder / _INDEX).is_file)

    def _has(self, path: str) -> bool:
        parts = PurePosixPath(path).parts
        if not parts or any(part.startswith(".") for part in parts) or "\0" in path:
            return False
        return not path.startswith("/") and (self._folder / path).is_file()

    async def _configuration(self) -> web.StreamResponse:
        text = await asyncio.to_thread(_CONFIGURATION.read_text, encoding="utf-8")
        return web.Response(
            text=text,
            content_type="text/javascript",
            charset="utf-8",
            headers={**_HEADERS, "Cache-Control": _ASK},
        )

    async def _page(self, request: web.Request) -> web.StreamResponse:
        try:
            html = await asyncio.to_thread((self._folder / _INDEX).read_text, encoding="utf-8")
        except OSError:
            html = _ABSENT
            return web.Response(text=html, status=404, content_type="text/html", charset="utf-8")
        page, policy = rebased(html, f"{prefix(request)}{PATH}/")
        return web.Response(
            text=page,
            content_type="text/html",
            charset="utf-8",
            headers={**_HEADERS, "Cache-Control": _ASK, "Content-Security-Policy": policy},
        )


@lru_cache(8)
def rebased(html: str, base: str) -> tuple[str, str]:
    """Return OHIF's page for the path `base`, and the policy by which a browser may run it.

    Parameters
    ----------
    html
        As it was built, for the root of a host.
    base
        Path with a slash at its end.
    """
    html = re.sub(r'\b(href|src|content|PUBLIC_URL)="/(?!/)', rf'\1="{base}', html)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(html)
    )
    return html, "; ".join(
        (
            "default-src 'self'",
            # Codecs are WebAssembly, with glue that makes functions of text.
            f"script-src 'self' blob: 'unsafe-eval' {hashes}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "font-src 'self' data:",
            "connect-src 'self' blob: data:",
            "media-src 'self' blob:",
            "frame-src 'self' blob: data:",
            "worker-src 'self' blob:",
            "object-src 'self' blob: data:",
            "base-uri 'self'",
            "frame-ancestors 'self'",
        )
    )


def _file(path: Path, name: str) -> web.FileResponse:
    headers = {
        **_HEADERS,
        "Cache-Control": _FOREVER if _HASHED.fullmatch(name) else _ASK,
        "Vary": "Accept-Encoding",
    }
    if content_type := _CONTENT_TYPES.get(path.suffix):
        headers["Content-Type"] = content_type
    return web.FileResponse(path, headers=headers)
