"""``/queries``: what was asked of modalities, what they answered, and bringing it here."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import NotFound
from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag
from hilum.http.orthanc.bodies import json_of
from hilum.http.orthanc.errors import BAD_TYPE, OUT_OF_RANGE, Refusal
from hilum.http.orthanc.find import ask
from hilum.http.orthanc.identifier_json import keys_of, style_in, style_of, told
from hilum.http.orthanc.jobs import submitted
from hilum.http.orthanc.modality_json import ae_title_in, timeout_in
from hilum.http.orthanc.network_body import object_of
from hilum.http.orthanc.resources import NAMES
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.queries import RemoteQuery
from hilum.services.exchange import GET, MOVE, call_json, move_keys
from hilum.services.network import Network

_OPERATIONS: Final = ("answers", "level", "modality", "query", "retrieve")
#: What can be asked of an answer, by its level, and the level that is asked then.
_BELOW: Final = {
    Level.PATIENT: {
        "query-studies": Level.STUDY,
        "query-series": Level.SERIES,
        "query-instances": Level.IMAGE,
    },
    Level.STUDY: {"query-series": Level.SERIES, "query-instances": Level.IMAGE},
    Level.SERIES: {"query-instances": Level.IMAGE},
    Level.IMAGE: {},
}
_ACCESSION_NUMBER: Final = json_tag("AccessionNumber")
_QUERY_RETRIEVE_LEVEL: Final = json_tag("QueryRetrieveLevel")


class Queries:
    """Answers for queries."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        answer = "/queries/{id}/answers/{number}"
        return [
            web.get("/queries", self._list),
            web.get("/queries/{id}", self._one),
            web.delete("/queries/{id}", self._delete),
            web.get("/queries/{id}/answers", self._answers),
            web.get("/queries/{id}/level", self._level),
            web.get("/queries/{id}/modality", self._modality),
            web.get("/queries/{id}/query", self._query),
            web.post("/queries/{id}/retrieve", self._retrieve),
            web.get(answer, self._answer),
            web.get(f"{answer}/content", self._content),
            web.post(f"{answer}/retrieve", self._retrieve),
            web.post(f"{answer}/{{below:query-[a-z]+}}", self._query_below),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        return json_answer(await self._network.queries.ledger.ids())

    async def _one(self, request: web.Request) -> web.Response:
        await self._asked(request)
        return json_answer(list(_OPERATIONS))

    async def _delete(self, request: web.Request) -> web.Response:
        await self._network.queries.ledger.remove(request.match_info["id"])
        return web.Response(content_type="text/plain")

    async def _answers(self, request: web.Request) -> web.Response:
        query = await self._asked(request)
        if "expand" not in request.query:
            return json_answer([str(number) for number in range(query.answers)])
        found = await self._network.queries.ledger.answers(query.id)
        return json_answer([told(each, style_of(request)) for each in found])

    async def _level(self, request: web.Request) -> web.Response:
        return text_answer(NAMES[(await self._asked(request)).level])

    async def _modality(self, request: web.Request) -> web.Response:
        return text_answer((await self._asked(request)).modality)

    async def _query(self, request: web.Request) -> web.Response:
        return json_answer(told((await self._asked(request)).keys, style_of(request)))

    async def _answer(self, request: web.Request) -> web.Response:
        query = await self._asked(request)
        await self._answered(request, query)
        return json_answer(["content", "retrieve", *_BELOW[query.level]])

    async def _content(self, request: web.Request) -> web.Response:
        found = await self._answered(request, await self._asked(request))
        return json_answer(told(found, style_of(request)))

    async def _query_below(self, request: web.Request) -> web.Response:
        query = await self._asked(request)
        level = _BELOW[query.level].get(request.match_info["below"])
        if level is None:
            raise NotFound("not of an answer of this level")
        found = await self._answered(request, query)
        body = await object_of(request)
        named = {
            tag: found[tag]
            for tag in (json_tag(each.unique_key) for each in query.level.with_above[1:])
            if found.get(tag, {}).get("Value")
        } or {tag: found[tag] for tag in (json_tag(Level.PATIENT.unique_key),) if tag in found}
        modality = await self._network.modalities.one(query.modality)
        keys = keys_of(body.get("Query", {})) | named
        asked = await ask(self._network, modality, level, keys, body)
        return json_answer({"ID": asked.id, "Path": f"/queries/{asked.id}"})

    async def _retrieve(self, request: web.Request) -> web.Response:
        query = await self._asked(request)
        if "number" in request.match_info:
            found = [await self._answered(request, query)]
        else:
            found = await self._network.queries.ledger.answers(query.id)
        body = await _wanted(request)
        modality = await self._network.modalities.one(query.modality)
        call = self._network.modalities.call(
            modality,
            ae_title=ae_title_in(body, "LocalAet"),
            timeout_seconds=timeout_in(body),
        )
        own = self._network.modalities.ae_title
        task = {
            "call": call_json(call),
            "level": query.level.value,
            "destination": ae_title_in(body, "TargetAet") or own,
            "keys": [move_keys(query.level, each) for each in found],
            "told": [_told(query.level, each, style_in(body, "short")) for each in found],
        }
        kind = GET if body.get("RetrieveMethod") == "C-GET" else MOVE
        return await submitted(self._network.jobs, kind, task, len(found), body)

    async def _asked(self, request: web.Request) -> RemoteQuery:
        return await self._network.queries.ledger.one(request.match_info["id"])

    async def _answered(self, request: web.Request, query: RemoteQuery) -> Attributes:
        text = request.match_info["number"]
        if not text.isdecimal():
            raise Refusal(BAD_TYPE, "answers are counted from 0")
        if int(text) >= query.answers:
            raise Refusal(OUT_OF_RANGE, f"there are {query.answers} answers")
        found = await self._network.queries.ledger.answer(query.id, int(text))
        if found is None:
            raise NotFound("the query was just deleted")
        return found


async def _wanted(request: web.Request) -> Mapping[str, Any]:
    """Return what the body of a retrieve says; one that is no JSON object is an AE title."""
    body = await json_of(request)
    return body if isinstance(body, dict) else {"TargetAet": (await request.text()).strip()}


def _told(level: Level, answer: Attributes, style: str) -> dict[str, Any]:
    """Return what a job tells of an answer that is brought."""
    named = move_keys(level, answer)
    if _ACCESSION_NUMBER in answer:
        named[_ACCESSION_NUMBER] = answer[_ACCESSION_NUMBER]
    named[_QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [level.value]}
    return told(named, style)
