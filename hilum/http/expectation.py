"""Bodies of clients that ask before they send one (``Expect: 100-continue``, RFC 9110 10.1.1).

curl and .NET do so with what is large. They are asked for it behind the guard: who is not let
in is told so at once, and not after a gigabyte. aiohttp itself would ask before everything.
"""

from collections.abc import Iterable
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

_INVITED: Final = web.RequestKey("invited", bool)


async def _not_yet(_request: web.Request) -> None:
    """Leave it to `invite_bodies`."""


def uninvited(routes: Iterable[web.AbstractRouteDef]) -> list[web.AbstractRouteDef]:
    """Return `routes` so that bodies are asked for by `invite_bodies` alone."""
    return [
        web.RouteDef(
            route.method, route.path, route.handler, {**route.kwargs, "expect_handler": _not_yet}
        )
        if isinstance(route, web.RouteDef)
        else route
        for route in routes
    ]


@web.middleware
async def invite_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask for the body of a request that has come this far; place it behind the guard.

    Expectations other than this one are passed over: nothing else was ever defined.
    """
    # Where there is no route aiohttp has asked already.
    if _waits(request) and request.match_info.http_exception is None:
        request[_INVITED] = True
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What aiohttp takes for the beginning of an answer.
        request.writer.output_size = 0
    return await handler(request)


async def close_uninvited(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection after an answer to a body that was never asked for.

    (`Application.on_response_prepare`.) Nobody could tell whether what comes next is the body.
    """
    if _waits(request) and request.match_info.http_exception is None and _INVITED not in request:
        response.headers["Connection"] = "close"
        response.force_close()


def _waits(request: web.Request) -> bool:
    waits = request.headers.get("Expect", "").lower() == "100-continue"
    return waits and request.version == HttpVersion11
