"""``/exports``: what was sent to whom."""

from typing import Any, Final

from aiohttp import web

from hilum.http.orthanc.errors import BAD_TYPE, Refusal
from hilum.http.orthanc.resources import NAMES, PLURALS
from hilum.http.orthanc.styled import json_answer
from hilum.http.orthanc.system import moment
from hilum.index.exports import Export, named_uids
from hilum.services.network import Network

_LIMIT: Final = 100


class Exports:
    """Answers for exports."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/exports", self._list), web.delete("/exports", self._clear)]

    async def _list(self, request: web.Request) -> web.Response:
        exports = self._network.exports
        since, limit = _number(request, "since", 0), _number(request, "limit", _LIMIT) or _LIMIT
        if "last" in request.query:
            _, newest = await exports.since(0, 1)
            since, limit = max(newest - 1, 0), 1
        found, newest = await exports.since(since, limit)
        last = found[-1].sequence if found else since
        return json_answer(
            {
                "Done": last >= newest,
                "Exports": [_told(each) for each in found],
                "Last": last,
            }
        )

    async def _clear(self, _request: web.Request) -> web.Response:
        await self._network.exports.clear()
        return web.Response(content_type="text/plain")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal():
        raise Refusal(BAD_TYPE, f"{name} is a number")
    return int(text)


def _told(export: Export) -> dict[str, Any]:
    return {
        "Date": moment(export.at),
        "ID": export.resource,
        "Path": f"/{PLURALS[export.level]}/{export.resource}",
        "PatientID": export.patient_id,
        "RemoteModality": export.modality,
        "ResourceType": NAMES[export.level],
        "Seq": export.sequence,
        **named_uids(export),
    }
