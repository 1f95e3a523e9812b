"""All of Orthanc's routes, for the application to add."""

from typing import TYPE_CHECKING

from aiohttp import web

from hilum.http.intake import Intake
from hilum.http.orthanc.archives import ArchiveRoutes
from hilum.http.orthanc.arrays import ArrayRoutes
from hilum.http.orthanc.attachments import AttachmentRoutes
from hilum.http.orthanc.bulk import BulkRoutes
from hilum.http.orthanc.changes import Changes
from hilum.http.orthanc.contents import ContentRoutes
from hilum.http.orthanc.delete import DeleteRoutes
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.exports import Exports
from hilum.http.orthanc.find import Find
from hilum.http.orthanc.jobs import JobResources
from hilum.http.orthanc.labels import LabelRoutes
from hilum.http.orthanc.lists import Lists
from hilum.http.orthanc.metadata import MetadataRoutes, names_of_metadata
from hilum.http.orthanc.modalities import Modalities
from hilum.http.orthanc.modification import Modification
from hilum.http.orthanc.own_attachments import OwnAttachments
from hilum.http.orthanc.own_names import OwnNames
from hilum.http.orthanc.peers import Peers
from hilum.http.orthanc.pictures import PictureRoutes
from hilum.http.orthanc.protected import ProtectedRoutes
from hilum.http.orthanc.queries import Queries
from hilum.http.orthanc.response_content import ResponseContent
from hilum.http.orthanc.search import SearchRoutes
from hilum.http.orthanc.slices import SliceRoutes
from hilum.http.orthanc.store import Store
from hilum.http.orthanc.system import System
from hilum.http.orthanc.tools import Tools
from hilum.services.archives import Archives

if TYPE_CHECKING:
    from hilum.http.app import Services


def orthanc_routes(services: "Services", intake: Intake) -> list[web.RouteDef]:
    """Return the routes, each group from the file that answers them."""
    resources, attached, deletion = services.resources, services.attached, services.deletion
    names = names_of_metadata(services.user_metadata)
    own_attachments = OwnAttachments(
        resources, services.attachments, OwnNames(services.user_content_types)
    )
    describer = Describer(resources, attached)
    response_content = ResponseContent(
        resources, attached, describer, own_attachments, services.protection, names
    )
    contents = ContentRoutes(resources, services.contents, services.bulk_data, services.retrieve)
    pictures = PictureRoutes(resources, services.pictures, services.retrieve)
    archives = ArchiveRoutes(resources, Archives(resources, services.retrieve), services.network)
    return [
        *Modalities(services.network).routes(),
        *Find(services.network).routes(),
        *Queries(services.network).routes(),
        *JobResources(services.network).routes(),
        *Exports(services.network).routes(),
        *Peers().routes(),
        *Tools(services.network).routes(),
        *SliceRoutes(resources).routes(),
        *System(services.search, services.about, services.user_metadata).routes(),
        *Changes(services.change_log, services.outbox).routes(),
        *Store(intake).routes(),
        *Lists(resources, describer).routes(),
        *(DeleteRoutes(resources, deletion).routes() if deletion is not None else ()),
        *ProtectedRoutes(resources, services.protection).routes(),
        *MetadataRoutes(resources, attached, names).routes(),
        *LabelRoutes(resources, attached).routes(),
        *AttachmentRoutes(resources, services.retrieve, own_attachments).routes(),
        *SearchRoutes(
            services.search, resources, attached, describer, response_content, names
        ).routes(),
        *BulkRoutes(resources, attached, describer, names).routes(),
        *contents.routes(),
        *Modification(resources, services.retrieve).routes(),
        *pictures.routes(),
        *ArrayRoutes(resources, services.retrieve).routes(),
        *archives.routes(),
    ]
