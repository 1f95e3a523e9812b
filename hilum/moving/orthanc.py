"""A client of Orthanc's REST API, or of a node that speaks it.

What fails for the moment is tried again: a server that does not answer for minutes, as long as
a restart takes; one that answers with a fault a few times, as it may be the fault of one file.
"""

import asyncio
import hashlib
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp

from hilum.core.errors import Conflict, HilumError, Invalid, NotFound, PeerUnreachable, Temporary
from hilum.core.instance import MIGRATION
from hilum.http.orthanc.store import SOURCE_HEADER
from hilum.services.pace import Pace

T = TypeVar("T")
#: Makes the pieces of a body, anew for each try.
Pieces = Callable[[], AsyncIterator[bytes]]

_PACE: Final = Pace(first_seconds=0.5, longest_seconds=20.0, give_up_seconds=300.0)
#: For a server that is there and answers with a fault.
_TRIES: Final = 5
_CONNECT_SECONDS: Final = 20.0
#: Without a byte. An Orthanc that has much to do takes its time for the first one.
_SILENCE_SECONDS: Final = 120.0
#: Ids in one answer: half a megabyte.
_PAGE: Final = 10_000
_CHANGES: Final = 1_000
_CHUNK_BYTES: Final = 1 << 20


class ServerFault(Temporary):
    """The server answers, with a status that says the fault is its own."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where a server is, and who asks."""

    url: str
    """Without user and password, and without a slash at its end."""
    user: str = ""
    password: str = ""
    ca_file: Path | None = None
    """Certificates to trust beside the system's."""

    @classmethod
    def parse(
        cls, url: str, user: str = "", password: str = "", ca_file: Path | None = None
    ) -> Self:
        """Return what `url` says; a user in it wins over `user`.

        Raises
        ------
        Invalid
            It is no URL of a server.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise Invalid("not the URL of a server, such as http://orthanc:8042")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        if parts.username:
            user, password = unquote(parts.username), unquote(parts.password or "")
        return cls(address + parts.path.rstrip("/"), user, password, ca_file)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a file."""

    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of a log of changes."""

    kind: str
    """``NewInstance``, ``UpdatedMetadata``, …"""
    resource_type: str
    """``Patient``, ``Study``, ``Series``, ``Instance``."""
    id: str


class Orthanc:
    """A server. An asynchronous context; any number of calls at once."""

    def __init__(self, access: Access, pace: Pace = _PACE) -> None:
        self._access = access
        self._pace = pace
        self._session: aiohttp.ClientSession | None = None

    def __str__(self) -> str:
        return self._access.url

    async def __aenter__(self) -> Self:
        access = self._access
        trusted = ssl.create_default_context()
        if access.ca_file is not None:
            try:
                trusted.load_verify_locations(access.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise Invalid(f"no certificates can be read from {access.ca_file}") from error
        self._session = aiohttp.ClientSession(
            # Orthanc would compress each file for a network that is most often a cable.
            headers={"Accept-Encoding": "identity", **_credentials(access)},
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
            ),
            read_bufsize=_CHUNK_BYTES,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def about(self) -> dict[str, Any]:
        """Return what it says of itself. Asked first: it tells whether it is one at all.

        Raises
        ------
        Invalid
            Something else answers, or does not let this user in.
        Temporary
            Nobody does. That is not waited for: the address may be wrong.
        """
        about = await self._get_json("/system")
        if not isinstance(about, dict) or "Version" not in about:
            raise Invalid(f"{self} answers, but not as Orthanc does")
        return about

    async def statistics(self) -> dict[str, int]:
        """Return how many patients, studies, series and instances it has."""
        found = await self.json("/statistics")
        levels = ("Patients", "Studies", "Series", "Instances")
        return {level.lower(): int(found[f"Count{level}"]) for level in levels}

    async def ids(self, plural: str) -> AsyncIterator[list[str]]:
        """Yield the ids of its ``patients``, ``studies``, ``series``, ``instances``, in pages.

        What comes and goes meanwhile may be missing, and so may what it moves to another page.
        """
        since = 0
        while page := await self.json(f"/{plural}?since={since}&limit={_PAGE}"):
            yield page
            since += len(page)

    async def last_change(self) -> int:
        """Return the number of the last entry in its log of changes; 0: there is none."""
        return int((await self.json("/changes?last"))["Last"])

    async def changes(self, since: int) -> tuple[list[Change], int]:
        """Return what its log says has happened, and how far that was read.

        The whole is read when the number does not change any more.
        """
        found = await self.json(f"/changes?since={since}&limit={_CHANGES}")
        listed = [
            Change(each["ChangeType"], each.get("ResourceType", ""), each.get("ID", ""))
            for each in found["Changes"]
        ]
        return listed, int(found["Last"])

    async def describe(self, instance: str) -> dict[str, Any] | None:
        """Return what it says of an instance; None if it has none of that id."""
        try:
            found = await self.json(f"/instances/{instance}")
        except NotFound:
            return None
        return found if isinstance(found, dict) else None

    async def md5(self, instance: str) -> str | None:
        """Return the MD5 of an instance's file as the server states it; None: it does not."""
        return await self.stated_md5(f"/instances/{instance}/attachments/dicom")

    async def stated_md5(self, attachment: str) -> str | None:
        """Return the MD5 of an attachment, given its path, as the server states it."""
        try:
            answer = await self.content(f"{attachment}/md5")
        except NotFound:
            return None
        stated = answer.decode("ascii", "replace").strip().lower()
        return stated if len(stated) == 32 else None

    async def download(self, path: str, write: Callable[[bytes], Awaitable[None]]) -> Received:
        """Hand what is at a path to `write`, piece by piece. One try: see `patiently`.

        Raises
        ------
        NotFound
            The server does not have it.
        """
        digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
        async with self._get(path) as answer:
            try:
                async for piece in answer.content.iter_chunked(_CHUNK_BYTES):
                    digest.update(piece)
                    size_bytes += len(piece)
                    await write(piece)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise PeerUnreachable(f"{self} broke off: {_kind(error)}") from error
        return Received(size_bytes, digest.hexdigest())

    async def upload(self, pieces: Pieces, size_bytes: int) -> str:
        """Post a file; return the id that the server gives it.

        Raises
        ------
        Invalid
            It refuses the file.
        """

        async def post() -> Any:
            headers = {
                "Content-Type": "application/dicom",
                "Content-Length": str(size_bytes),
                SOURCE_HEADER: MIGRATION,
            }
            async with self._request("POST", "/instances", data=pieces(), headers=headers) as got:
                return await got.json(content_type=None)

        answer = await self.patiently(post)
        return str(answer["ID"])

    async def put(self, path: str, body: bytes | Pieces, size_bytes: int | None = None) -> None:
        """Put what is copied from another archive; `body` anew at each try.

        Raises
        ------
        NotFound
            The server does not have what the path names.
        Conflict
            Somebody has put something else there.
        Invalid
            It refuses it.
        """
        headers = {"Content-Type": "application/octet-stream", SOURCE_HEADER: MIGRATION}
        if size_bytes is not None:
            headers["Content-Length"] = str(size_bytes)

        async def put() -> None:
            data = body if isinstance(body, bytes) else body()
            async with self._request("PUT", path, data=data, headers=headers):
                pass

        await self.patiently(put)

    async def ask(self, path: str, body: Any) -> Any:
        """Post a question as JSON, and return the answer."""

        async def post() -> Any:
            async with self._request("POST", path, json=body) as answer:
                return await answer.json(content_type=None)

        return await self.patiently(post)

    async def patiently(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call `function` until it does not fail for the moment, or patience ends.

        Raises
        ------
        Temporary
            The last reason.
        """
        start = time.monotonic()
        failures = faults = 0
        while True:
            try:
                return await function()
            except PeerUnreachable:
                failures += 1
                if time.monotonic() - start > self._pace.give_up_seconds:
                    raise
            except ServerFault:
                failures += 1
                faults += 1
                if faults >= _TRIES:
                    raise
            await asyncio.sleep(self._pace.pause_seconds(failures))

    async def json(self, path: str) -> Any:
        """Return what is at a path, which is JSON.

        Raises
        ------
        NotFound
            The server does not have it.
        """
        return await self.patiently(lambda: self._get_json(path))

    async def _get_json(self, path: str) -> Any:
        async with self._get(path) as answer:
            try:
                return await answer.json(content_type=None)
            except ValueError as error:
                raise Invalid(f"{self} answers, but not as Orthanc does") from error

    async def content(self, path: str) -> bytes:
        """Return what is at a path, as it is.

        Raises
        ------
        NotFound
            The server does not have it.
        """

        async def get() -> bytes:
            async with self._get(path) as answer:
                return await answer.read()

        return await self.patiently(get)

    def _get(self, path: str) -> "_Request":
        return self._request("GET", path)

    def _request(self, method: str, path: str, **options: Any) -> "_Request":
        assert self._session is not None
        context = self._session.request(
            method, self._access.url + path, allow_redirects=False, **options
        )
        return _Request(self, context)


def _credentials(access: Access) -> dict[str, str]:
    """Return the header of HTTP Basic authentication (RFC 7617), if there is a user."""
    if not access.user:
        return {}
    pair = f"{access.user}:{access.password}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}


class _Request:
    """A request whose every failure is one of Hilum's errors."""

    def __init__(self, server: Orthanc, context: Any) -> None:
        self._server = server
        self._context = context

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            answer: aiohttp.ClientResponse = await self._context.__aenter__()
        except aiohttp.ClientConnectorCertificateError as error:
            raise Invalid(f"the certificate of {self._server} is not trusted") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PeerUnreachable(f"{self._server} does not answer: {_kind(error)}") from error
        if answer.status != 200:
            fault = await _fault(self._server, answer)
            await self._context.__aexit__(None, None, None)
            raise fault
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._context.__aexit__(kind, error, traceback)
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise PeerUnreachable(f"{self._server} broke off: {_kind(error)}") from error


async def _fault(server: Orthanc, answer: aiohttp.ClientResponse) -> HilumError:
    status = answer.status
    if status == 404:
        return NotFound(f"{server} does not have it")
    if status == 409:
        return Conflict(f"{server} has something else there{await _reason(answer)}")
    if status == 401:
        return Invalid(f"{server} asks for a user and a password, or for others than these")
    if status == 429 or status >= 500:
        return ServerFault(f"{server} answers with status {status}")
    return Invalid(f"{server} refuses it with status {status}{await _reason(answer)}")


async def _reason(answer: aiohttp.ClientResponse) -> str:
    """Return what the server says of it in words, as far as it is one of Orthanc's messages."""
    try:
        said = await answer.json(content_type=None)
        reason = str(said.get("Details") or said.get("Message") or "")
    except (aiohttp.ClientError, ValueError, AttributeError, TimeoutError):
        return ""
    return f": {reason[:200]}" if reason else ""


def _kind(error: Exception) -> str:
    return type(error).__name__
