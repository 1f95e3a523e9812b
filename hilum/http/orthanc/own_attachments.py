"""Attachments of clients' own, under numbers from 1024 on."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import Corrupt, NotFound
from hilum.http.orthanc.describe import file_uuid
from hilum.http.orthanc.own_names import FIRST, LAST, OwnNames
from hilum.http.orthanc.resources import id_of, level_of
from hilum.http.orthanc.store import is_migration
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.attachments import Attachment, Attachments
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance

#: Orthanc's number of the file of an instance.
FILE_CONTENT_TYPE: Final = 1
#: What a client may attach in one piece.
_LONGEST_BYTES: Final = 256 << 20
_PIECE_BYTES: Final = 1 << 20
_OCTET_STREAM: Final = "application/octet-stream"


class OwnAttachments:
    """Keeps files that clients attach, and gives them back."""

    def __init__(self, resources: Resources, attachments: Attachments, names: OwnNames) -> None:
        self._resources = resources
        self._attachments = attachments
        self._names = names

    async def named(self, public_id: str) -> dict[str, int]:
        """Return the numbers of those of a resource, by their names, in order."""
        of_resource = await self._attachments.of(public_id)
        return {self._names.name_of(number): number for number in of_resource}

    async def told_of(self, resources: Sequence[Resource]) -> dict[str, list[dict[str, Any]]]:
        """Return what there is to say of all attachments of resources, by public id.

        Of the file of an instance not its MD5, for which it would have to be read.
        """
        own = await self._attachments.of_all([each.id for each in resources])
        return {
            each.id: [
                *([_file_info(each.stored)] if each.stored is not None else []),
                *map(_info, own.get(each.id, {}).values()),
            ]
            for each in resources
        }

    async def put(self, request: web.Request) -> web.Response:
        """Take what is in the body."""
        number = self._own_number(request)
        resource = await self._resources.one(level_of(request), id_of(request))
        await self._check_revision(request, resource.id, number)
        attached = await self._attachments.put(
            resource.id, number, _body(request), copied=is_migration(request)
        )
        return web.json_response({}, headers={"ETag": _etag(attached)})

    async def delete(self, request: web.Request) -> web.Response:
        """Take one away."""
        number = self._own_number(request)
        attached = await self.one(request)
        await self._check_revision(request, id_of(request), number)
        await self._attachments.remove(attached)
        return web.Response(content_type="text/plain")

    async def one(self, request: web.Request) -> Attachment:
        """Return the attachment that the path names.

        Raises
        ------
        NotFound
            There is none.
        """
        number = self._names.number_of(request.match_info["name"])
        resource = await self._resources.one(level_of(request), id_of(request))
        found = (await self._attachments.of(resource.id)).get(number)
        if found is None:
            raise NotFound(f"no attachment {number}")
        return found

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Tell what the last part of the path asks for."""
        attached = await self.one(request)
        operation = request.match_info["operation"].removeprefix("compressed-")
        headers = {"ETag": _etag(attached)}
        if operation == "data":
            return await self._data(request, attached)
        if operation == "info":
            return json_answer(_info(attached))
        told = {
            "md5": attached.md5,
            "size": str(attached.size_bytes),
            "is-compressed": "0",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, attached.id)),
        }
        if operation not in told:
            raise NotFound(f"an attachment has no {operation[:40]}")
        answer = text_answer(told[operation])
        answer.headers.update(headers)
        return answer

    async def verify(self, request: web.Request) -> web.Response:
        """Hold one to its digest."""
        attached = await self.one(request)
        digest = hashlib.md5(usedforsecurity=False)
        async for piece in self._attachments.pieces(attached):
            digest.update(piece)
        if digest.hexdigest() != attached.md5:
            raise Corrupt(f"attachment {attached.number} of {id_of(request)} is damaged")
        return json_answer({})

    async def _data(self, request: web.Request, attached: Attachment) -> web.StreamResponse:
        headers = {"ETag": _etag(attached), "Content-Type": _OCTET_STREAM}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
        answer = web.StreamResponse(headers=headers)
        answer.content_length = attached.size_bytes
        await answer.prepare(request)
        async for piece in self._attachments.pieces(attached):
            await answer.write(piece)
        await answer.write_eof()
        return answer

    def _own_number(self, request: web.Request) -> int:
        """Return the number of an attachment that clients may change."""
        name = request.match_info["name"]
        number = 0 if name == "dicom" else self._names.number_of(name)
        if not FIRST <= number <= LAST:
            raise web.HTTPForbidden(text=f"clients attach under {FIRST} to {LAST}")
        return number

    async def _check_revision(self, request: web.Request, public_id: str, number: int) -> None:
        """Raise 409 if what the client has seen last is not what is there now."""
        wanted = request.headers.get("If-Match")
        found = (await self._attachments.of(public_id)).get(number) if wanted else None
        if wanted and found is not None and wanted.strip('"') != _etag(found).strip('"'):
            raise web.HTTPConflict(text="another revision of this attachment is there")


def _info(attached: Attachment) -> dict[str, Any]:
    return {
        "CompressedMD5": attached.md5,
        "CompressedSize": attached.size_bytes,
        "ContentType": attached.number,
        "UncompressedMD5": attached.md5,
        "UncompressedSize": attached.size_bytes,
        "Uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, attached.id)),
    }


def _file_info(stored: StoredInstance) -> dict[str, Any]:
    return {
        "CompressedSize": stored.blob.size_bytes,
        "ContentType": FILE_CONTENT_TYPE,
        "UncompressedSize": stored.blob.size_bytes,
        "Uuid": file_uuid(stored.blob.digest),
    }


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    size = 0
    async for piece in request.content.iter_chunked(_PIECE_BYTES):
        size += len(piece)
        if size > _LONGEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(_LONGEST_BYTES, size)
        yield piece


def _etag(attached: Attachment) -> str:
    return f'"{attached.revision}-{attached.md5}"'
