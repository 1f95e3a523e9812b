"""What this node offers of DICOMweb, for programs that ask before they try (PS3.18 8.9).

Made of the application's own routes, so that it cannot say anything else than what is
there: a new resource is in it, and a service that is switched off is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson
from aiohttp import web

from hilum.core.identifier_query import answers
from hilum.core.levels import LEVEL_OF, Level
from hilum.http.dicomweb.media_types import Form, accepted, choose, not_acceptable
from hilum.http.dicomweb.qido import MEDIA_TYPES as SEARCH_MEDIA_TYPES
from hilum.http.dicomweb.qido import RESOURCES as SEARCHES
from hilum.http.dicomweb.urls import SERVICE_PATH, service_url

_WADL: Final = "application/vnd.sun.wadl+xml"
_JSON: Final = "application/json"
_FORMS: Final = (Form(_WADL), Form(_JSON))
_WADL_NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
_OPTIONS: Final = ("limit", "offset", "includefield", "fuzzymatching")
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Capability:
    """A method of a resource."""

    method: str
    path: str
    """Below the service, with the names of its parameters in braces."""
    parameters: tuple[str, ...] = ()
    """Of the query: keys by keyword, and options."""
    media_types: tuple[str, ...] = ()
    """Of the answer, where there is no more to say about it."""


class Capabilities:
    """Describes the service."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get(SERVICE_PATH, self._describe),
            web.options(SERVICE_PATH, self._describe),
            web.get(f"{SERVICE_PATH}/", self._describe),
            web.options(f"{SERVICE_PATH}/", self._describe),
        ]

    async def _describe(self, request: web.Request) -> web.Response:
        capabilities = list(capabilities_of(request.app))
        base = service_url(request)
        form = choose(accepted(request), _FORMS)
        if form is None:
            raise not_acceptable(_FORMS)
        if form.media_type == _JSON:
            return web.Response(
                body=orjson.dumps(_as_json(capabilities, base)),
                content_type=_JSON,
                headers={"Vary": "Accept"},
            )
        return web.Response(
            body=_as_wadl(capabilities, base), content_type=_WADL, headers={"Vary": "Accept"}
        )


def capabilities_of(app: web.Application) -> Iterator[Capability]:
    """Yield what `app` does below `SERVICE_PATH`, in order of paths."""
    found = []
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method in _METHODS and path.startswith(f"{SERVICE_PATH}/") and path[-1] != "/":
            found.append((path.removeprefix(SERVICE_PATH), route.method))
    for path, method in sorted(found):
        if method == "GET" and path in SEARCHES:
            yield Capability(method, path, _keys(SEARCHES[path]), SEARCH_MEDIA_TYPES)
        else:
            yield Capability(method, path)


def _keys(level: Level) -> tuple[str, ...]:
    return (*_OPTIONS, *sorted(keyword for keyword in LEVEL_OF if answers(keyword, level)))


def _as_json(capabilities: list[Capability], base: str) -> dict[str, Any]:
    return {
        "base": base,
        "resources": [
            {
                "path": each.path,
                "method": each.method,
                "parameters": each.parameters,
                "mediaTypes": each.media_types,
            }
            for each in capabilities
        ],
    }


def _as_wadl(capabilities: list[Capability], base: str) -> bytes:
    """Return the description in the Web Application Description Language."""
    application = ET.Element("application", xmlns=_WADL_NAMESPACE)
    resources = ET.SubElement(application, "resources", base=base)
    by_path: dict[str, ET.Element] = {}
    for each in capabilities:
        resource = by_path.get(each.path)
        if resource is None:
            resource = ET.SubElement(resources, "resource", path=each.path.lstrip("/"))
            by_path[each.path] = resource
        method = ET.SubElement(resource, "method", name=each.method)
        if each.parameters:
            request = ET.SubElement(method, "request")
            for name in each.parameters:
                ET.SubElement(request, "param", name=name, style="query")
        if each.media_types:
            response = ET.SubElement(method, "response", status="200")
            for media_type in each.media_types:
                ET.SubElement(response, "representation", mediaType=media_type)
    return bytes(ET.tostring(application, encoding="utf-8", xml_declaration=True))
