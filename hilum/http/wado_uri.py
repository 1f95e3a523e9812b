"""WADO-URI: one instance, or a picture of one frame, by the parameters of a URL (PS3.18 9).

An older way to the same things as WADO-RS: what is negotiated, sent and drawn is its
(`hilum.http.dicomweb`), the parameters are its own.
"""

import asyncio
from contextlib import aclosing
from typing import Final

from aiohttp import web

from hilum.core.errors import Invalid, NotFound
from hilum.core.identifiers import parse_uid
from hilum.core.levels import Level, json_tag
from hilum.core.query import Condition, Exact, Query
from hilum.http.dicomweb.instances import choose_forms, forms, rewritten_part, url_of
from hilum.http.dicomweb.media_types import (
    DICOM,
    Form,
    Range,
    accepted,
    choose,
    not_acceptable,
    parse_accept,
)
from hilum.http.dicomweb.related import entity_tag, send_single
from hilum.http.dicomweb.rendered import FORMATS, Rendered
from hilum.http.dicomweb.urls import service_url
from hilum.http.parameters import number, single, whole
from hilum.imaging.rendering import LONGEST_SIDE, Format, Rendering, Viewport
from hilum.index.stored import StoredInstance
from hilum.services.pictures import Located
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search

_UIDS: Final = {
    "studyUID": "StudyInstanceUID",
    "seriesUID": "SeriesInstanceUID",
    "objectUID": "SOPInstanceUID",
}
_OF_PICTURES: Final = (
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "frameNumber",
    "imageQuality",
)
#: Well formed, and without effect here.
_IGNORED: Final = ("annotation", "presentationSeriesUID", "presentationUID")
#: Of a viewport with a side that is not given: nobody is to ask for more by leaving it out.
_LARGEST_PIXELS: Final = 1 << 24
_DICOM: Final = Form(DICOM)
#: JPEG first: it is what an image comes as if nothing else is asked for (9.1.2.2.1).
_PICTURES: Final = tuple(Form(name) for name in FORMATS)


class WadoUri:
    """Answers ``/wado``."""

    def __init__(self, retrieve: Retrieve, search: Search, rendered: Rendered) -> None:
        self._retrieve = retrieve
        self._search = search
        self._rendered = rendered

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.get("/wado", self._get)]

    async def _get(self, request: web.Request) -> web.StreamResponse:
        given = single(request.query, ("requestType", "anonymize", "transferSyntax", *_UIDS))
        if given.get("requestType") != "WADO":
            raise Invalid("requestType must be WADO")
        if missing := [name for name in _UIDS if name not in given]:
            raise Invalid(f"{', '.join(missing)} must be given")
        uids = [parse_uid(given[name], name) for name in _UIDS]
        if "anonymize" in given:
            raise web.HTTPNotImplemented(text="this node does not anonymize")
        (instance,) = await self._retrieve.resource(*uids)
        offered = (*_PICTURES, _DICOM) if instance.number_of_frames else (_DICOM,)
        form = _chosen(request, offered)
        if form is _DICOM:
            return await self._send(request, instance, given.get("transferSyntax", ""))
        return await self._draw(request, instance, FORMATS[form.media_type])

    async def _send(
        self, request: web.Request, instance: StoredInstance, transfer_syntax_uid: str
    ) -> web.StreamResponse:
        wanted = Range(DICOM, multipart=False, transfer_syntax_uid=transfer_syntax_uid)
        choice = next(choose_forms(((wanted,),), (instance,)), None)
        if choice is None:
            raise not_acceptable(
                [
                    each
                    for each in forms(instance.transfer_syntax_uid, single=True)
                    if not each.multipart
                ]
            )
        await asyncio.to_thread(self._retrieve.check, (instance,))
        base = service_url(request)
        part, file = await rewritten_part(self._retrieve, choice, url_of(instance, base))
        try:
            etag = entity_tag(base, instance.blob.digest, choice.form)
            return await send_single(request, part, etag)
        finally:
            if file is not None:
                file.close()

    async def _draw(
        self, request: web.Request, instance: StoredInstance, kind: Format
    ) -> web.StreamResponse:
        given = single(request.query, _OF_PICTURES)
        frame_number = whole("frameNumber", given.get("frameNumber", "1"), 1, 2**31 - 1)
        if frame_number > instance.number_of_frames:
            raise NotFound(f"there is no frame {frame_number} of {instance.number_of_frames}")
        sides = {
            name: whole(name, given[name], 1, LONGEST_SIDE)
            for name in ("columns", "rows")
            if name in given
        }
        region = _region(given["region"]) if "region" in given else None
        size = await self._size(instance) if region else (0, 0)
        window = [
            number(name, given[name]) if name in given else None
            for name in ("windowCenter", "windowWidth")
        ]
        quality = whole("imageQuality", given.get("imageQuality", "100"), 1, 100)
        rendering = Rendering(
            center=window[0],
            width=window[1],
            viewport=_viewport(sides.get("columns"), sides.get("rows"), region, size),
            format=kind,
            # A PNG has no quality: pictures that do not differ should have one address.
            quality=quality if "imageQuality" in given and kind != "png" else None,
        )
        located = Located(instance, frame_number - 1, rendering)
        ignored = [name for name in _IGNORED if name in request.query]
        return await self._rendered.send(request, located, ignored)

    async def _size(self, instance: StoredInstance) -> tuple[int, int]:
        """Return columns and rows of an instance's frames."""
        keywords = ("Columns", "Rows")
        identity = instance.identity
        conditions = (
            Condition("StudyInstanceUID", Exact(identity.study_instance_uid)),
            Condition("SeriesInstanceUID", Exact(identity.series_instance_uid)),
            Condition("SOPInstanceUID", Exact(identity.sop_instance_uid)),
        )
        async with aclosing(
            self._search.find(Query(Level.IMAGE, conditions, requested=keywords))
        ) as found:
            async for match in found:
                values = [
                    match.attributes.get(json_tag(each), {}).get("Value") for each in keywords
                ]
                if all(values):
                    columns, rows = (int(value[0]) for value in values if value)
                    return columns, rows
        raise NotFound(f"the size of instance {identity.sop_instance_uid} is not known")


def _chosen(request: web.Request, offered: tuple[Form, ...]) -> Form:
    """Return the form that is asked for: by contentType if it is given, else by Accept.

    A browser that shows a page accepts pictures of many kinds, and anything else; the page
    knows better what it asks for.
    """
    asked = ",".join(request.query.getall("contentType", ()))
    form = choose((parse_accept(asked),) if asked.strip() else accepted(request), offered)
    if form is None:
        raise not_acceptable(offered)
    return form


def _region(text: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom as fractions of the frame (9.1.2.3.7)."""
    parts = [number("region", part.strip()) for part in text.split(",")]
    if len(parts) != 4:
        raise Invalid("region must be four numbers: left, top, right, bottom")
    left, top, right, bottom = parts
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise Invalid("region must lie between 0 and 1 and have an area")
    return left, top, right, bottom


def _viewport(
    columns: int | None,
    rows: int | None,
    region: tuple[float, float, float, float] | None,
    size: tuple[int, int],
) -> Viewport | None:
    """Return what the picture is to fill; a side that is not given follows from the other."""
    if region is None and columns is None and rows is None:
        return None
    left, top, width, height = 0.0, 0.0, None, None
    if region is not None:
        left, top = region[0] * size[0], region[1] * size[1]
        width, height = region[2] * size[0] - left, region[3] * size[1] - top
        if columns is None and rows is None:
            columns, rows = max(1, round(width)), max(1, round(height))
    if columns is None:
        assert rows is not None
        columns = min(LONGEST_SIDE, max(1, _LARGEST_PIXELS // rows))
    if rows is None:
        rows = min(LONGEST_SIDE, max(1, _LARGEST_PIXELS // columns))
    return Viewport(columns, rows, left, top, width, height)
