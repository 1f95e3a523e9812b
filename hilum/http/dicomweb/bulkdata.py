"""WADO-RS bulk data: what the Bulk Data URIs of metadata name (PS3.18 10.4.1.1.5).

A value is sent from its place in the file, whole or a range of its bytes. That of
encapsulated pixel data is its frames, a part each.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from aiohttp import web

from hilum.core.errors import Corrupt, Invalid, Undecodable, Unsupported
from hilum.http.dicomweb.frames import FrameParts, frame_forms
from hilum.http.dicomweb.instances import url_of
from hilum.http.dicomweb.media_types import (
    OCTET_STREAM,
    Form,
    accepted,
    choose,
    not_acceptable,
)
from hilum.http.dicomweb.related import (
    Part,
    entity_tag,
    send_parts,
    send_parts_as_made,
    send_single,
)
from hilum.http.dicomweb.resources import INSTANCE, resource
from hilum.http.dicomweb.sending import FileRange, part_of
from hilum.http.dicomweb.urls import service_url
from hilum.http.ranges import requested_range
from hilum.imaging.data_set_values import parse_path
from hilum.index.stored import StoredInstance
from hilum.services.bulk_data import BulkData, Found
from hilum.services.retrieve import Retrieve

#: Without a multipart around it first: so a client that takes anything can ask for ranges.
_FORMS: Final = (Form(OCTET_STREAM), Form(OCTET_STREAM, multipart=True))


class BulkDataResources:
    """Sends values."""

    def __init__(self, bulk_data: BulkData, retrieve: Retrieve) -> None:
        self._bulk_data = bulk_data
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get(INSTANCE + "/bulkdata/{path:.+}", self._value)]

    async def _value(self, request: web.Request) -> web.StreamResponse:
        path = parse_path(request.match_info["path"])
        (instance,) = await resource(self._retrieve, request)
        pixels = instance.pixel_data
        if pixels is not None and pixels.frame_offsets and path == (pixels.tag,):
            return await self._frames(request, instance)
        form = choose(accepted(request), _FORMS)
        if form is None:
            raise not_acceptable(_FORMS)
        found = await self._bulk_data.find(instance, path)
        name = "/".join(f"{each:08X}" if not i % 2 else f"{each}" for i, each in enumerate(path))
        location = f"{url_of(instance, service_url(request))}/bulkdata/{name}"
        etag = entity_tag(location, instance.blob.digest, form)
        part = Part(OCTET_STREAM, _pieces(found, instance.identity.sop_instance_uid), location)
        try:
            if form.multipart:
                return await _send_in_multipart(request, part, etag)
            return await send_single(request, part, etag)
        finally:
            found.close()

    async def _frames(self, request: web.Request, instance: StoredInstance) -> web.StreamResponse:
        indices = range(instance.number_of_frames)
        offered = frame_forms(instance.transfer_syntax_uid, single=len(indices) == 1)
        form = choose(accepted(request), offered)
        if form is None:
            raise not_acceptable(offered)
        url = url_of(instance, service_url(request))
        etag = entity_tag(url, instance.blob.digest, form)
        frames = FrameParts(self._retrieve, instance, form, url)
        uid = instance.identity.sop_instance_uid
        try:
            parts = await frames.known(indices)
            if parts is None:
                async with aclosing(frames.made(indices)) as made:
                    return await send_parts_as_made(request, form.media_type, made, etag)
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"instance {uid}: {error}") from error
        except Invalid as error:
            raise Unsupported(f"instance {uid}: {error}") from error
        if form.multipart:
            return await send_parts(request, form.media_type, parts, etag)
        return await send_single(request, parts[0], etag)


async def _send_in_multipart(request: web.Request, part: Part, etag: str) -> web.StreamResponse:
    """Answer with the one part, or with as much of the value in it as the client asks for.

    A range is one of the value: so clients mean it that know nothing but multiparts.
    """
    asked = requested_range(request, part.size, etag)
    if asked is None:
        return await send_parts(request, OCTET_STREAM, [part], etag)
    if not asked:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{part.size}"})
    some = replace(part, pieces=tuple(part_of(part.pieces, asked.start, asked.stop)))
    return await send_parts(request, OCTET_STREAM, [some], etag, status=206)


def _pieces(found: Found, uid: str) -> Sequence[bytes | FileRange]:
    if found.open is None:
        return (found.raw,)
    return (FileRange(found.open, found.offset, found.size_bytes, f"instance {uid}"),)
