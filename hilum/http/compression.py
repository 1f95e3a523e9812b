"""Answers that are sent compressed to clients that take it.

DICOM JSON repeats itself: it shrinks to a tenth in less time than its rest takes to send.
"""

import asyncio
import re
import zlib
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from aiohttp import web


class Compressor(Protocol):
    """As `zlib` has it."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what there is so far."""
        ...

    def flush(self) -> bytes:
        """Return the rest."""
        ...


Compress: TypeAlias = Callable[[bytes, int, int], bytes]
MakeCompressor: TypeAlias = Callable[[int, int, int], Compressor]

try:
    from isal import isal_zlib

    compress: Compress = isal_zlib.compress
    make_compressor: MakeCompressor = isal_zlib.compressobj
except ImportError:
    # Not on every platform; the standard library writes the same format, only slower.
    compress = zlib.compress
    make_compressor = zlib.compressobj

#: Below this the header outweighs what is saved.
_SMALLEST_BYTES: Final = 1024
#: Above this it is worth a thread; below, the thread takes longer than the work.
_IN_LOOP_BYTES: Final = 256 * 1024
_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # zlib's way to say: 32 KiB, in a gzip envelope
_CODING: Final = re.compile(r"\s*([A-Za-z0-9*_-]+)\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*")


def takes_gzip(request: web.BaseRequest) -> bool:
    """Return whether the client of `request` accepts gzip (RFC 9110 12.5.3)."""
    weights: dict[str, float] = {}
    for part in ",".join(request.headers.getall("Accept-Encoding", ())).split(","):
        if coding := _CODING.fullmatch(part):
            weights[coding[1].lower()] = float(coding[2] or 1)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


async def compressed(body: bytes) -> bytes:
    """Return `body` in gzip."""
    if len(body) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(gzip, body)
    return gzip(body)


def gzip(body: bytes) -> bytes:
    """Return `body` in gzip; the same body gives the same bytes."""
    return compress(body, _LEVEL, _GZIP_WINDOW)


def gzip_compressor() -> Compressor:
    """Return what makes gzip of a body that comes in pieces."""
    return make_compressor(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)


async def answer(
    request: web.Request, body: bytes, *, content_type: str, status: int = 200
) -> web.Response:
    """Return an answer with `body`, compressed if that is worth while and welcome."""
    response = web.Response(status=status, headers={"Vary": "Accept, Accept-Encoding"})
    if len(body) >= _SMALLEST_BYTES and takes_gzip(request):
        body = await compressed(body)
        response.headers["Content-Encoding"] = "gzip"
    response.body = body
    response.content_type = content_type
    return response
