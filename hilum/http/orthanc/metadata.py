"""``/metadata``: what the node notes of a resource beside its tags, and what clients note."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import web

from hilum.core.levels import Level
from hilum.core.main_tags import expected_number
from hilum.http.orthanc.describe import index_in_series
from hilum.http.orthanc.errors import UNKNOWN_RESOURCE, Refusal
from hilum.http.orthanc.lists import wants
from hilum.http.orthanc.own_names import FIRST, LAST, OwnNames
from hilum.http.orthanc.resources import id_of, level_of, path_of
from hilum.http.orthanc.store import is_migration
from hilum.http.orthanc.styled import json_answer
from hilum.http.orthanc.system import moment
from hilum.http.reception import SOURCE
from hilum.imaging.encoding import IMPLICIT_VR_LITTLE_ENDIAN
from hilum.index.attached import Attached, Entry
from hilum.index.resource import Resource
from hilum.index.resources import Resources

#: Orthanc's numbers for what it notes itself.
BUILT_IN: Final = {
    "IndexInSeries": 1,
    "ReceptionDate": 2,
    "RemoteAET": 3,
    "ExpectedNumberOfInstances": 4,
    "ModifiedFrom": 5,
    "AnonymizedFrom": 6,
    "LastUpdate": 7,
    "Origin": 8,
    "TransferSyntax": 9,
    "SopClassUid": 10,
    "RemoteIP": 11,
    "CalledAET": 12,
    "HttpUsername": 13,
    "PixelDataOffset": 14,
    "MainDicomTagsSignature": 15,
    "MainDicomTagsSequences": 16,
    "PixelDataVR": 17,
}
#: Sources that are no calling AE title, and Orthanc's words for them.
_ORIGINS: Final = {SOURCE: "RestApi", "import": "Plugins"}
#: Main tags that say which place an instance has in its series.
_PLACES: Final = frozenset({"InstanceNumber", "ImageIndex"})
#: Bytes of the pixel data element in front of its value: tag, VR and length.
_HEADER_BYTES: Final = 12
_IMPLICIT_HEADER_BYTES: Final = 8


class MetadataRoutes:
    """Tells of metadata, and keeps that of clients."""

    def __init__(self, resources: Resources, attached: Attached, names: OwnNames) -> None:
        self._resources = resources
        self._attached = attached
        self._names = names

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        one = path_of(below="/metadata/{name}")
        return [
            web.get(path_of(below="/metadata"), self._list),
            web.get(one, self._get),
            web.put(one, self._put),
            web.delete(one, self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        resource = await self._resources.one(level_of(request), id_of(request))
        found = (await metadata_of(self._attached, [resource]))[resource.id]
        numeric = "numeric" in request.query
        if wants(request, "expand"):
            return json_answer(texts(found, OwnNames({}) if numeric else self._names))
        return json_answer([each if numeric else self._names.name_of(each) for each in found])

    async def _get(self, request: web.Request) -> web.Response:
        number = self._number(request)
        resource = await self._resources.one(level_of(request), id_of(request))
        found = (await metadata_of(self._attached, [resource]))[resource.id]
        if number not in found:
            raise Refusal(UNKNOWN_RESOURCE, f"no metadata {number}")
        entry = found[number]
        etag = _etag(entry)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=entry.value, content_type="text/plain", headers={"ETag": etag})

    async def _put(self, request: web.Request) -> web.Response:
        number = self._own_number(request)
        resource = await self._resources.one(level_of(request), id_of(request))
        await self._check_revision(request, resource, number)
        value = await request.read()
        put = self._attached.set_metadata
        if is_migration(request):
            put = self._attached.copy_metadata
        entry = await put(resource.level, resource.id, number, value)
        return web.Response(content_type="text/plain", headers={"ETag": _etag(entry)})

    async def _delete(self, request: web.Request) -> web.Response:
        number = self._own_number(request)
        resource = await self._resources.one(level_of(request), id_of(request))
        found = (await self._attached.metadata([resource.id])).get(resource.id, {})
        if number not in found:
            raise Refusal(UNKNOWN_RESOURCE, f"no metadata {number}")
        await self._check_revision(request, resource, number)
        await self._attached.remove_metadata(resource.id, number)
        return web.Response(content_type="text/plain")

    def _number(self, request: web.Request) -> int:
        """Return the number of the metadata that the path names."""
        return self._names.number_of(request.match_info["name"])

    def _own_number(self, request: web.Request) -> int:
        """Return the number of metadata that clients may change."""
        number = self._number(request)
        if not FIRST <= number <= LAST:
            raise web.HTTPForbidden(text=f"clients note under {FIRST} to {LAST}")
        return number

    async def _check_revision(self, request: web.Request, resource: Resource, number: int) -> None:
        """Raise 409 if what the client has seen last is not what is there now."""
        wanted = request.headers.get("If-Match")
        if wanted is None:
            return
        found = (await self._attached.metadata([resource.id])).get(resource.id, {})
        if number in found and wanted.strip('"') != _etag(found[number]).strip('"'):
            raise web.HTTPConflict(text="another revision of this metadata is there")


async def metadata_of(
    attached: Attached, resources: Iterable[Resource]
) -> dict[str, dict[int, Entry]]:
    """Return all metadata of resources, in the order of their numbers, by public id."""
    built = {resource.id: _built_in(resource) for resource in resources}
    own = await attached.metadata(list(built))
    return {
        key: {number: Entry(text.encode(), 0) for number, text in found.items()}
        | dict(sorted(own.get(key, {}).items()))
        for key, found in built.items()
    }


def names_of_metadata(own: Mapping[str, int]) -> OwnNames:
    """Return the names of all metadata: Orthanc's, and those that clients have for theirs."""
    return OwnNames({**own, **BUILT_IN})


def texts(metadata: Mapping[int, Entry], names: OwnNames) -> dict[str, str]:
    """Return metadata by name, as text."""
    return {names.name_of(number): _text(entry) for number, entry in metadata.items()}


def _built_in(resource: Resource) -> dict[int, str]:
    """Return what the node itself knows, by Orthanc's numbers."""
    stored = resource.stored
    known: dict[str, str] = {}
    if stored is None:
        known["LastUpdate"] = moment(resource.updated_at)
    else:
        if _PLACES & resource.main.keys():
            known["IndexInSeries"] = index_in_series(resource.main)
        known["ReceptionDate"] = moment(resource.received_at)
        if resource.remote_address:
            known["RemoteIP"] = resource.remote_address
        if resource.called_ae_title:
            known["CalledAET"] = resource.called_ae_title
        known["Origin"] = _ORIGINS.get(resource.source, "DicomProtocol")
        known["TransferSyntax"] = stored.transfer_syntax_uid
        known["SopClassUid"] = stored.sop_class_uid
        if stored.pixel_data is not None:
            implicit = stored.transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
            header = _IMPLICIT_HEADER_BYTES if implicit else _HEADER_BYTES
            known["PixelDataOffset"] = str(stored.pixel_data.offset - header)
    if resource.level in {Level.SERIES, Level.IMAGE}:
        # Of what came by HTTP it is there, and empty, as at Orthanc.
        known["RemoteAET"] = "" if resource.source in _ORIGINS else resource.source
    if resource.level is Level.SERIES:
        expected = expected_number(resource.main)
        if expected is not None:
            known["ExpectedNumberOfInstances"] = str(expected)
    return dict(sorted((BUILT_IN[name], text) for name, text in known.items()))


def _text(entry: Entry) -> str:
    return entry.value.decode(errors="replace")


def _etag(entry: Entry) -> str:
    digest = hashlib.md5(entry.value, usedforsecurity=False).hexdigest()
    return f'"{entry.revision}-{digest}"'
