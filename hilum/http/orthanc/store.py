"""``POST /instances``: files, or a ZIP of them, straight to the spool.

The answer is given when what was sent can be found.
"""

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import HilumError, NotDicom, Temporary
from hilum.core.instance import MIGRATION
from hilum.http.archive import ArchiveLimits
from hilum.http.body import BodyParser, WholeBody
from hilum.http.errors import status_of
from hilum.http.form import UploadedFile
from hilum.http.gunzip import Gunzip
from hilum.http.intake import Intake, coding_of
from hilum.http.multipart import MultipartParser, PartBegins, boundary_of
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, Refusal
from hilum.http.orthanc.styled import json_answer
from hilum.http.reception import SOURCE, Arrival, Part, Reception
from hilum.services.decision import Outcome
from hilum.services.ingest import Ingest, Receipt

#: Where what is posted comes from, if it is ``migration``.
SOURCE_HEADER: Final = "Hilum-Source"
_GZIP: Final = "gzip"
_FORM: Final = "multipart/form-data"
#: Outcomes after which nothing has changed for those who read.
_KNOWN: Final = frozenset({Outcome.ALREADY_STORED, Outcome.KEPT_CURRENT})


class _FilesReception(Reception):
    """A body of files: one of them by itself, or a form's."""

    def __init__(self, ingest: Ingest, parser: BodyParser, source: str) -> None:
        super().__init__(parser)
        self.files: list[UploadedFile] = []
        self._ingest = ingest
        self._source = source

    def _begin(self, begins: PartBegins) -> Part:  # noqa: ARG002 - every part is a file
        limits = ArchiveLimits()
        self.files.append(UploadedFile("", self._ingest, self.arrivals, limits, self._source))
        return self.files[-1]


class Store:
    """Takes instances in."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.post("/instances", self._store)]

    async def _store(self, request: web.Request) -> web.Response:
        if not request.can_read_body:
            raise Refusal(BAD_FILE_FORMAT, "Received an empty DICOM file")
        parser: BodyParser = WholeBody(request.content_type)
        if request.content_type == _FORM:
            parser = MultipartParser(boundary_of(request.headers["Content-Type"]))
        if coding_of(request) == _GZIP:
            parser = Gunzip(parser)
        source = MIGRATION if is_migration(request) else SOURCE
        reception = _FilesReception(self._intake.ingest, parser, source)
        arrivals = await self._intake.receive(request, reception, _GZIP)
        arrivals = await self._intake.settled(arrivals)
        await self._intake.record("orthanc", request, arrivals)
        if len(reception.files) == 1 and not reception.files[0].is_archive:
            return json_answer(_told(_only(arrivals)))
        return json_answer(_all_told(arrivals))


def is_migration(request: web.Request) -> bool:
    """Return whether what comes is copied from another archive."""
    # `hilum migrate` says so of itself; nobody else has a name to claim.
    return request.headers.get(SOURCE_HEADER) == MIGRATION


def _only(arrivals: Sequence[Arrival]) -> Receipt:
    result = arrivals[0].result
    if not isinstance(result, HilumError):
        return result
    if status_of(result) == 400:
        raise Refusal(BAD_FILE_FORMAT, str(result))
    raise result


def _all_told(arrivals: Sequence[Arrival]) -> list[dict[str, Any]]:
    """Return what is told of the files of an archive, without those that are no DICOM.

    Raises
    ------
    HilumError
        One of them could not be stored for another reason, or none is DICOM.
    """
    faults = [arrival.result for arrival in arrivals if isinstance(arrival.result, HilumError)]
    stored = [arrival.result for arrival in arrivals if isinstance(arrival.result, Receipt)]
    # What may be stored at another attempt must not be left out in silence.
    serious = [fault for fault in faults if isinstance(fault, Temporary)]
    if serious or (not stored and faults and not isinstance(faults[0], NotDicom)):
        raise (serious or faults)[0]
    return [_told(receipt) for receipt in stored]


def _told(receipt: Receipt) -> dict[str, Any]:
    identity = receipt.header.identity
    # One that is still on its way into the index is stored all the same: it is durable.
    known = receipt.outcome.done() and receipt.outcome.result() in _KNOWN
    return {
        "ID": identity.instance,
        "ParentPatient": identity.patient,
        "ParentSeries": identity.series,
        "ParentStudy": identity.study,
        "Path": f"/instances/{identity.instance}",
        "Status": "AlreadyStored" if known else "Success",
    }
