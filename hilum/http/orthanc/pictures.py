"""Frames of instances: as pictures, in the ways Orthanc makes them, and as they are stored."""

import asyncio
import gzip
from functools import lru_cache, partial
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict

from hilum.core.errors import Corrupt, Invalid, NoPixelData, NotFound, Undecodable, Unsupported
from hilum.core.levels import Level
from hilum.http.dicomweb.media_types import Form, accepted, choose, not_acceptable
from hilum.http.dicomweb.related import Part, entity_tag, send_single
from hilum.http.dicomweb.sending import FileRange
from hilum.http.orthanc.errors import OUT_OF_RANGE, Refusal
from hilum.http.orthanc.resources import id_of, path_of
from hilum.http.orthanc.styled import json_answer
from hilum.http.parameters import boolean, number, single, whole
from hilum.http.ranges import has, not_modified, whole_or_part
from hilum.imaging.formats import MEDIA_TYPES
from hilum.imaging.png import encode_png
from hilum.imaging.rendering import Extraction, Format, Mode, Rendering
from hilum.imaging.unsupported import unsupported_picture
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.pictures import Located, Pictures
from hilum.services.retrieve import Retrieve

#: Last part of the path, and what is made of a frame.
_MODES: Final[dict[str, Mode]] = {
    "preview": "preview",
    "rendered": "rendered",
    "image-uint8": "uint8",
    "image-uint16": "uint16",
    "image-int16": "int16",
}
#: What there is of a frame, as a list of it says.
_OF_A_FRAME: Final = sorted((*_MODES, "matlab", "numpy", "raw", "raw.gz"))
_KINDS: Final[tuple[Format, ...]] = ("png", "jpeg", "pam")
_FORMS: Final = tuple(Form(MEDIA_TYPES[kind]) for kind in _KINDS)
_LAST_FRAME: Final = 2**31 - 1
_LONGEST_SIDE: Final = 65535
#: What Orthanc says of frames as they are stored, by transfer syntax; of others nothing.
_RAW_MEDIA_TYPES: Final = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
}
_OCTETS: Final = "application/octet-stream"
_PARAMETERS: Final = ("window-center", "window-width", "width", "height", "smooth")
_UNSUPPORTED: Final = "/app/images/unsupported.png"
# What is at an address changes when another version is stored; to ask costs a round trip.
_CACHING: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept"}


class PictureRoutes:
    """Draws frames, and sends them as they are."""

    def __init__(self, resources: Resources, pictures: Pictures, retrieve: Retrieve) -> None:
        self._resources = resources
        self._pictures = pictures
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        modes = "/{mode:" + "|".join(_MODES) + "}"
        frame = "/frames/{frame}"
        return [
            web.get(path_of(Level.IMAGE, below="/frames"), self._frames),
            web.get(path_of(Level.IMAGE, below=frame), self._of_a_frame),
            web.get(path_of(Level.IMAGE, below=modes), self._picture),
            web.get(path_of(Level.IMAGE, below=frame + modes), self._picture),
            web.get(path_of(Level.IMAGE, below=frame + "/raw"), self._raw),
            web.get(path_of(Level.IMAGE, below=frame + "/raw.gz"), self._raw_packed),
            web.get(_UNSUPPORTED, self._unsupported),
        ]

    async def _frames(self, request: web.Request) -> web.Response:
        instance = await self._instance(request)
        # Orthanc counts one where there is no image at all.
        return json_answer(list(range(max(instance.number_of_frames, 1))))

    async def _of_a_frame(self, request: web.Request) -> web.Response:
        await self._instance(request)
        return json_answer(_OF_A_FRAME)

    async def _picture(self, request: web.Request) -> web.Response:
        form = choose(accepted(request), _FORMS)
        if form is None:
            raise not_acceptable(_FORMS)
        kind = _KINDS[_FORMS.index(form)]
        instance = await self._instance(request)
        frame_index = _frame(request)
        if frame_index >= max(instance.number_of_frames, 1):
            raise NotFound(f"there are {instance.number_of_frames} frames")
        rendering = _rendering(request.match_info["mode"], kind, request.query_string)
        located = Located(instance, frame_index, rendering)
        if has(request, located.etag):
            return not_modified(located.etag, _CACHING)
        picture = self._pictures.seen(located)
        if picture is None:
            try:
                picture = await self._draw(located)
            except Unsupported:
                if "returnUnsupportedImage" not in request.query:
                    raise
                # Relative, so that it holds behind a proxy that has put us into a folder.
                up = "../" * (request.path.count("/") - 1)
                return web.Response(status=301, headers={"Location": up + _UNSUPPORTED[1:]})
        return whole_or_part(request, picture, form.media_type, located.etag, _CACHING)

    async def _draw(self, located: Located) -> bytes:
        identity = located.instance.identity
        where = f"instance {identity.sop_instance_uid}, its frame {located.frame_index}"
        try:
            return await self._pictures.draw(located)
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"{where}: {error}") from error
        except (Invalid, NoPixelData) as error:
            raise Unsupported(f"{where}: {error}") from error

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        instance = await self._instance(request)
        frame_index = _frame(request)
        part = await self._stored(instance, frame_index)
        return await send_single(request, part, entity_tag(instance.blob.digest, frame_index))

    async def _raw_packed(self, request: web.Request) -> web.Response:
        instance = await self._instance(request)
        _check(instance, frame_index := _frame(request))
        frame = await self._retrieve.raw_frame(instance, frame_index)
        packed = await asyncio.to_thread(gzip.compress, frame, 1)
        return web.Response(body=packed, content_type="application/gzip")

    async def _stored(self, instance: StoredInstance, frame_index: int) -> Part:
        """Return a frame from its place in the file, or made ready where it has none."""
        _check(instance, frame_index)
        media_type = _RAW_MEDIA_TYPES.get(instance.transfer_syntax_uid, _OCTETS)
        found = await asyncio.to_thread(self._retrieve.stored_frames, instance, [frame_index])
        if found is None:
            return Part(media_type, (await self._retrieve.raw_frame(instance, frame_index),))
        name = f"instance {instance.identity.sop_instance_uid}"
        opened = partial(self._retrieve.open, instance)
        pieces = tuple(FileRange(opened, *extent, name) for extent in found[0])
        return Part(media_type, pieces)

    async def _unsupported(self, _request: web.Request) -> web.Response:
        picture = await asyncio.to_thread(lambda: encode_png(unsupported_picture()))
        return web.Response(body=picture, content_type="image/png")

    async def _instance(self, request: web.Request) -> StoredInstance:
        (instance,) = await self._resources.instances(Level.IMAGE, id_of(request))
        return instance


@lru_cache(maxsize=512)
def _rendering(name: str, kind: Format, query: str) -> Rendering:
    """Return what a path and a query ask for; a client asks for many frames with the same."""
    parameters = MultiDict(parse_qsl(query, keep_blank_values=True))
    quality = single(parameters, ("quality",)).get("quality") if kind == "jpeg" else None
    mode = _MODES[name]
    given = single(parameters, _PARAMETERS) if mode == "rendered" else {}

    def side(name: str) -> int:
        return whole(name, given.get(name, "0"), 0, _LONGEST_SIDE)

    return Rendering(
        format=kind,
        quality=whole("quality", quality, 1, 100) if quality else None,
        extraction=Extraction(
            mode,
            center=_number(given, "window-center"),
            width=_number(given, "window-width"),
            columns=side("width"),
            rows=side("height"),
            smooth=boolean("smooth", given.get("smooth", "false")),
        ),
    )


def _number(given: dict[str, str], name: str) -> float | None:
    return number(name, given[name]) if name in given else None


def _frame(request: web.Request) -> int:
    """Return the frame in the path, from 0: the first if it is not there."""
    text = request.match_info.get("frame", "0")
    try:
        return whole("frame", text, 0, _LAST_FRAME)
    except Invalid as error:
        raise NotFound(str(error)) from error


def _check(instance: StoredInstance, frame_index: int) -> None:
    if not instance.number_of_frames:
        raise Unsupported("the instance has no pixel data")
    if frame_index >= instance.number_of_frames:
        raise Refusal(OUT_OF_RANGE, f"there are {instance.number_of_frames} frames")
