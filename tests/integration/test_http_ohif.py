"""Serving OHIF's files, here a few of the same form; `tests/e2e/test_ohif.py` has the real ones."""

import base64
import gzip
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hilum.http.dicomweb.urls import TRUSTED_PROXIES, trusted_networks
from hilum.http.ohif import Ohif

BUNDLE = "app.bundle.0123456789abcdef.js"
PAGE = (
    '<!doctype html><script>window.PUBLIC_URL="/"</script><link href="/app.bundle.css">'
    f'<script defer src="/{BUNDLE}"></script><a href="//elsewhere.example/">'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ohif"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / BUNDLE).write_text("1;" * 1000)
    (folder / f"{BUNDLE}.gz").write_bytes(gzip.compress(b"1;" * 1000))
    (folder / "ort" / "ort.wasm").write_bytes(b"\0asm")
    (folder / "app.bundle.css").write_text("a {}")
    (folder / ".mark.json").write_text("{}")
    (tmp_path / "secret.js").write_text("secret")
    return folder


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app[TRUSTED_PROXIES] = trusted_networks(["127.0.0.1"])
    app.add_routes(Ohif(folder).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


Client = TestClient[web.Request, web.Application]


@pytest.mark.parametrize(
    ("headers", "base"), [({}, "/ohif/"), ({"X-Forwarded-Prefix": "/pacs/"}, "/pacs/ohif/")]
)
@pytest.mark.parametrize("path", ["", "viewer?StudyInstanceUIDs=1.2.3", "index.html", "a/b"])
async def test_every_address_of_the_page_is_the_page(
    client: Client, path: str, headers: dict[str, str], base: str
) -> None:
    answer = await client.get(f"/ohif/{path}", headers=headers)
    text = await answer.text()
    assert answer.status == 200
    assert answer.content_type == "text/html"
    assert f'src="{base}{BUNDLE}"' in text
    assert f'href="{base}app.bundle.css"' in text
    assert f'PUBLIC_URL="{base}"' in text
    assert 'href="//elsewhere.example/"' in text
    [script] = re.findall("<script>(.*?)</script>", text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"'sha256-{digest}'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_files_have_their_types_and_are_kept_as_long_as_they_may(client: Client) -> None:
    for path, kind, kept in (
        (BUNDLE, "text/javascript", "public, max-age=31536000, immutable"),
        ("app.bundle.css", "text/css", "no-cache"),
        ("ort/ort.wasm", "application/wasm", "no-cache"),
    ):
        answer = await client.get(f"/ohif/{path}")
        assert answer.status == 200
        assert answer.content_type == kind
        assert answer.headers["Cache-Control"] == kept
        again = await client.get(f"/ohif/{path}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


async def test_files_are_sent_as_they_were_compressed(folder: Path) -> None:
    app = web.Application()
    app[TRUSTED_PROXIES] = ()
    app.add_routes(Ohif(folder).routes())
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        answer = await client.get(f"/ohif/{BUNDLE}", headers={"Accept-Encoding": "gzip"})
        assert await answer.read() == (folder / f"{BUNDLE}.gz").read_bytes()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content_type == "text/javascript"


@pytest.mark.parametrize(
    "path",
    [
        *("missing.js", "ort/missing.wasm", ".mark.json", "..%2Fsecret.js", "%2Fetc%2Fpasswd.js"),
        *("ort%2F..%2F..%2Fsecret.js", "..%2f.%2fsecret.js", "a%00.js"),
    ],
)
async def test_other_files_are_not_there(client: Client, path: str) -> None:
    answer = await client.get(f"/ohif/{path}")
    assert answer.status == 404
    assert "secret" not in await answer.text()


async def test_the_configuration_names_this_node(client: Client) -> None:
    answer = await client.get("/ohif/app-config.js")
    assert answer.content_type == "text/javascript"
    assert "/dicom-web" in await answer.text()


async def test_the_address_without_a_slash_leads_to_the_page(client: Client) -> None:
    answer = await client.get(
        "/ohif?x=1", headers={"X-Forwarded-Prefix": "/pacs"}, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (302, "/pacs/ohif/?x=1")


async def test_without_its_files_a_page_says_how_to_get_them(tmp_path: Path) -> None:
    app = web.Application()
    app[TRUSTED_PROXIES] = ()
    app.add_routes(Ohif(tmp_path / "none").routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/ohif/viewer")
        assert answer.status == 404
        assert "hilum ohif install" in await answer.text()
        # Installed while the node runs.
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "index.html").write_text(PAGE)
        assert (await client.get("/ohif/viewer")).status == 200
    assert isinstance(answer, aiohttp.ClientResponse)
