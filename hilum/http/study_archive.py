"""``GET /api/dicom/studies/{study_uid}/archive``: a study to take along, with a DICOMDIR."""

from aiohttp import web

from hilum.core.identifiers import parse_uid
from hilum.core.levels import Level
from hilum.http.zipping import send_zip
from hilum.index.resources import Resources
from hilum.services.archives import Archives
from hilum.services.folders import plain
from hilum.services.retrieve import Retrieve


class StudyArchives:
    """Sends studies as ZIP files that are file sets (PS3.10 8)."""

    def __init__(self, retrieve: Retrieve, resources: Resources) -> None:
        self._retrieve = retrieve
        self._resources = resources
        self._archives = Archives(resources, retrieve)

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.get("/api/dicom/studies/{study_uid}/archive", self._archive)]

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        study_uid = parse_uid(request.match_info["study_uid"], "the study's UID")
        instances = await self._retrieve.resource(study_uid)
        # Two patients may have a study of one UID each.
        ids = dict.fromkeys(each.identity.study for each in instances)
        studies = await self._resources.some(Level.STUDY, list(ids))
        archive = await self._archives.of(studies, directory=True, extended=True)
        about = studies[0]
        words = (about.patient_id, about.main.get("StudyDate", ""))
        name = "-".join(word for each in words if (word := plain(each).replace(" ", "_")))
        return await send_zip(request, archive, f"{name or 'study'}.zip")
