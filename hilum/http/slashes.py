"""Slashes that a path has too many of, at its end or in a row, mean nothing, as to an Orthanc.

Clients put paths together of a base that ends with a slash and a path that begins with one.
"""

import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from hilum.http.routes import note

_SEVERAL: Final = re.compile("//+")


@web.middleware
async def forgive_slashes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have a request that no route is for answered by the one of the path without them.

    The innermost middleware: what is found here has passed all the others, those that turn
    strangers away above all.
    """
    # As it came: a slash that is written %2F is part of a name.
    given = request.rel_url.raw_path
    path = _SEVERAL.sub("/", given).rstrip("/") or "/"
    if request.match_info.http_exception is None or path == given:
        return await handler(request)
    url = request.rel_url.with_path(path, encoded=True, keep_query=True)
    plain = request.clone(rel_url=url)
    found = await request.app.router.resolve(plain)
    found.add_app(request.app)
    plain._match_info = found
    note(request, found)
    return await found.handler(plain)
