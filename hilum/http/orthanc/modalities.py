"""``/modalities``: other nodes, and what they are asked to take and to give."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import Invalid, NotFound
from hilum.core.levels import Level
from hilum.core.peer import Modality, Originator
from hilum.http.orthanc.bodies import json_of
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, OUT_OF_RANGE, Refusal
from hilum.http.orthanc.identifier_json import keys_of, level_named, told
from hilum.http.orthanc.jobs import submitted
from hilum.http.orthanc.modality_json import ae_title_in, modality_json, read_modality, timeout_in
from hilum.http.orthanc.network_body import member, object_of
from hilum.http.orthanc.styled import json_answer
from hilum.index.resource import Resource
from hilum.services.dimse import Call, in_thread
from hilum.services.exchange import GET, MOVE, STORE, call_json, move_keys
from hilum.services.network import Network

#: What there is below a modality.
_OPERATIONS: Final = (
    *("configuration", "echo", "find", "find-instance", "find-patient", "find-series"),
    *("find-study", "get", "move", "query", "store", "store-straight"),
)
#: Of a file that is sent without being stored.
_STRAIGHT_BYTES: Final = 2 << 30
_ID_CHARACTERS: Final = 44
_LAST_MESSAGE_ID: Final = 0xFFFF


class Modalities:
    """Answers for modalities, all but queries."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/modalities", self._list),
            web.get("/modalities/{name}", self._one),
            web.put("/modalities/{name}", self._put),
            web.delete("/modalities/{name}", self._delete),
            web.get("/modalities/{name}/configuration", self._configuration),
            web.post("/modalities/{name}/echo", self._echo),
            web.post("/modalities/{name}/store", self._store),
            web.post("/modalities/{name}/store-straight", self._store_straight),
            web.post("/modalities/{name}/move", self._move),
            web.post("/modalities/{name}/get", self._get),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        known = await self._network.modalities.all()
        if "expand" in request.query:
            return json_answer({name: modality_json(each) for name, each in known.items()})
        return json_answer(list(known))

    async def _one(self, request: web.Request) -> web.Response:
        await self._modality(request)
        return json_answer(list(_OPERATIONS))

    async def _configuration(self, request: web.Request) -> web.Response:
        return json_answer(modality_json(await self._modality(request)))

    async def _put(self, request: web.Request) -> web.Response:
        modality = read_modality(request.match_info["name"], await json_of(request))
        await self._network.modalities.put(modality)
        return web.Response(content_type="text/plain")

    async def _delete(self, request: web.Request) -> web.Response:
        await self._network.modalities.remove(request.match_info["name"])
        return web.Response(content_type="text/plain")

    async def _echo(self, request: web.Request) -> web.Response:
        call = await self._call(request, await json_of(request))
        await in_thread(lambda: self._network.dimse.echo(call))
        return json_answer({})

    async def _store(self, request: web.Request) -> web.Response:
        modality = await self._modality(request)
        body, ids = _to_be_sent(await request.text(), await json_of(request))
        found = await self._resources(ids)
        instances = await self._instances(found)
        await self._network.exports.add(found, modality.name)
        originator = _originator(body)
        task = {
            "call": call_json(self._called(modality, body)),
            "resources": ids,
            "instances": instances,
            "originator": asdict(originator) if originator else None,
            "permissive": member(body, "Permissive", False),
        }
        return await submitted(self._network.jobs, STORE, task, len(instances), body)

    async def _resources(self, ids: list[str]) -> list[Resource]:
        """Return the resources with these ids, of whatever levels, in their order."""
        found: dict[str, Resource] = {}
        for level in Level:
            left = [each for each in ids if each not in found]
            found |= {each.id: each for each in await self._network.resources.some(level, left)}
        for each in ids:
            if each not in found:
                raise NotFound(f"nothing has the id {each}")
        return [found[each] for each in ids]

    async def _instances(self, resources: list[Resource]) -> list[str]:
        """Return the public ids of all instances of the resources, each once."""
        found: dict[str, None] = {}
        for resource in resources:
            below = {resource.id: [resource.id]}
            if resource.level is not Level.IMAGE:
                below = await self._network.resources.children(
                    resource.level, [resource.id], Level.IMAGE
                )
            found.update(dict.fromkeys(below[resource.id]))
        return list(found)

    async def _store_straight(self, request: web.Request) -> web.Response:
        call = await self._call(request, {})
        with tempfile.TemporaryDirectory(prefix="hilum-") as folder:
            path = Path(folder) / "straight.dcm"
            await _save(request, path)
            sent = await in_thread(lambda: self._network.dimse.store_file(call, path))
        return json_answer({"SOPClassUID": sent[0], "SOPInstanceUID": sent[1]})

    async def _move(self, request: web.Request) -> web.Response:
        body, task = await self._wanted(request)
        task["destination"] = ae_title_in(body, "TargetAet") or self._network.modalities.ae_title
        return await submitted(self._network.jobs, MOVE, task, len(task["keys"]), body)

    async def _get(self, request: web.Request) -> web.Response:
        body, task = await self._wanted(request)
        return await submitted(self._network.jobs, GET, task, len(task["keys"]), body)

    async def _wanted(self, request: web.Request) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Return the body of a request to bring something, and the task it makes."""
        modality = await self._modality(request)
        body = await object_of(request)
        if "Resources" not in body or "Level" not in body:
            raise Refusal(
                BAD_FILE_FORMAT, "Must provide a JSON body containing fields Resources and Level"
            )
        level = level_named(body["Level"])
        wanted: list[Any] = member(body, "Resources", [])
        keys = [keys_of(each, "Resources") for each in wanted]
        return body, {
            "call": call_json(self._called(modality, body)),
            "level": level.value,
            "keys": [move_keys(level, each) for each in keys],
            "told": [told(each, "short") for each in keys],
        }

    async def _modality(self, request: web.Request) -> Modality:
        return await self._network.modalities.one(request.match_info["name"])

    async def _call(self, request: web.Request, body: Any) -> Call:
        return self._called(await self._modality(request), body if isinstance(body, dict) else {})

    def _called(self, modality: Modality, body: Mapping[str, Any]) -> Call:
        return self._network.modalities.call(
            modality,
            ae_title=ae_title_in(body, "LocalAet"),
            timeout_seconds=timeout_in(body),
        )


def _to_be_sent(text: str, body: Any) -> tuple[Mapping[str, Any], list[str]]:
    """Return the members of the body of a store, and the ids of what is to be sent."""
    if isinstance(body, str):
        body = [body]
    elif body is None and len(text.strip()) == _ID_CHARACTERS:
        body = [text.strip()]
    if isinstance(body, list):
        body = {"Resources": body}
    if not isinstance(body, dict):
        raise Refusal(BAD_FILE_FORMAT, "Must provide a JSON value")
    ids = body.get("Resources")
    if isinstance(ids, str):
        ids = [ids]
    if not isinstance(ids, list):
        raise Refusal(BAD_FILE_FORMAT, 'Missing field in JSON: "Resources"')
    for each in ids:
        if not isinstance(each, str) or len(each) != _ID_CHARACTERS:
            raise Refusal(
                BAD_FILE_FORMAT, f"This string is not a valid Orthanc identifier: {str(each)[:50]}"
            )
    return body, ids


def _originator(body: Mapping[str, Any]) -> Originator | None:
    ae_title = ae_title_in(body, "MoveOriginatorAet")
    message_id = member(body, "MoveOriginatorID", 0)
    if not 0 <= message_id <= _LAST_MESSAGE_ID:
        raise Refusal(OUT_OF_RANGE, f"MoveOriginatorID is from 0 to {_LAST_MESSAGE_ID}")
    return Originator(ae_title, message_id) if ae_title else None


async def _save(request: web.Request, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for part in request.content.iter_chunked(1 << 20):
            size += len(part)
            if size > _STRAIGHT_BYTES:
                raise Invalid("the file is too large to be sent without being stored")
            await asyncio.to_thread(file.write, part)
