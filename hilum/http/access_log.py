"""The access log: one line a request, without anything a user typed."""

import logging
from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from hilum.http.routes import route_name

log = structlog.get_logger(__name__)

#: Asked for every few seconds by machines; their answers matter only when they are bad.
_PROBES: Final = ("/health", "/metrics")
_UIDS: Final = ("study_uid",)


class AccessLog(AbstractAccessLogger):
    """Writes requests to structlog. UIDs of the path are in it, the query never is."""

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        super().__init__(logger, log_format)
        # Once, and not a line: what is unbound binds itself anew each time it is used.
        self._log = log.bind()

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one answered request; `time` is its duration in seconds."""
        route = route_name(request)
        quiet = route.startswith(_PROBES) and response.status < 400
        uids = {}
        if route.startswith("/api/") and response.status < 400 and isinstance(request, web.Request):
            # Only now it is known to be a UID, and no name that somebody typed.
            uids = {key: request.match_info[key] for key in _UIDS if key in request.match_info}
        (self._log.debug if quiet else self._log.info)(
            "http_request",
            method=request.method[:16],
            route=route,
            status=response.status,
            milliseconds=round(1000 * time, 1),
            bytes=response.body_length,
            client=request.remote,
            **uids,
        )
