"""``/attachments``: the file of an instance, those of clients' own, and what there is to say."""

import asyncio
import hashlib
from typing import Final

from aiohttp import web

from hilum.core.errors import Corrupt, NotFound
from hilum.core.levels import Level
from hilum.http.dicomweb.instances import stored_part
from hilum.http.dicomweb.media_types import DICOM, OCTET_STREAM
from hilum.http.dicomweb.related import Part, entity_tag, send_single
from hilum.http.orthanc.describe import file_uuid
from hilum.http.orthanc.own_attachments import FILE_CONTENT_TYPE, OwnAttachments
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

#: The attachment there is, by name and by Orthanc's number.
_NAME: Final = "dicom"
_NAMES: Final = frozenset({_NAME, str(FILE_CONTENT_TYPE)})
_OPERATIONS: Final = (
    "compressed-data",
    "compressed-md5",
    "compressed-size",
    "data",
    "info",
    "is-compressed",
    "md5",
    "size",
    "verify-md5",
    "uuid",
)
_PIECE_BYTES: Final = 1 << 20
_DIGESTS_KEPT: Final = 10_000


class AttachmentRoutes:
    """Gives the file of an instance and its measures. Nothing is compressed."""

    def __init__(self, resources: Resources, retrieve: Retrieve, own: OwnAttachments) -> None:
        self._resources = resources
        self._retrieve = retrieve
        self._own = own
        # By SHA-256: what that names never changes.
        self._md5s: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        one = path_of(below="/attachments/{name}")
        return [
            web.get(path_of(below="/attachments"), self._list),
            web.get(one, self._operations),
            web.put(one, self._own.put),
            web.delete(one, self._own.delete),
            web.post(f"{one}/verify-md5", self._verify),
            web.get(f"{one}/{{operation}}", self._answer),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        resource = await self._resources.one(level_of(request), id_of(request))
        named = await self._own.named(resource.id)
        if resource.level is Level.IMAGE:
            named = {_NAME: FILE_CONTENT_TYPE} | named
        return json_answer(named if "full" in request.query else list(named))

    async def _operations(self, request: web.Request) -> web.Response:
        await (self._instance(request) if _is_file(request) else self._own.one(request))
        return json_answer(_OPERATIONS)

    async def _verify(self, request: web.Request) -> web.Response:
        if not _is_file(request):
            return await self._own.verify(request)
        instance = await self._instance(request)
        if await asyncio.to_thread(self._hash, instance, "sha256") != instance.blob.digest:
            raise Corrupt(f"the file of {instance.identity.sop_instance_uid} is damaged")
        return json_answer({})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not _is_file(request):
            return await self._own.answer(request)
        instance = await self._instance(request)
        operation = request.match_info["operation"].removeprefix("compressed-")
        size = str(instance.blob.size_bytes)
        if operation == "data":
            await asyncio.to_thread(self._retrieve.check, [instance])
            kind = DICOM if request.match_info["operation"] == "data" else OCTET_STREAM
            pieces = stored_part(self._retrieve, instance, "").pieces
            return await send_single(request, Part(kind, pieces), entity_tag(instance.blob.digest))
        if operation == "size":
            return text_answer(size)
        if operation == "is-compressed":
            return text_answer("0")
        if operation == "uuid":
            return text_answer(file_uuid(instance.blob.digest))
        if operation not in {"md5", "info"}:
            raise NotFound(f"an attachment has no {operation[:40]}")
        md5 = await self._md5(instance)
        if operation == "md5":
            return text_answer(md5)
        return json_answer(
            {
                "CompressedMD5": md5,
                "CompressedSize": instance.blob.size_bytes,
                "ContentType": FILE_CONTENT_TYPE,
                "UncompressedMD5": md5,
                "UncompressedSize": instance.blob.size_bytes,
                "Uuid": file_uuid(instance.blob.digest),
            }
        )

    async def _instance(self, request: web.Request) -> StoredInstance:
        """Return the instance whose file the path names."""
        resource = await self._resources.one(level_of(request), id_of(request))
        if resource.stored is None:
            raise NotFound("only instances have files")
        return resource.stored

    async def _md5(self, instance: StoredInstance) -> str:
        digest = instance.blob.digest
        if digest not in self._md5s:
            if len(self._md5s) >= _DIGESTS_KEPT:
                self._md5s.clear()
            self._md5s[digest] = await asyncio.to_thread(self._hash, instance, "md5")
        return self._md5s[digest]

    def _hash(self, instance: StoredInstance, algorithm: str) -> str:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with self._retrieve.open(instance) as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()


def _is_file(request: web.Request) -> bool:
    """Return whether the path names the file of an instance."""
    return request.match_info["name"] in _NAMES
