"""The answer to an upload (docs/http-api.md)."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from hilum.core.errors import HilumError, Temporary
from hilum.core.levels import json_tag
from hilum.http.answers import json_response
from hilum.http.errors import status_of
from hilum.http.reception import Arrival
from hilum.http.study_json import person_name
from hilum.services.ingest import Receipt


def upload_response(arrivals: Sequence[Arrival]) -> web.Response:
    """Return what the client is told.

    One stored file makes the upload a success: 200, or 202 while some of them cannot be
    found yet. Of an upload that failed altogether, a fault that will pass decides the
    status, for then the same upload is worth another try; else the first one does.

    Parameters
    ----------
    arrivals
        At least one.
    """
    stored = [arrival for arrival in arrivals if isinstance(arrival.result, Receipt)]
    body: dict[str, Any] = {"files": [_file_json(arrival) for arrival in arrivals]}
    if stored:
        visible = all(_is_visible(arrival) for arrival in stored)
        body = {
            "success": True,
            "message": _message(len(stored), len(arrivals), visible),
            "data": _data_json(stored),
            **body,
        }
        return json_response(body, 200 if visible else 202)
    faults = [arrival.result for arrival in arrivals if isinstance(arrival.result, HilumError)]
    fault = next((fault for fault in faults if isinstance(fault, Temporary)), faults[0])
    error = {"code": fault.code, "message": str(fault)}
    return json_response({"success": False, "error": error, **body}, status_of(fault))


def _message(stored: int, total: int, visible: bool) -> str:
    count = f"{stored} of {total} files" if stored < total else _files(stored)
    return f"Stored {count}" if visible else f"Stored {count}; still being indexed"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _is_visible(arrival: Arrival) -> bool:
    return isinstance(arrival.result, Receipt) and arrival.result.outcome.done()


def _data_json(stored: Sequence[Arrival]) -> dict[str, Any]:
    """Describe the first file, and count what came of its study."""
    first = stored[0].result
    assert isinstance(first, Receipt)
    identity = first.header.identity
    frame_count = sum(
        arrival.frame_count
        for arrival in stored
        if isinstance(arrival.result, Receipt)
        and arrival.result.header.identity.study == identity.study
    )
    names = first.header.attributes.get(json_tag("PatientName"), {}).get("Value") or [""]
    return {
        "studyInstanceUID": identity.study_instance_uid,
        "seriesInstanceUID": identity.series_instance_uid,
        "sopInstanceUID": identity.sop_instance_uid,
        "frameCount": frame_count,
        "instances": frame_count,
        "patientID": identity.patient_id,
        "patientName": person_name(names[0]) if names[0] else "",
        "orthancInstanceId": identity.instance,
        "orthancStudyId": identity.study,
        "orthancSeriesId": identity.series,
        "storage": "hilum",
    }


def _file_json(arrival: Arrival) -> dict[str, Any]:
    result = arrival.result
    if isinstance(result, HilumError):
        error = {"code": result.code, "message": str(result)}
        return {"name": arrival.name, "success": False, "error": error}
    identity = result.header.identity
    told = {
        "name": arrival.name,
        "success": True,
        "outcome": result.outcome.result().value if result.outcome.done() else "accepted",
        "studyInstanceUID": identity.study_instance_uid,
        "seriesInstanceUID": identity.series_instance_uid,
        "sopInstanceUID": identity.sop_instance_uid,
        "frameCount": arrival.frame_count,
    }
    if arrival.original is not None:
        told["original"] = {"sopInstanceUID": arrival.original}
    return told
