"""Passing instances on by STOW-RS: what a service gets, and what comes of what it says."""

import asyncio
import base64
import email.policy
import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path

import pytest
from aiohttp import web

from hilum.core.errors import HilumError, Invalid, NotFound, PeerUnreachable, Temporary
from hilum.http.outgoing import stow
from hilum.http.outgoing.client import make_client
from hilum.http.outgoing.stow import DicomWebService, authorization
from hilum.index.database import Database
from hilum.index.stored import StoredInstance
from tests.generated import ct, ct_files, save, uid
from tests.integration.http_node import HttpNode, http_node
from tests.nodes import free_port
from tests.orthancs import DICOMWEB_PLUGIN, running_orthanc

COUNT = 7
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return ct_files(tmp_path / "files", COUNT, study="sent")


@pytest.fixture
async def node(database: Database, tmp_path: Path, files: list[Path]) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path / "node") as node:
        answer = await node.upload(*((path.name, path.read_bytes()) for path in files))
        assert answer.status == 200
        yield node


async def instances_of(node: HttpNode) -> Sequence[StoredInstance]:
    return await node.services.retrieve.resource(uid("sent"))


@asynccontextmanager
async def service(node: HttpNode, url: str, **more: object) -> AsyncIterator[DicomWebService]:
    async with make_client() as client:
        yield DicomWebService("ARCHIVE", url, client, node.services.retrieve, **more)  # type: ignore[arg-type]


@dataclass
class Scripted:
    """A service that answers as it is told, and remembers what it was sent."""

    handler: Handler
    requests: list[web.Request] = field(default_factory=list)
    parts: list[list[bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.handler(request)

    async def read(self, request: web.Request) -> list[str]:
        """Take the body apart with Python's e-mail parser; return the digests of the parts."""
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        message = message_from_bytes(head + await request.read(), policy=email.policy.HTTP)
        assert message.get_content_type() == "multipart/related"
        assert message.get_param("type") == "application/dicom"
        parts = list(message.iter_parts())  # type: ignore[attr-defined]
        assert {part.get_content_type() for part in parts} == {"application/dicom"}
        contents = [part.get_payload(decode=True) for part in parts]
        self.parts.append(contents)
        return [hashlib.sha256(content).hexdigest() for content in contents]


@asynccontextmanager
async def scripted(handler: Handler | None = None) -> AsyncIterator[Scripted]:
    async def ok(request: web.Request) -> web.StreamResponse:
        await one.read(request)
        return web.json_response({})

    one = Scripted(handler or ok)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/dicom-web/studies", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.port = runner.addresses[0][1]
    try:
        yield one
    finally:
        await runner.cleanup()


async def test_another_node_has_the_same_files(
    node: HttpNode, database: Database, mongodb_uri: str, files: list[Path], tmp_path: Path
) -> None:
    other_database = Database.connect(mongodb_uri, f"{database.raw.name}_b")
    await other_database.ensure_schema()
    try:
        async with (
            http_node(other_database, tmp_path / "other") as other,
            service(node, f"http://127.0.0.1:{other.port}/dicom-web") as archive,
        ):
            assert await archive.send(await instances_of(node)) == [None] * COUNT
            assert await archive.send(await instances_of(node)) == [None] * COUNT, "once more"
            expected = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
            assert {path.name for path in other.stored} == expected
            for path in other.stored:
                assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    finally:
        await other_database.raw.client.drop_database(other_database.raw.name)
        other_database.close()


@pytest.mark.skipif(not DICOMWEB_PLUGIN.exists(), reason="needs Debian's orthanc-dicomweb")
async def test_orthancs_plugin_has_the_same_files(
    node: HttpNode, files: list[Path], tmp_path: Path
) -> None:
    with running_orthanc(
        tmp_path / "orthanc",
        Plugins=[str(DICOMWEB_PLUGIN)],
        AuthenticationEnabled=True,
        RegisteredUsers={"forwarder": "password"},
    ) as orthanc:
        headers = authorization("forwarder", "password")
        async with service(node, f"{orthanc.http_url}/dicom-web", headers=headers) as to:
            assert await to.send(await instances_of(node)) == [None] * COUNT
            assert await to.send(await instances_of(node)) == [None] * COUNT, "once more"
        async with make_client() as client:
            url = f"{orthanc.http_url}/instances"
            stored = [
                await (await client.get(f"{url}/{each}/file", headers=headers)).read()
                for each in await (await client.get(url, headers=headers)).json()
            ]
    assert sorted(stored) == sorted(path.read_bytes() for path in files)


async def test_a_request_is_what_the_standard_says(node: HttpNode, files: list[Path]) -> None:
    async with (
        scripted() as archive,
        service(
            node,
            archive.url,
            headers={"X-Site": "east", **authorization("forwarder", "pässword")},
        ) as to,
    ):
        assert await to.send(await instances_of(node)) == [None] * COUNT
    (request,) = archive.requests
    assert request.headers["Accept"] == "application/dicom+json"
    assert request.headers["X-Site"] == "east"
    scheme, credentials = request.headers["Authorization"].split()
    assert scheme == "Basic"
    assert base64.b64decode(credentials).decode() == "forwarder:pässword"
    assert "Transfer-Encoding" not in request.headers, "some services do not know chunks"
    (parts,) = archive.parts
    assert sorted(parts) == sorted(path.read_bytes() for path in files)


async def test_many_instances_go_in_several_requests(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = await instances_of(node)
    monkeypatch.setattr(stow, "_MOST_INSTANCES", 3)
    async with scripted() as archive, service(node, archive.url) as to:
        assert await to.send(instances) == [None] * COUNT
        assert [len(parts) for parts in archive.parts] == [3, 3, 1]
    monkeypatch.setattr(stow, "_MOST_BYTES", 2 * instances[0].blob.size_bytes)
    async with scripted() as archive, service(node, archive.url) as to:
        assert await to.send(instances) == [None] * COUNT
        assert [len(parts) for parts in archive.parts] == [2, 2, 2, 1]


@pytest.mark.parametrize("status", [400, 409, 413])
async def test_one_that_is_refused_does_not_keep_others_back(node: HttpNode, status: int) -> None:
    instances = await instances_of(node)
    bad = instances[4].blob.digest

    async def picky(request: web.Request) -> web.StreamResponse:
        refused = bad in await archive.read(request)
        return web.Response(status=status) if refused else web.json_response({})

    async with scripted(picky) as archive, service(node, archive.url) as to:
        results = await to.send(instances)
    assert [type(each) for each in results] == [
        Invalid if position == 4 else type(None) for position in range(COUNT)
    ]
    arrived = [part for parts in archive.parts for part in parts]
    assert len({hashlib.sha256(part).digest() for part in arrived}) == COUNT


async def test_what_is_said_of_each_is_not_asked_again(node: HttpNode) -> None:
    instances = await instances_of(node)

    def failed(instance: StoredInstance) -> dict[str, object]:
        return {
            "00081155": {"vr": "UI", "Value": [instance.identity.sop_instance_uid]},
            "00081197": {"vr": "US", "Value": [0xA900]},
        }

    async def none(request: web.Request) -> web.StreamResponse:
        await archive.read(request)
        body = {"00081198": {"vr": "SQ", "Value": [failed(each) for each in instances]}}
        return web.Response(status=409, body=json.dumps(body))

    async with scripted(none) as archive, service(node, archive.url) as to:
        results = await to.send(instances)
    assert {type(each) for each in results} == {Invalid}
    assert len(archive.requests) == 1


async def test_nothing_more_is_sent_to_one_that_is_away(
    node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow, "_MOST_INSTANCES", 2)

    async def busy(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(status=503, headers={"Retry-After": "17"})

    async with scripted(busy) as archive, service(node, archive.url) as to:
        results = await to.send(await instances_of(node))
    assert {type(each) for each in results} == {PeerUnreachable}
    assert len(results) == COUNT
    assert len(archive.requests) == 1
    assert isinstance(results[0], Temporary)
    assert results[0].retry_after_seconds == 17


async def test_nobody_there_and_somebody_silent(node: HttpNode) -> None:
    instances = (await instances_of(node))[:1]
    async with service(node, f"http://127.0.0.1:{free_port()}") as to:
        (result,) = await to.send(instances)
    assert type(result) is PeerUnreachable
    until = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await until.wait()
        return web.Response()

    async with scripted(silent) as archive, service(node, archive.url, silence_seconds=0.3) as to:
        (result,) = await to.send(instances)
        until.set()
    assert type(result) is PeerUnreachable
    assert "silent" in str(result)


async def large_instance(node: HttpNode, folder: Path) -> list[StoredInstance]:
    """One of 50 MB, more than any buffer on its way."""
    path = save(ct(1, study="large", size=5000), folder / "large.dcm")
    assert (await node.upload((path.name, path.read_bytes()))).status == 200
    return list(await node.services.retrieve.resource(uid("large")))


async def test_the_size_of_an_instance_costs_no_memory(node: HttpNode, tmp_path: Path) -> None:
    instances = await large_instance(node, tmp_path)
    received = 0

    async def discard(request: web.Request) -> web.StreamResponse:
        nonlocal received
        async for data in request.content.iter_any():
            received += len(data)
        return web.json_response({})

    async with scripted(discard) as archive, service(node, archive.url) as to:
        tracemalloc.start()
        try:
            assert await to.send(instances) == [None]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert received > instances[0].blob.size_bytes > 50_000_000
    assert peak < 5_000_000


async def test_a_refusal_before_the_body_is_read_is_heard(node: HttpNode, tmp_path: Path) -> None:
    """As of a proxy that takes only so much: it answers, and closes the connection."""
    instances = await large_instance(node, tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, service(node, f"http://127.0.0.1:{port}") as to:
        (result,) = await to.send(instances)
    assert type(result) is Invalid
    assert "413" in str(result)


async def test_a_connection_that_breaks_is_no_receiver_that_is_away(node: HttpNode) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, service(node, f"http://127.0.0.1:{port}") as to:
        results = await to.send(await instances_of(node))
    assert {type(each) for each in results} == {Temporary}


async def test_a_file_that_is_gone_is_one_failure(node: HttpNode, tmp_path: Path) -> None:
    instances = await instances_of(node)
    gone = next(path for path in node.stored if path.name == instances[2].blob.digest)
    gone.rename(tmp_path / "aside")
    async with scripted() as archive, service(node, archive.url) as to:
        results: list[HilumError | None] = await to.send(instances)
    assert [type(each) for each in results] == [
        NotFound if position == 2 else type(None) for position in range(COUNT)
    ]
    assert sum(map(len, archive.parts)) == COUNT - 1
