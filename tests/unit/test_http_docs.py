"""The pages about HTTP have every route, code and status there is."""

import re
from collections.abc import Iterator
from unittest.mock import sentinel

from aiohttp import web

from hilum.core.errors import HilumError
from hilum.http.app import Services, make_app
from hilum.http.errors import status_of
from hilum.http.studies import FILTERS
from tests.corpus import REPOSITORY

PAGE = "\n".join(
    (REPOSITORY / "docs" / name).read_text()
    for name in ("http-api.md", "dicomweb.md", "orthanc.md")
)


async def probe() -> None:
    return


def application() -> web.Application:
    """Return the application, to look at and not to ask."""
    services = Services(
        ingest=sentinel.ingest,
        search=sentinel.search,
        retrieve=sentinel.retrieve,
        pictures=sentinel.pictures,
        metadata=sentinel.metadata,
        bulk_data=sentinel.bulk_data,
        contents=sentinel.contents,
        resources=sentinel.resources,
        attached=sentinel.attached,
        attachments=sentinel.attachments,
        network=sentinel.network,
        queue=sentinel.queue,
        outbox=sentinel.outbox,
        change_log=sentinel.change_log,
        upload_log=sentinel.upload_log,
        broadcast=sentinel.broadcast,
        synchronisation=sentinel.synchronisation,
        deletion=sentinel.deletion,
        trashcan=sentinel.trashcan,
        retention=sentinel.retention,
        protection=sentinel.protection,
        probes={"db": probe, "storage": probe},
    )
    return make_app(services)


def routes() -> Iterator[tuple[str, str]]:
    for route in application().router.routes():
        assert route.resource is not None
        if isinstance(route.resource, web.StaticResource):
            yield route.method, f"{route.resource.canonical}/…"
        else:
            yield route.method, route.resource.canonical


def test_every_route_is_documented() -> None:
    for method, path in routes():
        if method != "HEAD":
            assert f"`{method} {path}`" in PAGE


def test_the_conformance_statement_has_every_resource_of_dicomweb() -> None:
    statement = (REPOSITORY / "docs" / "conformance.md").read_text()
    section = statement.split("\n## 9 ")[1].split("\n## ")[0]
    instance = "/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
    rows = re.findall(r"^\| [^|]+ \| ([A-Z, ]+) \| `([^`]+)` \|", section, re.MULTILINE)
    stated = {
        (method, path.replace("{instance}", instance).rstrip("/"))
        for methods, path in rows
        for method in methods.split(", ")
    }
    assert stated == {
        (method, path.removeprefix("/dicom-web").rstrip("/"))
        for method, path in routes()
        if path.startswith("/dicom-web") and method != "HEAD"
    }


def test_every_code_is_documented_with_its_status() -> None:
    lines = re.findall(r"^\| (\d{3}) \| (`[^|]*`) \|", PAGE, re.MULTILINE)
    documented = {
        (int(status), code) for status, codes in lines for code in re.findall("`(.*?)`", codes)
    }
    for kind in family(HilumError):
        if kind.__module__.startswith(("hilum.core.", "hilum.http.")):
            assert (status_of(kind("x")), kind.code) in documented


def family(kind: type[HilumError]) -> Iterator[type[HilumError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_filter_is_documented() -> None:
    for name in (*FILTERS, "search", "limit", "offset", "center", "width", "invert", "size"):
        assert f"`{name}`" in PAGE
