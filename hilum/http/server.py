"""Serving the application on a TCP port."""

import logging
import socket
from typing import Final

from aiohttp import web

from hilum.http.access_log import AccessLog

# aiohttp closes a connection that has been waiting for a whole request this long, be it
# idle or sending its headers a byte at a time. Proxies keep idle ones for 60 s.
_KEEPALIVE_SECONDS: Final = 75.0
#: How long requests under way may take when the node stops.
SHUTDOWN_SECONDS: Final = 30.0


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
