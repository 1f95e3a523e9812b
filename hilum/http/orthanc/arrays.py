"""Frames, instances and series as arrays: for numpy, and as text for Matlab."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from hilum.core.errors import Corrupt, Invalid, NoPixelData, Undecodable, Unsupported
from hilum.core.levels import Level
from hilum.http.orthanc.errors import OUT_OF_RANGE, Refusal
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.styled import text_answer
from hilum.http.parameters import boolean, single, whole
from hilum.imaging.arrays import header, matlab, packed, split
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

_OCTETS: Final = "application/octet-stream"
_LAST_FRAME: Final = 2**31 - 1


class ArrayRoutes:
    """Answers with samples to compute with."""

    def __init__(self, resources: Resources, retrieve: Retrieve) -> None:
        self._resources = resources
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        frame = "/frames/{frame}"
        return [
            web.get(path_of(Level.IMAGE, below=f"{frame}/numpy"), self._frame),
            web.get(path_of(Level.IMAGE, below=f"{frame}/matlab"), self._matlab),
            web.get(path_of(Level.IMAGE, below="/matlab"), self._matlab),
            web.get(path_of(Level.IMAGE, Level.SERIES, below="/numpy"), self._frames),
        ]

    async def _frame(self, request: web.Request) -> web.Response:
        compress, rescale = _options(request)
        instance, frame_index = await self._place(request)
        array = await self._array(instance, frame_index, rescale=rescale)
        if compress:
            array = await asyncio.to_thread(packed, array)
        return web.Response(body=array, content_type=_OCTETS)

    async def _matlab(self, request: web.Request) -> web.Response:
        instance, frame_index = await self._place(request)
        array = await self._array(instance, frame_index, rescale=False)
        return text_answer(await asyncio.to_thread(matlab, array))

    async def _frames(self, request: web.Request) -> web.StreamResponse:
        compress, rescale = _options(request)
        if compress:
            raise web.HTTPNotImplemented(text="only single frames are compressed")
        instances = await self._resources.instances(level_of(request), id_of(request))
        places = [(each, index) for each in instances for index in range(each.number_of_frames)]
        if not places:
            raise Unsupported("there are no frames")
        first = await self._array(*places[0], rescale=rescale)
        shape, descr, _ = split(first)
        begin = header((len(places), *shape), descr)
        response = web.StreamResponse()
        response.content_type = _OCTETS
        response.content_length = len(begin) + len(places) * len(split(first)[2])
        await response.prepare(request)
        if request.method != "HEAD":
            try:
                await response.write(begin)
                await self._send(response, places, first, rescale=rescale)
            except BaseException:
                # What was begun cannot be taken back: the client sees that it is not whole.
                if request.transport is not None:
                    request.transport.abort()
                raise
        return response

    async def _send(
        self,
        response: web.StreamResponse,
        places: Sequence[tuple[StoredInstance, int]],
        first: bytes,
        *,
        rescale: bool,
    ) -> None:
        """Send the samples of all frames, one after the other; they must be of one kind."""
        kind = split(first)[:2]
        for number, place in enumerate(places):
            array = await self._array(*place, rescale=rescale) if number else first
            shape, descr, samples = split(array)
            if (shape, descr) != kind:
                raise Unsupported("the frames differ in size or type")
            await response.write(samples)
        await response.write_eof()

    async def _array(self, instance: StoredInstance, frame_index: int, *, rescale: bool) -> bytes:
        uid = instance.identity.sop_instance_uid
        try:
            return await self._retrieve.frame_array(instance, frame_index, rescale=rescale)
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"instance {uid}: {error}") from error
        except (Invalid, NoPixelData) as error:
            raise Unsupported(f"instance {uid}: {error}") from error

    async def _place(self, request: web.Request) -> tuple[StoredInstance, int]:
        (instance,) = await self._resources.instances(Level.IMAGE, id_of(request))
        frame_index = whole("frame", request.match_info.get("frame", "0"), 0, _LAST_FRAME)
        if frame_index >= max(instance.number_of_frames, 1):
            raise Refusal(OUT_OF_RANGE, f"there are {instance.number_of_frames} frames")
        return instance, frame_index


def _options(request: web.Request) -> tuple[bool, bool]:
    """Return whether to compress, and whether to rescale."""
    given = single(request.query, ("compress", "rescale"))
    compress = boolean("compress", given.get("compress", "false"))
    return compress, boolean("rescale", given.get("rescale", "true"))
