"""What is in instances: their tags, their files, single values."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import NotFound
from hilum.core.levels import Level
from hilum.core.modules import MODULES
from hilum.http.dicomweb.instances import Choice, rewritten_part, stored_part
from hilum.http.dicomweb.media_types import DICOM
from hilum.http.dicomweb.media_types import Form as MediaForm
from hilum.http.dicomweb.related import Part, entity_tag, send_single
from hilum.http.dicomweb.sending import FileRange
from hilum.http.orthanc.errors import BAD_REQUEST, Refusal
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.styled import JSON, json_answer, styled
from hilum.http.orthanc.tag_names import short_name
from hilum.imaging.element_names import name_of, tag_of
from hilum.imaging.encode import ENCODED
from hilum.imaging.scan import PIXEL_DATA_TAGS
from hilum.imaging.tag_json import Form
from hilum.imaging.transcode import TARGETS
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.bulk_data import BulkData
from hilum.services.contents import Contents
from hilum.services.retrieve import Retrieve

_PIXELS: Final = frozenset(f"{tag >> 16:04x},{tag & 0xFFFF:04x}" for tag in PIXEL_DATA_TAGS) | {
    name_of(tag) for tag in PIXEL_DATA_TAGS
}
_OCTETS: Final = "application/octet-stream"
_SEVERAL: Final = (Level.PATIENT, Level.STUDY, Level.SERIES)
_ENCAPSULATED_DOCUMENT: Final = 0x00420011
#: Read at the same time for one answer.
_TOGETHER: Final = 8


class ContentRoutes:
    """Answers from the files of instances."""

    def __init__(
        self, resources: Resources, contents: Contents, bulk_data: BulkData, retrieve: Retrieve
    ) -> None:
        self._resources = resources
        self._contents = contents
        self._bulk_data = bulk_data
        self._retrieve = retrieve

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""

        def instance(below: str) -> str:
            return path_of(Level.IMAGE, below=below)

        return [
            web.get(instance("/tags"), self._tags),
            web.get(instance("/simplified-tags"), self._simplified_tags),
            web.get(instance("/header"), self._header),
            web.get(instance("/file"), self._file, allow_head=True),
            web.get(instance("/pdf"), self._pdf),
            web.get(instance("/content"), self._content),
            web.get(instance("/content/{path:.*}"), self._content),
            web.get(path_of(*Level, below="/module"), self._module),
            web.get(path_of(Level.STUDY, below="/module-patient"), self._module),
            web.get(path_of(*_SEVERAL, below="/instances-tags"), self._instances_tags),
            web.get(path_of(*_SEVERAL, below="/shared-tags"), self._shared_tags),
        ]

    async def _tags(self, request: web.Request) -> web.Response:
        instance = await self._instance(request)
        form, ignored = _form(request.query), _ignored(request.query)
        return await _told(await self._contents.tags(instance, form, ignored))

    async def _simplified_tags(self, request: web.Request) -> web.Response:
        instance = await self._instance(request)
        tags = await self._contents.tags(instance, "simple", _ignored(request.query))
        return await _told(tags)

    async def _header(self, request: web.Request) -> web.Response:
        instance = await self._instance(request)
        return json_answer(await self._contents.meta(instance, _form(request.query)))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        instance = await self._instance(request)
        await asyncio.to_thread(self._retrieve.check, [instance])
        name = {"Content-Disposition": f'filename="{id_of(request)}.dcm"'}
        target = request.query.get("transcode", instance.transfer_syntax_uid)
        # What is no image has nothing to compress, as in archives.
        blank = target in ENCODED and not instance.number_of_frames
        if target != instance.transfer_syntax_uid and not blank:
            return await self._rewritten_file(request, instance, target, name)
        pieces = stored_part(self._retrieve, instance, "").pieces
        etag = entity_tag(instance.blob.digest)
        return await send_single(request, Part(DICOM, pieces), etag, name)

    async def _rewritten_file(
        self, request: web.Request, instance: StoredInstance, target: str, name: Mapping[str, str]
    ) -> web.StreamResponse:
        if target not in (*TARGETS, *ENCODED):
            raise Refusal(BAD_REQUEST, f"Unknown transfer syntax: {target[:64]}")
        choice = Choice(instance, MediaForm(DICOM, target))
        part, file = await rewritten_part(self._retrieve, choice, "")
        try:
            etag = entity_tag(instance.blob.digest, target)
            return await send_single(request, Part(DICOM, part.pieces), etag, name)
        finally:
            if file is not None:
                file.close()

    async def _pdf(self, request: web.Request) -> web.StreamResponse:
        instance = await self._instance(request)
        return await self._value(request, instance, (_ENCAPSULATED_DOCUMENT,), "application/pdf")

    async def _content(self, request: web.Request) -> web.StreamResponse:
        path = _path(request.match_info.get("path", ""))
        instance = await self._instance(request)
        if len(path) == 2 and path[0] in PIXEL_DATA_TAGS:
            return await self._fragment(request, instance, path[1])
        below = await self._contents.below(instance, path)
        if below is not None:
            return json_answer(below)
        # Items are counted from 1 where they are not Orthanc's.
        counted = tuple(each + place % 2 for place, each in enumerate(path))
        return await self._value(request, instance, counted, _OCTETS)

    async def _fragment(
        self, request: web.Request, instance: StoredInstance, number: int
    ) -> web.StreamResponse:
        fragments = await self._contents.fragments(instance)
        if number >= len(fragments):
            raise NotFound(f"there are {len(fragments)} fragments")
        if len(fragments) == 1:
            tag = instance.pixel_data.tag if instance.pixel_data else 0
            return await self._value(request, instance, (tag,), _OCTETS)
        found = fragments[number]
        uid = instance.identity.sop_instance_uid
        opened = FileRange(
            lambda: self._retrieve.open(instance), found.offset, found.size_bytes, f"instance {uid}"
        )
        etag = entity_tag(instance.blob.digest, number)
        return await send_single(request, Part(_OCTETS, (opened,)), etag)

    async def _value(
        self,
        request: web.Request,
        instance: StoredInstance,
        path: tuple[int, ...],
        media_type: str,
    ) -> web.StreamResponse:
        found = await self._bulk_data.find(instance, path)
        uid = instance.identity.sop_instance_uid
        pieces = (
            (FileRange(found.open, found.offset, found.size_bytes, f"instance {uid}"),)
            if found.open is not None
            else (found.raw,)
        )
        try:
            etag = entity_tag(instance.blob.digest, path)
            return await send_single(request, Part(media_type, pieces), etag)
        finally:
            found.close()

    async def _module(self, request: web.Request) -> web.Response:
        level = level_of(request)
        first = await self._resources.first_instance(level, id_of(request))
        form, ignored = _form(request.query), _ignored(request.query)
        tags = await self._contents.tags(first, form, ignored)
        patient = request.path.endswith("/module-patient")
        keywords = MODULES[Level.PATIENT if patient else level]
        named = form == "simple"
        wanted = keywords if named else {short_name(tag_of(each)) for each in keywords}
        return json_answer({tag: said for tag, said in tags.items() if tag in wanted})

    async def _instances_tags(self, request: web.Request) -> web.StreamResponse:
        instances = await self._resources.instances(level_of(request), id_of(request))
        response = web.StreamResponse()
        response.content_type, response.charset = JSON, "utf-8"
        response.enable_chunked_encoding()
        separator = "{"
        # A patient's tags are as large as some images: nobody has them in memory as a whole.
        async for instance, tags in self._each(request, instances):
            if separator == "{":
                await response.prepare(request)
            # One level deeper than it would be by itself.
            text = (await asyncio.to_thread(styled, tags)).replace("\n", "\n   ")
            member = f'{separator}\n   "{instance.identity.instance}" : \n   {text}'
            await response.write(member.encode())
            separator = ","
        await response.write(b"\n}")
        await response.write_eof()
        return response

    async def _shared_tags(self, request: web.Request) -> web.Response:
        instances = await self._resources.instances(level_of(request), id_of(request))
        shared: dict[str, Any] | None = None
        async for _, tags in self._each(request, instances):
            if shared is None:
                shared = tags
            else:
                shared = {tag: said for tag, said in shared.items() if tags.get(tag) == said}
        told = shared or {}
        # That all are images is nothing they share.
        return await _told({tag: said for tag, said in told.items() if tag not in _PIXELS})

    async def _each(
        self, request: web.Request, instances: list[StoredInstance]
    ) -> AsyncIterator[tuple[StoredInstance, dict[str, Any]]]:
        """Yield the tags of each of the instances, some read ahead."""
        form, ignored = _form(request.query), _ignored(request.query)
        for first in range(0, len(instances), _TOGETHER):
            some = instances[first : first + _TOGETHER]
            found = await asyncio.gather(
                *(self._contents.tags(each, form, ignored) for each in some)
            )
            for pair in zip(some, found, strict=True):
                yield pair

    async def _instance(self, request: web.Request) -> StoredInstance:
        (instance,) = await self._resources.instances(Level.IMAGE, id_of(request))
        return instance


async def _told(tags: dict[str, Any]) -> web.Response:
    """Return tags as an answer; of a whole data set that takes a while."""
    return await asyncio.to_thread(json_answer, tags)


def _form(query: Mapping[str, str]) -> Form:
    """Return the form that is asked for: a parameter without a value asks too."""
    if "simplify" in query:
        return "simple"
    return "short" if "short" in query else "full"


def _ignored(query: Mapping[str, str]) -> frozenset[int]:
    """Return the tags whose values are wanted however long they are."""
    named = [each for each in query.get("ignore-length", "").split(",") if each]
    return frozenset(map(_tag, named))


def _path(text: str) -> tuple[int, ...]:
    """Return a path below ``/content``: tags, and items from 0 between them."""
    parts = [part for part in text.split("/") if part]
    return tuple(_number(part) if place % 2 else _tag(part) for place, part in enumerate(parts))


def _tag(text: str) -> int:
    try:
        return tag_of(text)
    except KeyError:
        raise NotFound(f"there is no tag {text[:40]!r}") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise NotFound(f"there is no item {text[:40]!r}")
    return int(text)
