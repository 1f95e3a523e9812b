"""Rendered resources: pictures and thumbnails of studies, series, instances and frames.

A picture is one JPEG, PNG or WebP. What has several pictures gives them all to a client
that asks for ``multipart/related``, and the one that stands for the rest to a client that
wants a single picture (PS3.18 10.4.1.1.3, 10.4.1.1.4).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

from aiohttp import web

from hilum.core.errors import (
    Corrupt,
    HilumError,
    Invalid,
    NoPixelData,
    NotFound,
    Undecodable,
    Unsupported,
)
from hilum.http.dicomweb.media_types import Form, accepted, choose, not_acceptable
from hilum.http.dicomweb.related import Part, entity_tag, send_parts_as_made
from hilum.http.dicomweb.rendering_query import parse_rendering_query
from hilum.http.dicomweb.resources import FRAMES, INSTANCE, SERIES, STUDY, resource
from hilum.http.dicomweb.urls import service_url
from hilum.http.parameters import whole
from hilum.http.ranges import has, not_modified, whole_or_part
from hilum.imaging.decode import DECODABLE
from hilum.imaging.formats import MEDIA_TYPES
from hilum.imaging.rendering import Format, Unfulfillable, Viewport
from hilum.index.stored import StoredInstance
from hilum.services.pictures import Located, Pictures
from hilum.services.retrieve import Retrieve

_LEVELS: Final = (STUDY, SERIES, INSTANCE, FRAMES)

FORMATS: Final[dict[str, Format]] = {
    name: kind for kind, name in MEDIA_TYPES.items() if kind != "pam"
}
#: JPEG first: it is the standard's default (PS3.18 8.7.4).
_SINGLE: Final = tuple(Form(name) for name in FORMATS)
_SEVERAL: Final = tuple(Form(name, multipart=True) for name in FORMATS)

#: What a thumbnail fits into when the client does not say.
_THUMBNAIL: Final = Viewport(256, 256)
_LAST_FRAME: Final = 2**31 - 1
#: Pictures in hand at once for one client: enough to keep the decoders busy.
_AHEAD: Final = 4
#: As of the frames below `/api`: a browser may keep it but asks; `private`, for it is a
#: patient's.
_CACHING: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept"}

#: An instance, and the index of one of its frames.
Place: TypeAlias = tuple[StoredInstance, int]


class Rendered:
    """Answers ``/rendered`` and ``/thumbnail`` at every level."""

    def __init__(self, retrieve: Retrieve, pictures: Pictures) -> None:
        self._retrieve = retrieve
        self._pictures = pictures

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            *(web.get(f"{level}/rendered", self._rendered) for level in _LEVELS),
            *(web.get(f"{level}/thumbnail", self._thumbnail) for level in _LEVELS),
        ]

    async def _rendered(self, request: web.Request) -> web.StreamResponse:
        frames = _frame_indices(request)
        if len(frames) > 1:
            form = _form_of_several(request)
        else:
            form = _form(request, (*_SINGLE, *_SEVERAL))
        asked = parse_rendering_query(request.query, FORMATS[form.media_type])
        instances = await resource(self._retrieve, request)
        _check(frames, instances[0])
        places: Iterable[Place]
        if "instance_uid" in request.match_info:
            places = [(instances[0], index) for index in frames or (0,)]
        elif form.multipart:
            places = _all_frames(instances)
        else:
            places = [_representative(instances)]
        located = [Located(*place, asked.rendering) for place in places]
        if not form.multipart:
            return await self.send(request, located[0], asked.ignored)
        etag = entity_tag(request.path, *(each.etag for each in located))
        async with aclosing(self._parts(request, located)) as parts:
            headers = _warnings(asked.ignored)
            return await send_parts_as_made(request, form.media_type, parts, etag, headers=headers)

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        frames = _frame_indices(request)
        kind = FORMATS[_form(request, _SINGLE).media_type]
        asked = parse_rendering_query(request.query, kind, default=_THUMBNAIL)
        instances = await resource(self._retrieve, request)
        _check(frames, instances[0])
        # Of several frames, one stands for all.
        place = (instances[0], frames[0]) if frames else _representative(instances)
        located = Located(*place, asked.rendering)
        return await self.send(request, located, asked.ignored)

    async def send(
        self, request: web.Request, located: Located, ignored: Sequence[str] = ()
    ) -> web.Response:
        """Return one picture, or 304.

        Parameters
        ----------
        ignored
            Parameters of the request that have no effect: a Warning names them.

        Raises
        ------
        HilumError
            It cannot be drawn.
        """
        headers = {
            **_CACHING,
            "Content-Location": _address(request, located),
            **_warnings(ignored),
        }
        if has(request, located.etag):
            return not_modified(located.etag, headers)
        picture = await self._draw(located)
        media_type = MEDIA_TYPES[located.rendering.format]
        return whole_or_part(request, picture, media_type, located.etag, headers)

    async def _parts(
        self, request: web.Request, located: Iterable[Located]
    ) -> AsyncGenerator[Part, None]:
        """Yield pictures as parts.

        Of a study or series, what cannot be drawn is left out; a frame asked for is not.
        """
        lenient = "instance_uid" not in request.match_info
        async with aclosing(self._drawn(located, lenient=lenient)) as pictures:
            async for each, picture in pictures:
                media_type = MEDIA_TYPES[each.rendering.format]
                yield Part(media_type, (picture,), _address(request, each))

    async def _drawn(
        self, located: Iterable[Located], *, lenient: bool
    ) -> AsyncGenerator[tuple[Located, bytes], None]:
        """Yield pictures in order, some being drawn ahead of the client.

        Raises
        ------
        HilumError
            A picture cannot be drawn; if `lenient`, not one of them can.
        """
        coming: deque[tuple[Located, asyncio.Task[bytes]]] = deque()
        remaining = iter(located)
        failure: HilumError | None = NoPixelData("there is nothing to be drawn here")
        try:
            while True:
                while len(coming) < _AHEAD and (each := next(remaining, None)):
                    coming.append((each, asyncio.create_task(self._draw(each))))
                if not coming:
                    break
                each, task = coming[0]
                try:
                    picture = await task
                except (NoPixelData, Unsupported) as error:
                    if not lenient:
                        raise
                    failure = failure and error
                else:
                    failure = None
                    yield each, picture
                coming.popleft()
        finally:
            for _, task in coming:
                task.cancel()
            await asyncio.gather(*(task for _, task in coming), return_exceptions=True)
        if failure:
            raise failure

    async def _draw(self, located: Located) -> bytes:
        uid = located.instance.identity.sop_instance_uid
        where = f"instance {uid}, its frame {located.frame_index + 1}"
        try:
            return await self._pictures.draw(located)
        except Unfulfillable:
            raise
        except Corrupt as error:
            # Kept as it was sent; it is the sender's pixels that are damaged.
            raise Undecodable(f"{where}: {error}") from error
        except Invalid as error:
            # The request has been checked: what is wrong is in the file.
            raise Unsupported(f"{where}: {error}") from error


def _form(request: web.Request, forms: Sequence[Form]) -> Form:
    """Return how to answer; an exception says that the client takes no picture."""
    form = choose(accepted(request), forms)
    if form is None:
        raise not_acceptable(forms)
    return form


def _form_of_several(request: web.Request) -> Form:
    """Return how to answer with several pictures.

    In parts, even to a client that names but the media type of one: libraries do, and
    there is no other way (RFC 9110 12.4.1).
    """
    accepts = accepted(request)
    form = choose(accepts, _SEVERAL) or choose(accepts, _SINGLE)
    if form is None:
        raise not_acceptable(_SEVERAL)
    return Form(form.media_type, multipart=True)


def _frame_indices(request: web.Request) -> tuple[int, ...]:
    """Return the frames that the path names, counted from 0; none if it names none."""
    text = request.match_info.get("frames")
    if text is None:
        return ()
    return tuple(
        whole("a frame number", number.strip(), 1, _LAST_FRAME) - 1 for number in text.split(",")
    )


def _check(frames: Iterable[int], instance: StoredInstance) -> None:
    """Refuse a list of frames of which one is not there before anything is answered."""
    count = instance.number_of_frames
    if not count:
        return  # no pixels at all: the one who draws says so
    for index in frames:
        if index >= count:
            raise NotFound(f"there is no frame {index + 1}; there are {count}")


def _all_frames(instances: Iterable[StoredInstance]) -> Iterator[Place]:
    return (
        (instance, index) for instance in instances for index in range(instance.number_of_frames)
    )


def _representative(instances: Sequence[StoredInstance]) -> Place:
    """Return the frame in the middle of those that can be drawn: the first is mostly air.

    Raises
    ------
    NoPixelData
        There is no frame at all.
    """
    images = [instance for instance in instances if instance.number_of_frames]
    if not images:
        raise NoPixelData("there is nothing to be drawn here")
    drawable = [image for image in images if image.transfer_syntax_uid in DECODABLE] or images
    middle = drawable[len(drawable) // 2]
    return middle, middle.number_of_frames // 2


def _address(request: web.Request, located: Located) -> str:
    """Return the URL of a frame's picture."""
    identity = located.instance.identity
    return (
        f"{service_url(request)}/studies/{identity.study_instance_uid}"
        f"/series/{identity.series_instance_uid}/instances/{identity.sop_instance_uid}"
        f"/frames/{located.frame_index + 1}/rendered"
    )


def _warnings(ignored: Sequence[str]) -> dict[str, str]:
    """Return the header that says what of the request the answer leaves out."""
    if not ignored:
        return {}
    names = " and ".join(ignored)
    return {"Warning": f'299 Hilum "not supported and therefore ignored: {names}"'}
