"""What logs and metrics call a request: its route, never its path or query.

Paths and queries hold what a user typed, which may be a patient's name; the pattern of a
route does not, and there are only as many patterns as there are routes.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

_NAME: Final = web.RequestKey("route", str)
_UNROUTED: Final = "(none)"


@web.middleware
async def note_route(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note which route a request matched; the outermost middleware."""
    note(request, request.match_info)
    return await handler(request)


def note(request: web.Request, match_info: web.UrlMappingMatchInfo) -> None:
    """Note that a request is answered by the route of `match_info`."""
    resource = match_info.route.resource
    if resource is not None:
        request[_NAME] = resource.canonical


def route_name(request: web.BaseRequest) -> str:
    """Return the pattern of the route, ``(none)`` where there is none.

    So it is for unknown paths, and for requests that are no HTTP and never got that far.
    """
    name: str = request.get(_NAME, _UNROUTED)
    return name
