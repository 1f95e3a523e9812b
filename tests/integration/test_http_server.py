"""What every request goes through: routes, headers, logs, slow clients, stopping."""

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from yarl import URL

from hilum.core.errors import Corrupt, IndexUnavailable, Invalid, StorageUnavailable
from hilum.core.listening import listen
from hilum.http.app import make_app
from hilum.http.intake import Intake
from hilum.http.overrides import Overrides
from hilum.http.server import HttpServer
from hilum.http.upload import Uploads
from hilum.index.database import Database
from tests.generated import ct
from tests.integration.http_node import HttpNode, http_node
from tests.nodes import wait_until


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path) as node:
        yield node


async def test_the_page_and_its_modules_are_served_to_be_revalidated(node: HttpNode) -> None:
    page = await node.client.get("/")
    assert (page.status, page.content_type) == (200, "text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for path in ("/", "/static/js/main.js", "/static/css/base.css", "/static/favicon.svg"):
        answer = await node.client.get(path)
        assert answer.status == 200, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"
        known = {"If-None-Match": answer.headers["ETag"]}
        assert (await node.client.get(path, headers=known)).status == 304
    script = await node.client.get("/static/js/main.js")
    assert "javascript" in script.content_type  # or a browser runs no module


async def test_nothing_but_the_pages_files_is_served(node: HttpNode) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
        answer = await node.client.get(URL(path, encoded=True))
        assert answer.status in (403, 404), path
        assert "import" not in await answer.text()


async def test_refusals_of_the_router_are_json(node: HttpNode) -> None:
    unknown = await node.client.get("/api/nothing/here")
    assert unknown.status == 404
    assert await unknown.json() == {
        "success": False,
        "error": {"code": "not-found", "message": "Not Found"},
    }
    wrong = await node.client.delete("/api/dicom/studies")
    assert wrong.status == 405
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert (await wrong.json())["error"]["code"] == "method-not-allowed"


async def test_health_tells_what_the_node_is_and_how_it_is(node: HttpNode) -> None:
    body = await (await node.client.get("/health")).json()
    assert body == {
        "status": "ok",
        "aet": "TEST",
        "version": "0",
        "checks": {"db": {"status": "ok"}, "storage": {"status": "ok"}},
    }
    for name in ("db", "storage"):
        answer = await node.client.get(f"/health/{name}")
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        assert answer.headers["Cache-Control"] == "no-store"


async def test_bad_health_is_503_with_the_reason(node: HttpNode) -> None:
    async def no_database() -> None:
        raise IndexUnavailable("MongoDB does not answer")

    async def storage() -> None:
        return

    probes = {"db": no_database, "storage": storage}
    async with serving(node, probes=probes) as client:
        whole = await client.get("/health")
        assert whole.status == 503
        assert (await whole.json())["checks"]["db"]["reason"] == "MongoDB does not answer"
        assert (await client.get("/health/db")).status == 503
        assert (await client.get("/health/storage")).status == 200


class serving:  # noqa: N801  # reads as the statement it is used in
    """The application once more, with some of its services exchanged."""

    def __init__(self, node: HttpNode, **services: Any) -> None:
        self._server = HttpServer(
            make_app(replace(node.services, **services)), listen("127.0.0.1", 0, "HTTP")
        )

    async def __aenter__(self) -> aiohttp.ClientSession:
        await self._server.start()
        self._client = aiohttp.ClientSession(f"http://127.0.0.1:{self._server.port}")
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._server.stop()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (IndexUnavailable("MongoDB does not answer"), 503, "index-unavailable"),
        (StorageUnavailable("the disk is gone"), 503, "storage-unavailable"),
        (Corrupt("bytes are damaged"), 500, "corrupt"),
        (ZeroDivisionError("secret detail"), 500, "internal"),
    ],
)
async def test_faults_behind_a_route_are_answered_without_internals(
    node: HttpNode, fault: Exception, status: int, code: str
) -> None:
    class Failing:
        async def study(self, _uid: str) -> None:
            raise fault

    with structlog.testing.capture_logs() as lines:
        async with serving(node, search=Failing()) as client:
            answer = await client.get("/api/dicom/studies/1.2.3")
            text = await answer.text()
    assert answer.status == status
    assert f'"code":"{code}"' in text
    assert "Traceback" not in text
    assert "secret" not in text
    assert ("Retry-After" in answer.headers) == (status == 503)
    faults = [line for line in lines if line["event"] == "http_fault"]
    assert bool(faults) == (code == "internal")


async def test_the_log_has_the_route_and_nothing_that_was_typed(node: HttpNode) -> None:
    with structlog.testing.capture_logs() as lines:
        await node.client.get("/api/dicom/studies?patientName=Doe&search=Doe")
        await node.client.get("/api/dicom/studies/Doe%5EJohn")
        await node.client.get("/Doe/John")
        await node.upload(("Doe^John.dcm", b"no image"), patientName="Doe^John")
        await node.client.get("/health")
    requests = [line for line in lines if line["event"] == "http_request"]
    assert [(line["route"], line["status"], line["log_level"]) for line in requests] == [
        ("/api/dicom/studies", 200, "info"),
        ("/api/dicom/studies/{study_uid}", 400, "info"),
        ("(none)", 404, "info"),
        ("/api/dicom/upload", 400, "info"),
        ("/health", 200, "debug"),
    ]
    assert "Doe" not in repr(lines)


async def test_metrics_count_requests_by_route(node: HttpNode) -> None:
    node.services.metrics.gauge("hilum_test_backlog", "For this test", lambda: 7)
    for path in ("/api/dicom/studies", "/api/dicom/studies", "/api/dicom/studies/1.2.3", "/x/y"):
        await node.client.get(path)
    answer = await node.client.get("/metrics")
    text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    count = "hilum_http_request_duration_seconds_count"
    labels = 'method="GET",route="{}",status="{}"'
    for route, status, number in (
        ("/api/dicom/studies", 200, 2),
        ("/api/dicom/studies/{study_uid}", 404, 1),
        ("(none)", 404, 1),
    ):
        assert f"{count}{{{labels.format(route, status)}}} {number}.0" in text
    assert "hilum_test_backlog 7.0" in text
    assert "process_resident_memory_bytes" in text


async def test_bytes_that_are_no_http_are_400_and_logged_quietly(node: HttpNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    with structlog.testing.capture_logs() as lines:
        writer.write(b"\x01\x00\x00\x00\x00\xcdHILUM is no place for an A-ASSOCIATE\r\n\r\n")
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400")
    assert [line["status"] for line in lines] == [400]


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/dicom/studies?patientName=Müller HTTP/1.1\r\nHost: x",  # not percent-encoded
        f"GET /api/dicom/studies?patientName=Muller&x={'x' * 20_000} HTTP/1.1\r\nHost: x",
        "GET /api/dicom/studies?patientName=Muller HTTP/1.1",
        "GET /api/dicom/studies?patientName=Muller HTTP/1.1\r\nHost: x\r\nMuller",
    ],
    ids=["characters", "length", "no host", "header"],
)
async def test_a_malformed_request_is_not_quoted_in_the_log(
    node: HttpNode, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    # After a good one: then aiohttp takes what follows for HTTP.
    good = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    with structlog.testing.capture_logs() as lines:
        writer.write(good)
        await reader.readuntil(b"}}")
        writer.write(f"{line}\r\n\r\n".encode())
        assert b"HTTP/1.0 400" in await reader.read()
    writer.close()
    assert [each["status"] for each in lines] == [200, 400]
    assert not caplog.records


async def test_a_few_hundred_ids_fit_into_an_address(node: HttpNode) -> None:
    ids = ",".join(["12345678-12345678-12345678-12345678-12345678"] * 300)
    answer = await node.client.get(f"/tools/create-archive?resources={ids}")
    assert answer.status == 404  # such resources: it was read


async def test_a_client_that_sends_its_headers_by_drops_is_cut_off(
    database: Database, tmp_path: Path
) -> None:
    async with http_node(database, tmp_path, keepalive_seconds=0.3) as node:
        for first in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            writer.write(first)
            if first:
                await reader.readuntil(b"\r\n\r\n")
            began = time.monotonic()
            dripping = asyncio.create_task(drip(writer))
            async with asyncio.timeout(10):
                await reader.read()
            assert time.monotonic() - began < 5
            dripping.cancel()
            writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    while not writer.is_closing():
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.05)


async def test_an_upload_that_stops_coming_is_given_up(node: HttpNode) -> None:
    app = web.Application()
    intake = Intake(node.services.ingest, idle_seconds=0.2)
    uploads = Uploads(intake, Overrides(node.services.ingest, node.services.retrieve))
    app.add_routes(uploads.routes())
    app.on_cleanup.append(intake.close)
    # Without the ten seconds in which aiohttp goes on listening to what it has refused.
    runner = web.AppRunner(app, lingering_time=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        b"POST /api/dicom/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        b'Content-Disposition: form-data; name="file"; filename="slow"\r\n\r\n'
    )
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
    await runner.cleanup()
    assert node.spooled == []


async def test_stopping_lets_requests_under_way_end(node: HttpNode) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    class Slow:
        async def study(self, _uid: str) -> None:
            entered.set()
            await release.wait()
            raise IndexUnavailable("but answered")

    server = HttpServer(
        make_app(replace(node.services, search=Slow())), listen("127.0.0.1", 0, "HTTP")
    )
    await server.start()
    async with aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{server.port}/api/dicom/studies/1.2.3"
        asking = asyncio.create_task(client.get(url))
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.to_thread(refused, server.port)
        release.set()
        assert (await asking).status == 503
        await stopping


def refused(port: int) -> None:
    """Return as soon as nobody accepts connections at `port` any more."""

    def closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return True
        return False

    wait_until(closed, 10, "the port is closed")


async def test_stopping_lets_bodies_arrive_that_are_on_their_way(node: HttpNode) -> None:
    server = HttpServer(make_app(node.services), listen("127.0.0.1", 0, "HTTP"))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = io.BytesIO()
    ct(1, study="stopping").save_as(body, enforce_file_format=True)
    data = body.getvalue()
    writer.write(b"POST /instances HTTP/1.1\r\nHost: x\r\n")
    # Asked for, so it is certain that it is being read.
    writer.write(b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(data))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(data[:1000])
    stopping = asyncio.create_task(server.stop())
    await asyncio.to_thread(wait_until, lambda: not accepts(server.port))
    writer.write(data[1000:])
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await stopping
        assert (await reader.read()).endswith(b"}")  # and the end of the connection
    writer.close()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


async def test_servers_share_a_port_and_others_cannot_take_it() -> None:
    listener = listen("127.0.0.1", 0, "HTTP")
    shared = [HttpServer(web.Application(), listener.dup()) for _ in range(2)]
    listener.close()
    for server in shared:
        await server.start()
    port = shared[0].port
    assert shared[1].port == port
    with pytest.raises(Invalid, match=f"cannot listen for HTTP on 127.0.0.1:{port}"):
        listen("127.0.0.1", port, "HTTP")
    await shared[0].stop()
    socket.create_connection(("127.0.0.1", port), 1).close()
    await shared[1].stop()
    refused(port)
