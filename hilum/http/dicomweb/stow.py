"""STOW-RS: instances stored over the web (PS3.18 10.5).

They go the way of every upload, straight to the spool. The answer, a data set that names
what is stored and what is not, is given when what is stored can be found.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from hilum.core.errors import (
    Conflict,
    HilumError,
    IdentityMismatch,
    Invalid,
    StorageFull,
    Temporary,
)
from hilum.core.identifiers import parse_uid
from hilum.core.levels import json_tag, vr_of
from hilum.http.body import BodyParser, WholeBody
from hilum.http.dicomweb.media_types import (
    ANYTHING,
    DICOM,
    Form,
    accepted,
    choose,
    not_acceptable,
    parse_accept,
)
from hilum.http.dicomweb.store_reception import DICOM_JSON, StoreReception
from hilum.http.dicomweb.urls import SERVICE_PATH, service_url
from hilum.http.errors import error_response
from hilum.http.intake import Intake
from hilum.http.multipart import Malformed, MultipartParser, boundary_of
from hilum.http.reception import Arrival
from hilum.services.ingest import Receipt

_ANSWERS: Final = (Form(DICOM_JSON), Form("application/json"))
#: Failure Reason (PS3.18 table I.2-2); the nearest class above an error decides.
REASONS: Final[dict[type[HilumError], int]] = {
    StorageFull: 0xA700,
    Temporary: 0xA700,
    IdentityMismatch: 0xA900,
    Invalid: 0xC000,
    Conflict: 0x0110,
    HilumError: 0x0110,
}
_STUDY: Final = "study_uid"


class Stow:
    """Takes instances in."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        path = f"{SERVICE_PATH}/studies"
        return [web.post(path, self._store), web.post(f"{path}/{{{_STUDY}}}", self._store)]

    async def _store(self, request: web.Request) -> web.Response:
        study_uid = request.match_info.get(_STUDY)
        if study_uid is not None:
            parse_uid(study_uid, "StudyInstanceUID")
        # Before the body: what is stored must not be answered by a refusal.
        form = choose(accepted(request), _ANSWERS)
        if form is None:
            raise not_acceptable(_ANSWERS)
        parser, media_type = _announced(request.headers.get("Content-Type", ""))
        reception = StoreReception(self._intake.ingest, parser, media_type, study_uid)
        arrivals = await self._intake.receive(request, reception)
        arrivals = await self._intake.settled(arrivals)
        if not arrivals:
            raise Invalid("the request has no part with an instance")
        await self._intake.record("stow", request, arrivals)
        return _answer(arrivals, study_uid, service_url(request), form.media_type)


def _announced(content_type: str) -> tuple[BodyParser, str]:
    """Return what takes the body apart, and the media type of its parts (10.5.1.3)."""
    announced = next(iter(parse_accept(content_type)), None)
    if announced is not None:
        kind = DICOM if announced.media_type == ANYTHING else announced.media_type
        if announced.multipart and kind in {DICOM, DICOM_JSON}:
            return MultipartParser(boundary_of(content_type)), kind
        if announced.multipart is False and kind == DICOM:
            return WholeBody(content_type), kind
    raise web.HTTPUnsupportedMediaType(
        text=f"{DICOM}, or multipart/related of {DICOM} or {DICOM_JSON}, can be stored"
    )


def _answer(
    arrivals: Sequence[Arrival], study_uid: str | None, service: str, media_type: str
) -> web.Response:
    """Return the Store Instances Response (PS3.18 10.5.3, annex I)."""
    receipts = [each.result for each in arrivals if isinstance(each.result, Receipt)]
    faults = [each.result for each in arrivals if isinstance(each.result, HilumError)]
    if not receipts and (fault := _cause(faults)) is not None:
        return error_response(fault)
    studies = {receipt.header.identity.study_instance_uid for receipt in receipts}
    if study_uid is None and len(studies) == 1:
        (study_uid,) = studies
    told: list[tuple[str, list[Any]]] = [
        ("RetrieveURL", [f"{service}/studies/{study_uid}"] if study_uid else []),
        ("FailedSOPSequence", [_failed(fault) for fault in faults if fault.sop_instance_uid]),
        ("ReferencedSOPSequence", [_stored(receipt, service) for receipt in receipts]),
        ("OtherFailuresSequence", [_reason(each) for each in faults if not each.sop_instance_uid]),
    ]
    body = _data_set(*((keyword, values) for keyword, values in told if values))
    all_found = all(receipt.outcome.done() for receipt in receipts)
    status = 409 if not receipts else 202 if faults or not all_found else 200
    return web.Response(
        body=orjson.dumps(body), status=status, headers={"Content-Type": media_type}
    )


def _cause(faults: Sequence[HilumError]) -> HilumError | None:
    """Return the fault of a request that stored nothing, if that is not of its instances.

    One that will pass goes first: the same request is worth another try.
    """
    passing = next((fault for fault in faults if isinstance(fault, Temporary)), None)
    return passing or next((fault for fault in faults if isinstance(fault, Malformed)), None)


def _stored(receipt: Receipt, service: str) -> dict[str, Any]:
    identity = receipt.header.identity
    url = (
        f"{service}/studies/{identity.study_instance_uid}"
        f"/series/{identity.series_instance_uid}/instances/{identity.sop_instance_uid}"
    )
    return _data_set(
        ("ReferencedSOPClassUID", [receipt.header.sop_class_uid]),
        ("ReferencedSOPInstanceUID", [identity.sop_instance_uid]),
        ("RetrieveURL", [url]),
    )


def _failed(fault: HilumError) -> dict[str, Any]:
    return {
        **_data_set(
            ("ReferencedSOPClassUID", [fault.sop_class_uid]),
            ("ReferencedSOPInstanceUID", [fault.sop_instance_uid]),
        ),
        **_reason(fault),
    }


def _reason(fault: HilumError) -> dict[str, Any]:
    reason = next(REASONS[kind] for kind in type(fault).__mro__ if kind in REASONS)
    return _data_set(("FailureReason", [reason]))


def _data_set(*elements: tuple[str, list[Any]]) -> dict[str, Any]:
    return {
        json_tag(keyword): {"vr": vr_of(keyword), "Value": values} for keyword, values in elements
    }
