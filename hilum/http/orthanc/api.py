"""All of Orthanc's routes, for the application to add."""

from typing import TYPE_CHECKING

from aiohttp import web

from hilum.http.orthanc.contents import ContentRoutes
from hilum.http.orthanc.pictures import PictureRoutes
from hilum.http.orthanc.system import System

if TYPE_CHECKING:
    from hilum.http.app import Services


def orthanc_routes(services: "Services") -> list[web.RouteDef]:
    """Return the routes, each group from the file that answers them."""
    contents = ContentRoutes(
        services.resources, services.contents, services.bulk_data, services.retrieve
    )
    pictures = PictureRoutes(services.resources, services.pictures, services.retrieve)
    return [
        *System(services.search, services.about).routes(),
        *contents.routes(),
        *pictures.routes(),
    ]
