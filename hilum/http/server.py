"""Serving the application on a TCP port."""

import logging
import socket
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hilum.http.access_log import AccessLog

# aiohttp closes a connection that has been waiting for a whole request this long, be it
# idle or sending its headers a byte at a time. Proxies keep idle ones for 60 s.
_KEEPALIVE_SECONDS: Final = 75.0
#: How long requests under way may take when the node stops.
SHUTDOWN_SECONDS: Final = 30.0
#: Of a request's first line, and of each header, as Orthanc has it: a few hundred ids in a
#: query, or the ticket of a large domain. aiohttp's own limit is half of that.
_LINE_BYTES: Final = 16 * 1024


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether what aiohttp logs is a fault of the node.

    A request that is no HTTP is its client's, and has a line of its own in the access log.
    aiohttp would quote it, and people type names there.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log = logging.getLogger(f"{__name__}.faults")
_log.addFilter(_is_ours)


class HttpServer:
    """One listening port.

    Parameters
    ----------
    app
        From `hilum.http.app.make_app`.
    listener
        From `listen`. Other processes may accept on it too: whoever is free does. It is
        closed when the server stops.
    """

    def __init__(
        self,
        app: web.Application,
        listener: socket.socket,
        *,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
        shutdown_seconds: float = SHUTDOWN_SECONDS,
    ) -> None:
        self._listener = listener
        self.port = int(listener.getsockname()[1])
        """The port listened on."""
        self._runner = web.AppRunner(
            app,
            access_log_class=AccessLog,
            access_log=logging.getLogger(__name__),
            logger=_log,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            keepalive_timeout=keepalive_seconds,
            shutdown_timeout=shutdown_seconds,
            # It would be done on the loop, and what breaks off would pass for whole.
            auto_decompress=False,
        )

    async def start(self) -> None:
        """Begin to accept connections."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def stop(self) -> None:
        """Accept nothing new, let requests under way end, then close every connection."""
        await self._runner.cleanup()
