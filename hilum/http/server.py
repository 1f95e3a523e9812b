"""Serving the application on a TCP port."""

import logging
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
    host, port
        Where to listen; port 0 takes a free one.
    reuse_port
        Share the port with other processes that do the same (SO_REUSEPORT).
    """

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        reuse_port: bool = False,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
        shutdown_seconds: float = SHUTDOWN_SECONDS,
    ) -> None:
        self._host = host
        self._port = port
        self._reuse_port = reuse_port
        self._runner = web.AppRunner(
            app,
            access_log_class=AccessLog,
            access_log=logging.getLogger(__name__),
            keepalive_timeout=keepalive_seconds,
            shutdown_timeout=shutdown_seconds,
        )

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._port

    async def start(self) -> None:
        """Begin to accept connections.

        Raises
        ------
        OSError
            The port is taken, or the address is not this machine's.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_port=self._reuse_port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = site.port

    async def stop(self) -> None:
        """Accept nothing new, let requests under way end, then close every connection."""
        await self._runner.cleanup()
