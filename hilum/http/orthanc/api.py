"""All of Orthanc's routes, for the application to add."""

from typing import TYPE_CHECKING

from aiohttp import web

from hilum.http.intake import Intake
from hilum.http.orthanc.contents import ContentRoutes
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.lists import Lists
from hilum.http.orthanc.pictures import PictureRoutes
from hilum.http.orthanc.store import Store
from hilum.http.orthanc.system import System

if TYPE_CHECKING:
    from hilum.http.app import Services


def orthanc_routes(services: "Services", intake: Intake) -> list[web.RouteDef]:
    """Return the routes, each group from the file that answers them."""
    resources = services.resources
    describer = Describer(resources, services.attached)
    contents = ContentRoutes(resources, services.contents, services.bulk_data, services.retrieve)
    pictures = PictureRoutes(resources, services.pictures, services.retrieve)
    return [
        *System(services.search, services.about).routes(),
        *Store(intake).routes(),
        *Lists(resources, describer).routes(),
        *contents.routes(),
        *pictures.routes(),
    ]
