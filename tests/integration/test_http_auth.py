"""Who is let in, and which requests a browser is not to make for others."""

import asyncio
import base64
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from hilum.http.app import make_app
from hilum.http.metrics import Metrics
from hilum.index.database import Database
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_http_server import serving
from tests.nodes import running

USERS = {"backend": "s3cret", "ärztin": "pässwörd: mit Doppelpunkt"}


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


def basic(name: str, password: str) -> dict[str, str]:
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def written(client: aiohttp.ClientSession, path: str) -> URL:
    """Return the address of a path, character by character."""
    return URL(f"{client._base_url}".rstrip("/") + path, encoded=True)


async def test_without_users_everybody_is_let_in(node: HttpNode) -> None:
    assert (await node.client.get("/api/dicom/studies")).status == 200


async def test_with_users_nothing_but_health_answers_a_stranger(node: HttpNode) -> None:
    async with serving(node, users=USERS) as client:
        for path in ("/", "/static/js/main.js", "/api/dicom/studies", "/dicom-web/studies"):
            answer = await client.get(path)
            assert answer.status == 401, path
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="Hilum", charset="UTF-8"'
        assert (await client.get("/metrics")).status == 401
        assert (await client.get("/no/such/route")).status == 401
        assert (await client.get("/health")).status == 200
        assert (await client.get("/health/db")).status == 200


async def test_no_way_of_writing_a_path_leads_past_the_guard(node: HttpNode) -> None:
    resources = make_app(node.services).router.resources()
    routes = {re.sub(r"\{.*?\}", "1", each.canonical) for each in resources} - {"/"}
    assert len(routes) > 100
    async with serving(node, users=USERS) as client:
        for route in routes:
            for path in (route, f"{route}/", f"{route}//?expand", f"/{route}"):
                answer = await client.get(written(client, path))
                assert answer.status == 401 or path.startswith("/health"), path


@pytest.mark.parametrize("path", ["/instances/", "//instances", "/api/dicom/upload/"])
async def test_a_strange_page_has_no_browser_post_by_another_way(node: HttpNode, path: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    async with serving(node) as client:
        answer = await client.post(written(client, path), data=b"x", headers=headers)
        assert answer.status == 403


@pytest.mark.parametrize(
    ("headers", "answers"),
    [
        (basic("backend", "s3cret"), [b"HTTP/1.1 100 Continue", b"HTTP/1.1 400 Bad Request"]),
        (basic("backend", "S3cret"), [b"HTTP/1.1 401 Unauthorized"]),
        ({"Sec-Fetch-Site": "cross-site"}, [b"HTTP/1.1 403 Forbidden"]),
    ],
    ids=["user", "stranger", "page"],
)
async def test_a_body_is_asked_for_once_its_sender_is_known(
    node: HttpNode, headers: dict[str, str], answers: list[bytes]
) -> None:
    """What curl and .NET do with large bodies."""
    async with serving(node, users=USERS) as client:
        url = URL(str(client._base_url))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /instances HTTP/1.1", "Host: x", "Content-Length: 5", *lines]
        writer.write("\r\n".join([*head, "Expect: 100-continue", "", ""]).encode())
        for answer in answers:
            async with asyncio.timeout(10):
                told = await reader.readuntil(b"\r\n\r\n")
            assert told.startswith(answer)
            if b" 100 " in told:
                writer.write(b"hello")
        # Without the body nobody could tell where the next request begins.
        assert (b"Connection: close" in told) == (len(answers) == 1)
        writer.write(b"hello")  # or aiohttp goes on listening for it for ten seconds
        writer.close()


@pytest.mark.parametrize(("name", "password"), USERS.items())
async def test_a_user_is_let_in(node: HttpNode, name: str, password: str) -> None:
    async with serving(node, users=USERS) as client:
        answer = await client.get("/api/dicom/studies", headers=basic(name, password))
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("backend", "S3cret"),
        basic("backend", ""),
        basic("nobody", ""),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"backend").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Bearer s3cret"},
    ],
)
async def test_whoever_is_no_user_is_not(node: HttpNode, headers: dict[str, str]) -> None:
    async with serving(node, users=USERS) as client:
        assert (await client.get("/api/dicom/studies", headers=headers)).status == 401


async def test_who_guesses_has_to_wait_and_nobody_else(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("hilum.http.attempts.monotonic", lambda: now)
    path = "/api/dicom/studies"
    right = basic("backend", "s3cret")
    async with serving(node, users=USERS, metrics=Metrics()) as client:
        with capture_logs() as logs:
            for number in range(10):
                # The right one in between changes nothing: it may be somebody else's.
                assert (await client.get(path, headers=right)).status == 200
                guess = basic("backend", f"guess {number}")
                assert (await client.get(path, headers=guess)).status == 401
        (told,) = [line for line in logs if line["event"] == "too many wrong passwords"]
        assert (told["client"], told["user"]) == ("127.0.0.1", "backend")
        assert "guess" not in str(logs)
        for headers in (basic("backend", "an eleventh"), right):
            answer = await client.get(path, headers=headers)
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "60"
            assert (await answer.json())["error"]["code"] == "too-many-attempts"
        orthanc = await client.get("/studies", headers=right)
        assert (orthanc.status, orthanc.headers["Retry-After"]) == (429, "60")
        # Another user; somebody elsewhere, as the proxy of this machine says; a probe.
        other = basic("ärztin", USERS["ärztin"])
        assert (await client.get(path, headers=other)).status == 200
        elsewhere = {**right, "X-Forwarded-For": "192.0.2.7"}
        assert (await client.get(path, headers=elsewhere)).status == 200
        assert (await client.get("/health")).status == 200
        metrics = await (await client.get("/metrics", headers=other)).text()
        assert "\nhilum_http_wrong_passwords_total 10.0\n" in metrics
        now += 60
        assert (await client.get(path, headers=right)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),  # a program
        ({"Sec-Fetch-Site": "same-origin"}, 415),
        ({"Sec-Fetch-Site": "none"}, 415),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this host
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://viewer.example.org"}, 415),
        ({"Origin": "https://elsewhere.example.org"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_strange_page_has_no_browser_post_here(
    node: HttpNode, headers: dict[str, str], status: int
) -> None:
    """415 is what the upload itself says: the request got there."""
    async with serving(node, cors_origins=["https://viewer.example.org"]) as client:
        answer = await client.post("/api/dicom/upload", data=b"x", headers=headers)
        assert answer.status == status
        assert (await client.get("/api/dicom/studies", headers=headers)).status == 200


async def test_an_older_browser_is_known_by_its_origin(node: HttpNode) -> None:
    """Behind a proxy, too, that says how it was asked."""
    own = {"Origin": f"http://127.0.0.1:{node.port}"}
    assert (await node.client.post("/api/dicom/upload", data=b"x", headers=own)).status == 415
    proxied = {"Origin": "https://pacs.example.org", "X-Forwarded-Host": "pacs.example.org"}
    assert (await node.client.post("/api/dicom/upload", data=b"x", headers=proxied)).status == 415


async def test_a_preflight_needs_no_password(node: HttpNode) -> None:
    preflight = {
        "Origin": "https://viewer.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with serving(node, users=USERS, cors_origins=["https://viewer.example.org"]) as client:
        answer = await client.options("/api/dicom/upload", headers=preflight)
        assert answer.status == 204
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        refused = await client.get("/api/dicom/studies", headers={"Origin": preflight["Origin"]})
        # The page is told, or it could not ask its user.
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == preflight["Origin"]


def test_users_reach_every_worker_and_no_log(tmp_path: Path) -> None:
    settings = {"HILUM_HTTP_USERS": '{"backend": "s3cret"}', "HILUM_WORKERS": "2"}
    with running(tmp_path / "data", **settings) as node:
        url = f"{node.http_url}/api/dicom/studies"
        for _ in range(8):  # connections go to either worker
            assert status(url, basic("backend", "s3cret")) == 200
            assert status(url, {}) == 401
        assert "s3cret" not in node.log


def status(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
