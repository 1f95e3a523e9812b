"""WADO-RS metadata: whole data sets in DICOM JSON, without their bulk data (PS3.18 10.4.1.1.2).

Small answers are made whole, and the last ones are kept as they were sent; large ones are
sent some instances at a time, so that memory is bounded whatever the size of a study. An
instance whose file cannot be read is left out, with a warning where the headers are not yet
sent: the others are of use without it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

from aiohttp import web

from hilum.core.errors import Corrupt
from hilum.http.compression import gzip, gzip_compressor, takes_gzip
from hilum.http.dicomweb.media_types import Form, accepted, choose, not_acceptable
from hilum.http.dicomweb.related import entity_tag, is_known
from hilum.http.dicomweb.resources import INSTANCE, SERIES, STUDY, uids_of
from hilum.http.dicomweb.urls import service_url
from hilum.services.metadata import Batch, Metadata

_MEDIA_TYPE: Final = "application/dicom+json"
_FORMS: Final = (Form(_MEDIA_TYPE), Form("application/json"))
#: Instances that a warning names.
_NAMED: Final = 8
#: JSON up to here is made whole before it is sent.
_WHOLE_BYTES: Final = 8 << 20
#: Of answers as they were sent, kept in memory.
_KEPT_BYTES: Final = 16 << 20
# A study may grow while a viewer has it open; to be told that it did not costs little.
_CACHING: Final = "private, no-cache"


class MetadataResources:
    """Answers for studies, series and instances."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._kept = _Kept()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get(f"{path}/metadata", self._retrieve) for path in (STUDY, SERIES, INSTANCE)]

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        if choose(accepted(request), _FORMS) is None:
            raise not_acceptable(_FORMS)
        batches = await self._metadata.select(*uids_of(request).values())
        url = service_url(request)
        zipped = takes_gzip(request)
        etag = entity_tag(url, zipped, *(batch.name for batch in batches))
        if is_known(request, etag):
            return _finished(web.Response(status=304), etag, zipped=False)
        kept = self._kept.get(etag)
        if kept is not None:
            return _finished(web.Response(body=kept), etag, zipped=zipped)
        if request.method == "HEAD":
            return _finished(web.Response(), etag, zipped=zipped)
        return await self._answer(request, batches, url, etag, zipped=zipped)

    async def _answer(
        self, request: web.Request, batches: Sequence[Batch], url: str, etag: str, *, zipped: bool
    ) -> web.StreamResponse:
        left_out: list[str] = []
        texts = self._texts(batches, url, left_out)
        first: list[bytes] = []
        size = 0
        async for text in texts:
            first.append(text)
            size += len(text)
            if size > _WHOLE_BYTES:
                return await self._stream(request, first, texts, left_out, etag, zipped=zipped)
        if not first:
            raise Corrupt(f"no metadata: the files of {_names(left_out)} cannot be read")
        body = b"[" + b",".join(first) + b"]"
        if zipped:
            body = await asyncio.to_thread(gzip, body)
        response = _finished(web.Response(body=body), etag, zipped=zipped)
        if left_out:
            _warn(response, left_out)
        else:
            self._kept.put(etag, body)
        return response

    async def _stream(
        self,
        request: web.Request,
        first: list[bytes],
        rest: AsyncIterator[bytes],
        left_out: list[str],
        etag: str,
        *,
        zipped: bool,
    ) -> web.StreamResponse:
        """Send what is made already, and the rest as it is made."""
        response = _finished(web.StreamResponse(), etag, zipped=zipped)
        if left_out:
            _warn(response, left_out)
        compressor = gzip_compressor() if zipped else None

        async def send(text: bytes) -> None:
            await response.write(
                await asyncio.to_thread(compressor.compress, text) if compressor else text
            )

        await response.prepare(request)
        await send(b"[" + b",".join(first))
        first.clear()
        async for text in rest:
            await send(b"," + text)
        await send(b"]")
        if compressor:
            await response.write(compressor.flush())
        await response.write_eof()
        return response

    async def _texts(
        self, batches: Sequence[Batch], url: str, left_out: list[str]
    ) -> AsyncIterator[bytes]:
        for batch in batches:
            made = await self._metadata.data_sets(batch)
            left_out += made.left_out
            if made.text:
                yield made.at(url)


class _Kept:
    """The last answers, by their entity tag."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, etag: str) -> bytes | None:
        body = self._bodies.get(etag)
        if body is not None:
            self._bodies.move_to_end(etag)
        return body

    def put(self, etag: str, body: bytes) -> None:
        if etag not in self._bodies and len(body) <= _KEPT_BYTES:
            self._bodies[etag] = body
            self._size += len(body)
        while self._size > _KEPT_BYTES:
            self._size -= len(self._bodies.popitem(last=False)[1])


_Response = TypeVar("_Response", bound=web.StreamResponse)


def _finished(response: _Response, etag: str, *, zipped: bool) -> _Response:
    """Return `response` with the headers that every answer has."""
    response.etag = etag
    response.headers["Cache-Control"] = _CACHING
    response.headers["Vary"] = "Accept, Accept-Encoding"
    if response.status == 200:
        response.content_type = _MEDIA_TYPE
        if zipped:
            response.headers["Content-Encoding"] = "gzip"
    return response


def _warn(response: web.StreamResponse, left_out: Sequence[str]) -> None:
    """Say which instances are missing (RFC 7234 5.5.7)."""
    response.headers["Warning"] = (
        f'299 Hilum "Left out, as its file cannot be read: {_names(left_out)}"'
    )


def _names(uids: Sequence[str]) -> str:
    more = f" and {len(uids) - _NAMED} others" if len(uids) > _NAMED else ""
    return f"{', '.join(uids[:_NAMED])}{more}"
