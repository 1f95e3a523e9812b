"""ZIP archives as answers: packed in threads, as fast as the client takes them."""

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

import structlog
from aiohttp import web

from hilum.core.errors import HilumError
from hilum.http.routes import route_name
from hilum.services.archives import Archive

log = structlog.get_logger(__name__)

#: A client that takes nothing for so long is gone, or might as well be.
_PATIENCE_SECONDS: Final = 120.0


async def send_zip(request: web.Request, archive: Archive, name: str) -> web.StreamResponse:
    """Answer with an archive; who goes away stops its making.

    Parameters
    ----------
    name
        What browsers are to call the file.

    Raises
    ------
    Corrupt
        A file is not there, or not whole; nothing has been sent then.
    """
    await asyncio.to_thread(archive.files.check, [instance for _, instance in archive.members])
    response = web.StreamResponse()
    response.content_type = "application/zip"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, no-store"
    response.content_length = await asyncio.to_thread(lambda: archive.size_bytes)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await _send(response, archive)
        await response.write_eof()
    except BaseException as error:
        # What was begun cannot be taken back: the client sees that it is not whole.
        if isinstance(error, HilumError):
            log.exception("archive_broken_off", route=route_name(request))
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


async def _send(response: web.StreamResponse, archive: Archive) -> None:
    # A thread of its own: one that rewrites instances waits for others, which must not be
    # kept waiting by it in turn.
    thread = ThreadPoolExecutor(1, "archive")
    try:
        with closing(archive.blocks()) as blocks:
            while (block := await _next(thread, blocks)) is not None:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await response.write(block)
    finally:
        thread.shutdown(wait=False)


async def _next(thread: ThreadPoolExecutor, blocks: Generator[bytes, None, None]) -> bytes | None:
    """Return the next block, None behind the last one."""
    making = asyncio.get_running_loop().run_in_executor(thread, next, blocks, None)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait([making])  # it has a file in its hands
        raise
