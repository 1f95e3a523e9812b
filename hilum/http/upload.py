"""``POST /api/dicom/upload``: files from a browser or a back end, straight to the spool.

The answer is given when what was uploaded can be found.
"""

from dataclasses import replace

from aiohttp import web

from hilum.core.errors import HilumError, Invalid
from hilum.http.form import FormReception
from hilum.http.intake import Intake
from hilum.http.multipart import boundary_of
from hilum.http.overrides import Overrides, Patient
from hilum.http.reception import Arrival, arrived
from hilum.http.upload_json import upload_response
from hilum.services.ingest import Receipt


class Uploads:
    """Takes uploads in."""

    def __init__(self, intake: Intake, overrides: Overrides) -> None:
        self._intake = intake
        self._overrides = overrides

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.post("/api/dicom/upload", self._upload)]

    async def _upload(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            raise web.HTTPUnsupportedMediaType(text="an upload is multipart/form-data")
        reception = FormReception(self._intake.ingest, boundary_of(request.headers["Content-Type"]))
        arrivals = await self._intake.receive(request, reception)
        patient = _patient(reception.fields)
        arrivals = await self._intake.settled(arrivals)
        if patient:
            arrivals = [await self._overridden(arrival, patient) for arrival in arrivals]
            arrivals = await self._intake.settled(arrivals)
        if not arrivals:
            raise Invalid("the upload has no part with a file")
        await self._intake.record("upload", request, arrivals)
        return upload_response(arrivals)

    async def _overridden(self, arrival: Arrival, patient: Patient) -> Arrival:
        receipt = arrival.result
        if not isinstance(receipt, Receipt):
            return arrival
        try:
            instance = await self._overrides.find(receipt)
            made = await self._intake.call(self._overrides.make, instance, patient)
        except HilumError as error:
            return replace(arrival, result=error)
        original = receipt.header.identity.sop_instance_uid
        return replace(arrived(arrival.name, made), original=original)


def _patient(fields: dict[str, str]) -> Patient:
    return Patient(fields.get("patientID") or None, fields.get("patientName") or None)
