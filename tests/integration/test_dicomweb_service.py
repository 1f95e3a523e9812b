"""What is common to all of DICOMweb: capabilities, and pages of other origins."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hilum.http.cors import CrossOrigin
from tests.generated import ct, save, uid
from tests.nodes import RunningNode, running

WADL = "{http://wadl.dev.java.net/2009/02}"
VIEWER = "https://viewer.example.org"


@pytest.fixture(scope="module")
def open_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that lets one origin in, and believes no proxy."""
    folder = tmp_path_factory.mktemp("open")
    (folder / "hilum.toml").write_text("[http]\ntrusted_proxies = []\n")
    with running(folder / "node", HILUM_HTTP_CORS_ORIGINS=f"{VIEWER}, http://b:3000") as node:
        path = save(ct(study="cors"), folder / "ct.dcm")
        url = f"{node.http_url}/api/dicom/upload"
        requests.post(url, files={"file": path.read_bytes()}, timeout=30).raise_for_status()
        yield node


def preflight(node: RunningNode, path: str, origin: str, method: str = "GET") -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,range",
    }
    return requests.options(f"{node.http_url}{path}", headers=headers, timeout=30)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_capabilities_are_what_is_there(open_node: RunningNode, method: str, slash: str) -> None:
    url = f"{open_node.http_url}/dicom-web{slash}"
    answer = requests.request(method, url, headers={"Accept": "*/*"}, timeout=30)
    assert answer.headers["Content-Type"] == "application/vnd.sun.wadl+xml"
    resources = ET.fromstring(answer.content).find(f"{WADL}resources")
    assert resources is not None
    assert resources.get("base") == f"{open_node.http_url}/dicom-web"
    methods = {
        (resource.get("path"), each.get("name"))
        for resource in resources
        for each in resource.findall(f"{WADL}method")
    }
    told = requests.request(method, url, headers={"Accept": "application/json"}, timeout=30).json()
    assert methods == {(each["path"][1:], each["method"]) for each in told["resources"]}
    assert ("studies/{study_uid}/series", "GET") in methods
    [studies] = [
        each for each in told["resources"] if (each["path"], each["method"]) == ("/studies", "GET")
    ]
    assert {"PatientName", "StudyDate", "limit"} <= set(studies["parameters"])
    assert "SeriesNumber" not in studies["parameters"]


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/dicom-web/studies", "GET"),
        ("/dicom-web/studies", "POST"),
        (f"/dicom-web/studies/{uid('cors')}", "DELETE"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1", "GET"),
        ("/dicom-web", "GET"),
    ],
)
def test_preflights_of_a_known_origin_are_answered(
    open_node: RunningNode, path: str, method: str
) -> None:
    answer = preflight(open_node, path, VIEWER, method)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"accept", "content-type", "range", "if-none-match", "authorization"} <= set(allowed)


def test_a_known_origin_may_read_answers_and_errors(open_node: RunningNode) -> None:
    for path in (
        f"/dicom-web/studies?StudyInstanceUID={uid('cors')}",
        "/dicom-web/studies?limit=x",
    ):
        answer = requests.get(
            f"{open_node.http_url}{path}", headers={"Origin": "http://b:3000"}, timeout=30
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "http://b:3000"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Warning", "Content-Range", "Location"} <= set(exposed)


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", f"{VIEWER}.evil.org"])
def test_other_origins_learn_nothing(open_node: RunningNode, origin: str) -> None:
    url = f"{open_node.http_url}/dicom-web/studies"
    answer = requests.get(url, headers={"Origin": origin}, timeout=30)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    assert (
        "Access-Control-Allow-Origin"
        not in preflight(open_node, "/dicom-web/studies", origin).headers
    )


def test_what_is_not_for_viewers_and_front_ends_is_open_to_nobody(
    open_node: RunningNode,
) -> None:
    for path in ("/", "/static/js/main.js", "/health", "/metrics"):
        answer = requests.get(f"{open_node.http_url}{path}", headers={"Origin": VIEWER}, timeout=30)
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_the_setting_no_origin_is_let_in(shared_node: RunningNode) -> None:
    url = f"{shared_node.http_url}/dicom-web/studies"
    answer = requests.get(url, headers={"Origin": VIEWER}, timeout=30)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert preflight(shared_node, "/dicom-web/studies", VIEWER).status_code == 405


async def test_any_origin_may_be_let_in_but_not_with_its_cookies() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response()

    anybody = CrossOrigin(["*"])
    app = web.Application(middlewares=[anybody.middleware()])
    app.on_response_prepare.append(anybody.add_headers)
    app.router.add_get("/dicom-web/studies", answer)
    async with TestClient(TestServer(app)) as client:
        got = await client.get("/dicom-web/studies", headers={"Origin": VIEWER})
    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in got.headers


def test_a_proxy_that_is_not_trusted_is_not_believed(open_node: RunningNode) -> None:
    answer = requests.get(
        f"{open_node.http_url}/dicom-web/studies",
        headers={"X-Forwarded-Host": "elsewhere.example", "Forwarded": "proto=https"},
        timeout=30,
    )
    [study] = answer.json()
    assert study["00081190"]["Value"][0].startswith(f"{open_node.http_url}/dicom-web/studies/")
