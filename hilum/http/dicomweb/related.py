"""Answers of one part or many: ``multipart/related`` (RFC 2387) as PS3.18 8.6.1.2 uses it.

Parts name what they consist of, bytes and ranges of files, and are sent without being read
here. Where all of them are known the answer says its length; parts that are still to be
made, one after the other, are sent in chunks.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import ETag, web

from hilum.http.dicomweb.media_types import MULTIPART
from hilum.http.dicomweb.sending import Piece, part_of, sending, size_of

T = TypeVar("T")

#: So many things are looked through in less time than it takes to get a thread to do it.
_FEW: Final = 20
# What is at an address changes when another version is stored or more of a study arrives;
# to ask costs a round trip. `private`: it is a patient's.
_CACHING: Final = "private, no-cache"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer, or all there is of one."""

    content_type: str
    """With its parameters."""
    pieces: Sequence[Piece]
    location: str = ""
    """URL of what the part is."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(size_of, self.pieces))


async def considered(count: int, function: Callable[..., T], *arguments: Any) -> T:
    """Return what a pure function makes of `count` things: of many, in a thread.

    A study of ten thousand instances must not keep everybody else waiting.
    """
    return function(*arguments) if count <= _FEW else await asyncio.to_thread(function, *arguments)


def entity_tag(*parts: object) -> str:
    """Return a strong validator for an answer that is made of nothing but `parts`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


async def send_parts(
    request: web.Request, media_type: str, parts: Sequence[Part], etag: str, status: int = 200
) -> web.StreamResponse:
    """Answer with parts that are all known.

    Parameters
    ----------
    media_type
        Of the parts, for the parameter ``type``.
    etag
        From `entity_tag`, over all that the parts are made of, their locations included.
        The boundary is derived from it, so that equal answers are equal byte by byte.

    Raises
    ------
    ConnectionError, HilumError
        As of `Sending.send`; the connection is gone then.
    """
    if is_known(request, etag):
        return _not_modified(etag)
    response = _response(etag, status)
    response.headers["Content-Type"] = _multipart_type(media_type, etag)
    pieces = await considered(len(parts), _laid_out, parts, etag)
    response.content_length = sum(map(size_of, pieces))
    return await _send(request, response, pieces)


async def send_parts_as_made(
    request: web.Request,
    media_type: str,
    parts: AsyncIterator[Part],
    etag: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with parts that are made one after the other, each when it is its turn.

    Parameters
    ----------
    headers
        More of them, such as warnings.

    Raises
    ------
    ConnectionError, HilumError
        As of `Sending.send`, and what `parts` raises; the connection is gone then, unless
        it was the very first part that could not be made.
    """
    if is_known(request, etag):
        return _not_modified(etag)
    response = _response(etag, status)
    response.headers["Content-Type"] = _multipart_type(media_type, etag)
    response.headers.update(headers or {})
    if request.method == "HEAD":
        return await _send(request, response, ())
    part = await anext(parts)  # if it cannot be had, there is still a status to say so
    chunked = request.version >= (1, 1)
    if chunked:
        response.enable_chunked_encoding()
    first = True
    async with sending(request, response) as connection:
        while True:
            head = _head(part, etag, first=first)
            await connection.send(_chunk((head, *part.pieces), chunked=chunked))
            first = False
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                break
        await connection.send(_chunk((_end(etag),), chunked=chunked))
    return response


async def send_single(
    request: web.Request, part: Part, etag: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer with one part alone, or with the range of its bytes that the client asks for.

    Parameters
    ----------
    headers
        More of them, such as the name of a file.

    Raises
    ------
    ConnectionError, HilumError
        As of `Sending.send`; the connection is gone then.
    """
    if is_known(request, etag):
        return _not_modified(etag)
    response = _response(etag)
    response.headers["Content-Type"] = part.content_type
    response.headers["Accept-Ranges"] = "bytes"
    response.headers.update(headers or {})
    if part.location:
        response.headers["Content-Location"] = part.location
    size = part.size
    pieces: Iterable[Piece] = part.pieces
    if (wanted := _range(request, size, etag)) is not None:
        start, stop = wanted
        if start >= stop:
            headers = {"Content-Range": f"bytes */{size}"}
            return web.Response(status=416, headers=headers)
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        pieces = part_of(pieces, start, stop)
        size = stop - start
    response.content_length = size
    return await _send(request, response, pieces)


def is_known(request: web.Request, etag: str) -> bool:
    """Return whether the client has this answer already (RFC 9110 13.1.2)."""
    known: tuple[ETag, ...] = request.if_none_match or ()
    return any(tag.value in (etag, "*") for tag in known)


def _response(etag: str, status: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    response.etag = etag
    response.headers["Cache-Control"] = _CACHING
    # The same address answers in other forms too.
    response.headers["Vary"] = "Accept"
    return response


def _not_modified(etag: str) -> web.Response:
    response = web.Response(status=304, headers={"Cache-Control": _CACHING, "Vary": "Accept"})
    response.etag = etag
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, pieces: Iterable[Piece]
) -> web.StreamResponse:
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    async with sending(request, response) as connection:
        await connection.send(pieces)
    return response


def _range(request: web.Request, size: int, etag: str) -> tuple[int, int] | None:
    """Return the first byte asked for and the one behind the last; None: all of them."""
    condition = request.headers.get("If-Range")
    if "Range" not in request.headers or condition not in (None, f'"{etag}"'):
        return None
    try:
        wanted = request.http_range
    except ValueError:
        return None  # several ranges, or another unit: a server may pass them over
    start, stop, _ = wanted.indices(size)
    return start, stop


def _multipart_type(media_type: str, boundary: str) -> str:
    return f'{MULTIPART}; type="{media_type}"; boundary={boundary}'


def _head(part: Part, boundary: str, *, first: bool) -> bytes:
    # There may be a line before the first boundary, but some clients take it for a part.
    line = "" if first else "\r\n"
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return (
        f"{line}--{boundary}\r\nContent-Type: {part.content_type}\r\n"
        f"Content-Length: {part.size}\r\n{location}\r\n"
    ).encode("ascii", "backslashreplace")


def _end(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _laid_out(parts: Sequence[Part], boundary: str) -> list[Piece]:
    pieces: list[Piece] = []
    for part in parts:
        pieces.append(_head(part, boundary, first=not pieces))
        pieces += part.pieces
    return [*pieces, _end(boundary)]


def _chunk(pieces: Sequence[Piece], *, chunked: bool) -> Iterator[Piece]:
    """Yield the pieces as one chunk (RFC 9112 7.1)."""
    if chunked:
        yield f"{sum(map(size_of, pieces)):x}\r\n".encode()
    yield from pieces
    if chunked:
        yield b"\r\n"
