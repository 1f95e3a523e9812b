"""Queries put to modalities: ``/query`` keeps the answers, ``/find`` gives them at once."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import Invalid
from hilum.core.instance import Attributes
from hilum.core.levels import LEVEL_OF, Level, json_tag
from hilum.core.peer import Modality
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, Refusal
from hilum.http.orthanc.identifier_json import as_asked, keys_of, level_named, told
from hilum.http.orthanc.modality_json import ae_title_in, timeout_in
from hilum.http.orthanc.network_body import member, object_of
from hilum.http.orthanc.styled import json_answer
from hilum.index.queries import RemoteQuery
from hilum.services.network import Network

#: What ``/find`` asks for at each level beside what the client does.
_RETURNED: Final = {
    Level.PATIENT: (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "OtherPatientIDs"),
    ),
    Level.STUDY: (
        *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName", "PatientID"),
    ),
    Level.SERIES: (
        *("SeriesInstanceUID", "SeriesDate", "SeriesTime", "SeriesDescription", "SeriesNumber"),
        *("Modality", "BodyPartExamined", "OperatorsName", "ProtocolName"),
        "PerformedProcedureStepDescription",
    ),
    Level.IMAGE: (
        *("SOPInstanceUID", "InstanceNumber", "InstanceCreationDate", "InstanceCreationTime"),
    ),
}
#: Without these a query would go through the whole of the peer's archive.
_NEEDED: Final = {
    Level.PATIENT: (),
    Level.STUDY: (),
    Level.SERIES: ("StudyInstanceUID",),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID"),
}
_LEVEL_OF: Final = {json_tag(keyword): level for keyword, level in LEVEL_OF.items()}


class Find:
    """Asks modalities."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/modalities/{name}/query", self._query),
            web.post("/modalities/{name}/find", self._find),
            web.post("/modalities/{name}/find-patient", self._find_patient),
            web.post("/modalities/{name}/find-study", self._find_study),
            web.post("/modalities/{name}/find-series", self._find_series),
            web.post("/modalities/{name}/find-instance", self._find_instance),
        ]

    async def _query(self, request: web.Request) -> web.Response:
        modality = await self._network.modalities.one(request.match_info["name"])
        body = await object_of(request)
        if "Level" not in body:
            raise Refusal(BAD_FILE_FORMAT, "The JSON body must contain field Level")
        keys = keys_of(body.get("Query", {}))
        query = await ask(self._network, modality, level_named(body["Level"]), keys, body)
        return json_answer({"ID": query.id, "Path": f"/queries/{query.id}"})

    async def _find_patient(self, request: web.Request) -> web.Response:
        return await self._answer(request, Level.PATIENT)

    async def _find_study(self, request: web.Request) -> web.Response:
        return await self._answer(request, Level.STUDY)

    async def _find_series(self, request: web.Request) -> web.Response:
        return await self._answer(request, Level.SERIES)

    async def _find_instance(self, request: web.Request) -> web.Response:
        return await self._answer(request, Level.IMAGE)

    async def _answer(self, request: web.Request, level: Level) -> web.Response:
        modality = await self._network.modalities.one(request.match_info["name"])
        keys = keys_of(await object_of(request))
        if any(not keys.get(json_tag(keyword), {}).get("Value") for keyword in _NEEDED[level]):
            raise Invalid(f"needed: {', '.join(_NEEDED[level])}")
        found = await self._found(modality, level, keys)
        return json_answer([told(each, "simplify") for each in found])

    async def _find(self, request: web.Request) -> web.Response:
        """Answer with patients, their studies and their series, one query for each of them."""
        modality = await self._network.modalities.one(request.match_info["name"])
        keys = keys_of(await object_of(request))
        patients = []
        for patient in await self._found(modality, Level.PATIENT, keys):
            studies = []
            for study in await self._found(modality, Level.STUDY, _below(patient, keys)):
                series = await self._found(modality, Level.SERIES, _below(study, keys))
                studies.append(
                    told(study, "simplify")
                    | {"Series": [told(each, "simplify") for each in series]}
                )
            patients.append(told(patient, "simplify") | {"Studies": studies})
        return json_answer(patients)

    async def _found(self, modality: Modality, level: Level, keys: Attributes) -> list[Attributes]:
        wanted = keys_of(dict.fromkeys(_RETURNED[level], "")) | keys
        call = self._network.modalities.call(modality)
        return await self._network.queries.find(
            call, level, as_asked(modality, level, wanted, normalize=True)
        )


def _below(entity: Attributes, keys: Attributes) -> Attributes:
    """Return what to ask for what `entity` contains: the client's keys, and its unique ones."""
    unique = [json_tag(level.unique_key) for level in (Level.PATIENT, Level.STUDY)]
    named = {tag: entity[tag] for tag in unique if entity.get(tag, {}).get("Value")}
    kept = {
        tag: element for tag, element in keys.items() if _LEVEL_OF.get(tag) is not Level.PATIENT
    }
    return kept | named


async def ask(
    network: Network, modality: Modality, level: Level, keys: Attributes, body: Mapping[str, Any]
) -> RemoteQuery:
    """Put a query to a modality, with what else the body of the request says of it."""
    call = network.modalities.call(
        modality,
        ae_title=ae_title_in(body, "LocalAet"),
        timeout_seconds=timeout_in(body),
    )
    normalize = member(body, "Normalize", True)
    asked = as_asked(modality, level, keys, normalize=normalize)
    return await network.queries.ask(modality, call, level, keys, asked)
