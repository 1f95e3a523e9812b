"""Serving the application on a TCP port."""

import asyncio
import logging
import socket
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from hilum.http.access_log import AccessLog

# aiohttp closes a connection that has been waiting for a whole request this long, be it
# idle or sending its headers a byte at a time. Proxies keep idle ones for 60 s.
_KEEPALIVE_SECONDS: Final = 75.0
#: How long bodies may go on coming when the node stops, and then requests under way may take:
#: together less than what a supervisor leaves a worker.
SHUTDOWN_SECONDS: Final = 25.0
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
        From `hilum.http.app.make_app`, not served by anything else.
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
        app.middlewares.insert(0, self._following())
        self._under_way: dict[asyncio.Future[None], web.Request] = {}
        self._stopping = False
        self._shutdown_seconds = shutdown_seconds
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
        self._stopping = True
        for site in list(self._runner.sites):
            await site.stop()
        # aiohttp lets handlers end, and listens to nobody meanwhile: a body that has not come
        # by then never does.
        arriving = [
            ended for ended, request in self._under_way.items() if not request.content.is_eof()
        ]
        if arriving:
            await asyncio.wait(arriving, timeout=self._shutdown_seconds)
        await self._runner.cleanup()

    def _following(self) -> Middleware:
        """Return a middleware that notes which requests are under way."""

        @web.middleware
        async def follow(request: web.Request, handler: Handler) -> web.StreamResponse:
            ended = asyncio.get_running_loop().create_future()
            self._under_way[ended] = request
            try:
                response = await handler(request)
            finally:
                del self._under_way[ended]
                ended.set_result(None)
            if self._stopping:
                response.force_close()  # or the next request of this connection is cut off
            return response

        return follow
