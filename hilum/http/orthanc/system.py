"""What the node says of itself: ``/system``, ``/statistics``, and small tools."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from pydicom.uid import generate_uid

from hilum.core.levels import tag_of
from hilum.core.main_tags import MAIN_DICOM_TAGS
from hilum.http.orthanc.errors import UNKNOWN_RESOURCE, Refusal
from hilum.http.orthanc.resources import NAMES
from hilum.http.orthanc.styled import json_answer, text_answer
from hilum.http.orthanc.tag_names import short_name
from hilum.services.search import Search

#: The Orthanc whose API this is. Clients choose by it what they ask for.
ORTHANC_VERSION: Final = "1.12.9"
API_VERSION: Final = 28
_DATABASE_VERSION: Final = 6
_MEGABYTE: Final = 1 << 20
_MAIN_DICOM_TAGS: Final = {
    NAMES[level]: ";".join(sorted(short_name(tag_of(keyword)) for keyword in keywords))
    for level, keywords in MAIN_DICOM_TAGS.items()
}


class System:
    """Answers for the node as a whole."""

    def __init__(
        self, search: Search, about: Mapping[str, Any], user_metadata: Mapping[str, int]
    ) -> None:
        self._search = search
        self._about = about
        self._user_metadata = user_metadata

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/system", self._system),
            web.get("/statistics", self._statistics),
            web.get("/tools/now", self._now),
            web.get("/tools/now-local", self._now_local),
            web.get("/tools/generate-uid", self._generate_uid),
            web.get("/app/explorer.html", self._explorer),
        ]

    async def _system(self, request: web.Request) -> web.Response:
        return json_answer(
            {
                "ApiVersion": API_VERSION,
                "Capabilities": {
                    "HasExtendedChanges": False,
                    "HasExtendedFind": True,
                    "HasLabels": True,
                },
                "CheckRevisions": False,
                "DatabaseBackendPlugin": None,
                "DatabaseServerIdentifier": "",
                "DatabaseVersion": _DATABASE_VERSION,
                "DicomAet": self._about.get("aet", ""),
                "DicomPort": self._about.get("dicom_port", 0),
                "HasLabels": True,
                "HttpPort": _port_of(request),
                "HilumVersion": self._about.get("version", ""),
                "IngestTranscoding": "",
                "IsHttpServerSecure": False,
                "MainDicomTags": _MAIN_DICOM_TAGS,
                "MaximumPatientCount": 0,
                "MaximumStorageMode": "Recycle",
                "MaximumStorageSize": 0,
                "Name": self._about.get("aet", ""),
                "OverwriteInstances": True,
                "PluginsEnabled": False,
                "ReadOnly": False,
                "StorageAreaPlugin": None,
                "StorageCompression": False,
                "UserMetadata": dict(self._user_metadata),
                "Version": ORTHANC_VERSION,
            }
        )

    async def _statistics(self, _request: web.Request) -> web.Response:
        found = await self._search.statistics()
        return json_answer(
            {
                "CountInstances": found.instances,
                "CountPatients": found.patients,
                "CountSeries": found.series,
                "CountStudies": found.studies,
                "TotalDiskSize": str(found.size_bytes),
                "TotalDiskSizeMB": found.size_bytes // _MEGABYTE,
                "TotalUncompressedSize": str(found.size_bytes),
                "TotalUncompressedSizeMB": found.size_bytes // _MEGABYTE,
            }
        )

    async def _now(self, _request: web.Request) -> web.Response:
        return text_answer(moment(datetime.now(UTC)))

    async def _now_local(self, _request: web.Request) -> web.Response:
        return text_answer(moment(datetime.now().astimezone()))

    async def _explorer(self, _request: web.Request) -> web.Response:
        raise web.HTTPFound("/")

    async def _generate_uid(self, request: web.Request) -> web.Response:
        if request.query.get("level") not in {"patient", "study", "series", "instance"}:
            raise Refusal(UNKNOWN_RESOURCE, "level is patient, study, series or instance")
        return text_answer(generate_uid())


def moment(at: datetime) -> str:
    """Return a moment as Orthanc writes it, to the second and without a zone."""
    return f"{at:%Y%m%dT%H%M%S}"


def _port_of(request: web.Request) -> int:
    """Return the port this request has come in at."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return int(name[1]) if isinstance(name, tuple) else 0
