"""What logs and metrics call a request: its route, never its path or query."""

from aiohttp import web


def route_name(request: web.BaseRequest) -> str:
    """Return the pattern of the route `request` matched, ``(none)`` without one.

    Paths and queries hold what a user typed, which may be a patient's name; a pattern
    does not, and there are only as many as there are routes.
    """
    resource = None
    if isinstance(request, web.Request):
        resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(none)"
