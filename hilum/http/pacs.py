"""What front ends that came with an Orthanc ask their back end about "the PACS".

There the PACS was another program, with studies of its own that had to be brought into line.
Here it is this node, and nothing can be out of step but the index: "sync" rebuilds it from
the store.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from hilum.core.errors import NotFound
from hilum.core.identifiers import parse_uid
from hilum.core.levels import Level
from hilum.core.matching import matching_of
from hilum.core.query import Condition, Exact, Query
from hilum.http.answers import success
from hilum.http.dicomweb.urls import base_url
from hilum.http.ohif import Ohif
from hilum.http.parameters import single
from hilum.http.studies import Studies, parse_study_query
from hilum.http.study_json import study_json
from hilum.index.stored import Match
from hilum.index.sync_state import RUNNING
from hilum.services.search import Search
from hilum.services.synchronisation import Synchronisation

#: How studies are matched to what a hospital's other systems know: by the order, which is of
#: one study, then by the patient.
_MATCHED_BY: Final = {"accessionNumber": "AccessionNumber", "patientID": "PatientID"}
_MOST_MATCHED: Final = 1000
_PUBLIC_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class Pacs:
    """Answers ``/api/pacs/…``, ``/api/orthanc/sync-…`` and ``/api/dicom/viewer-url/{study}``.

    Parameters
    ----------
    about
        What the node says of itself: AE title, DICOM port, version.
    """

    def __init__(
        self,
        search: Search,
        studies: Studies,
        synchronisation: Synchronisation,
        ohif: Ohif,
        about: Mapping[str, Any],
    ) -> None:
        self._search = search
        self._studies = studies
        self._synchronisation = synchronisation
        self._ohif = ohif
        self._about = about

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/pacs/test", self._test),
            web.get("/api/pacs/studies", self._list),
            web.get("/api/pacs/unified-studies", self._unified),
            web.get("/api/orthanc/sync-status", self._sync_status),
            web.post("/api/orthanc/sync-all", self._sync_all),
            web.get("/api/dicom/viewer-url/{study}", self._viewer_url),
        ]

    async def _test(self, _request: web.Request) -> web.Response:
        counts = await self._search.statistics()
        data = {
            "connected": True,
            **self._about,
            "patients": counts.patients,
            "studies": counts.studies,
            "series": counts.series,
            "instances": counts.instances,
            "bytes": counts.size_bytes,
        }
        return success(data, message="The PACS answers")

    async def _list(self, request: web.Request) -> web.Response:
        query = parse_study_query(request.query)
        total, found = await asyncio.gather(self._search.count(query), self._found(query))
        told = await self._told(request, found)
        return success(told, total=total, limit=query.limit, offset=query.offset)

    async def _unified(self, request: web.Request) -> web.Response:
        """Answer with each study that has the accession number or the patient ID, once."""
        conditions = _conditions(request.query)
        if not conditions:
            return await self._list(request)
        matched: dict[str, tuple[Match, list[str]]] = {}
        for name, condition in conditions.items():
            query = Query(Level.STUDY, (condition,), limit=_MOST_MATCHED)
            for match in await self._found(query):
                matched.setdefault(match.study, (match, []))[1].append(name)
        best_first = sorted(matched.values(), key=lambda each: -len(each[1]))
        told = await self._told(request, [match for match, _ in best_first])
        studies = [
            {**study, "matchedBy": names}
            for study, (_, names) in zip(told, best_first, strict=True)
        ]
        return success(studies, total=len(studies), limit=_MOST_MATCHED, offset=0)

    async def _sync_status(self, _request: web.Request) -> web.Response:
        return success(await self._sync_json())

    async def _sync_all(self, _request: web.Request) -> web.Response:
        begun = await self._synchronisation.start()
        message = "The index is being rebuilt" if begun else "The index is being rebuilt already"
        return success(await self._sync_json(), message=message)

    async def _sync_json(self) -> dict[str, Any]:
        state, counts = await asyncio.gather(
            self._synchronisation.state(), self._search.statistics()
        )
        return {
            "state": state.state,
            "inProgress": state.state == RUNNING,
            "startedAt": state.started_at.isoformat() if state.started_at else None,
            "lastSync": state.seen_at.isoformat() if state.seen_at else None,
            "done": state.done,
            "total": state.total,
            "indexed": state.indexed,
            "failures": state.failures,
            "reason": state.reason,
            "studies": counts.studies,
            "instances": counts.instances,
        }

    async def _viewer_url(self, request: web.Request) -> web.Response:
        study_uid = await self._study_uid(request.match_info["study"])
        ohif = await self._ohif.installed()
        return success(
            {
                "studyInstanceUID": study_uid,
                "url": _url(request, study_uid, ohif=ohif),
                "viewer": "ohif" if ohif else "hilum",
            }
        )

    async def _study_uid(self, named: str) -> str:
        """Return the UID of a study that is named by it, or by its public id."""
        if _PUBLIC_ID.fullmatch(named):
            match = await self._search.resource(Level.STUDY, named)
            return str(study_json(match)["studyInstanceUID"])
        study_uid = parse_uid(named, "the study's UID")
        query = Query(Level.STUDY, (Condition("StudyInstanceUID", Exact(study_uid)),), limit=1)
        if not await self._found(query):
            raise NotFound(f"no study {study_uid}")
        return study_uid

    async def _found(self, query: Query) -> list[Match]:
        async with aclosing(self._search.find(query)) as found:
            return [match async for match in found]

    async def _told(self, request: web.Request, matches: Sequence[Match]) -> list[dict[str, Any]]:
        """Return what the list tells of studies, and where a browser sees them."""
        ohif = await self._ohif.installed()
        return [
            {**told, "viewerUrl": _url(request, str(told["studyInstanceUID"]), ohif=ohif)}
            for told in await self._studies.told(matches)
        ]


def _url(request: web.Request, study_uid: str, *, ohif: bool) -> str:
    """Return where a browser sees a study: in OHIF if it is there, else on our page."""
    if ohif:
        return f"{base_url(request)}/ohif/viewer?StudyInstanceUIDs={study_uid}"
    return f"{base_url(request)}/#/studies/{study_uid}"


def _conditions(parameters: MultiMapping[str]) -> dict[str, Condition]:
    given = single(parameters, tuple(_MATCHED_BY))
    conditions = {}
    for name, keyword in _MATCHED_BY.items():
        matching = matching_of(keyword, [given[name]]) if given.get(name) else None
        if matching is not None:
            conditions[name] = Condition(keyword, matching)
    return conditions
