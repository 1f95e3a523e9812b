"""``/changes``: what happened, as Orthanc's clients follow it."""

import re
from typing import Any, Final

from aiohttp import web

from hilum.core.events import Event, Kind
from hilum.http.orthanc.resources import NAMES, PLURALS
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.index.change_log import ChangeLog
from hilum.index.outbox import Outbox

_LIMIT: Final = 100
#: More at once would be a burden on either side; whoever asks for more is told to go on.
_LARGEST_LIMIT: Final = 10_000
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}")
_TYPES: Final = {
    Kind.NEW_INSTANCE: "NewInstance",
    Kind.NEW_SERIES: "NewSeries",
    Kind.NEW_STUDY: "NewStudy",
    Kind.NEW_PATIENT: "NewPatient",
    Kind.STABLE_SERIES: "StableSeries",
    Kind.STABLE_STUDY: "StableStudy",
    Kind.STABLE_PATIENT: "StablePatient",
}


class Changes:
    """Tells of changes."""

    def __init__(self, log: ChangeLog, outbox: Outbox) -> None:
        self._log = log
        self._outbox = outbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/changes", self._list), web.delete("/changes", self._clear)]

    async def _list(self, request: web.Request) -> web.Response:
        if "last" in request.query:
            last = await self._log.last()
            sequence = last.sequence if last else await self._outbox.last()
            return json_answer(_told([last] if last else [], sequence, done=True))
        since = _number(request.query.get("since", ""), 0)
        limit = _number(request.query.get("limit", ""), _LIMIT)
        if limit <= 0:  # Orthanc tells nothing then, and that there is more
            return json_answer(_told([], await self._outbox.last(), done=limit < 0))
        page = await self._log.page(max(since, 0), min(limit, _LARGEST_LIMIT))
        last_told = page.events[-1].sequence if page.events else 0
        # At the end the number of the last one told, as Orthanc has it; in between what was left
        # out counts as told.
        reached = last_told if page.is_last and last_told else page.last
        return json_answer(_told(page.events, reached, done=page.is_last))

    async def _clear(self, _request: web.Request) -> web.Response:
        await self._log.clear()
        return text_answer("")


def _told(events: list[Event], last: int, *, done: bool) -> dict[str, Any]:
    return {"Changes": [_change(event) for event in events], "Done": done, "Last": last}


def _change(event: Event) -> dict[str, Any]:
    return {
        "ChangeType": _TYPES[event.kind],
        "Date": event.at.strftime("%Y%m%dT%H%M%S"),
        "ID": event.resource,
        "Path": f"/{PLURALS[event.level]}/{event.resource}",
        "ResourceType": NAMES[event.level],
        "Seq": event.sequence,
    }


def _number(text: str, otherwise: int) -> int:
    return int(text) if _NUMBER.fullmatch(text) else otherwise
