"""Passing instances on to a DICOMweb service: STOW-RS as user agent (PS3.18 10.5).

Some instances of a study go in one request. Its body is written while it is sent, from the
files of the store, so that the size of a study costs no memory.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import aiohttp

from hilum import __version__
from hilum.core.errors import HilumError, Invalid, NotFound, PeerUnreachable, Temporary
from hilum.http.outgoing.client import Client, reason_of, retry_after_seconds
from hilum.http.outgoing.stow_answer import Outcome, outcomes
from hilum.index.stored import StoredInstance
from hilum.services.retrieve import Retrieve

_USER_AGENT: Final = f"Hilum/{__version__}"
_DICOM_JSON: Final = "application/dicom+json"
#: Of one request: what a service takes at once, and what is sent again if it breaks off.
_MOST_INSTANCES: Final = 50
_MOST_BYTES: Final = 256 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024
_LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024
_CONNECT_SECONDS: Final = 10.0
#: Neither is anything taken, nor answered, for so long. A service answers when all is stored.
_SILENCE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class DicomWebService:
    """A service that instances are passed on to. For the loop.

    Parameters
    ----------
    name
        By which the settings know it.
    url
        Its root; ``/studies`` is below it.
    client
        Closed by whoever has opened it.
    retrieve
        Where the instances are.
    headers
        Of every request; that of `authorization` among them, if the service asks who comes.
    """

    name: str
    url: str
    client: Client
    retrieve: Retrieve
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    silence_seconds: float = _SILENCE_SECONDS

    @property
    def description(self) -> str:
        """What this is, for people."""
        return f"STOW-RS to {self.name} ({self.url})"

    async def sender(self) -> None:
        """See `hilum.services.routing.Destination.sender`: it has no AE title."""

    async def send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        """Send instances of one study; return for each what is wrong, None if the service has it.

        `Temporary` and `Invalid` as `outcomes` says, `PeerUnreachable` if there was no answer,
        `NotFound` if the file is gone.
        """
        results: list[HilumError | None] = []
        for group in _groups(instances):
            results += await self._send(group)
            if isinstance(results[-1], PeerUnreachable):
                return results + [results[-1]] * (len(instances) - len(results))
        return results

    async def close(self) -> None:
        """Do nothing: connections are the client's."""

    async def _send(self, group: Sequence[StoredInstance]) -> list[Outcome]:
        """Send a group; if it is refused as a whole, find out for which instances."""
        try:
            results = await self._post(group)
        except NotFound as error:
            if len(group) == 1:
                return [error]
        except Temporary as error:
            return [error] * len(group)
        else:
            as_a_whole = isinstance(results[0], Invalid) and len(set(map(id, results))) == 1
            if len(group) == 1 or not as_a_whole:
                return results
        half = len(group) // 2
        return [*await self._send(group[:half]), *await self._send(group[half:])]

    async def _post(self, group: Sequence[StoredInstance]) -> list[Outcome]:
        """Send a group in one request.

        Raises
        ------
        NotFound
            A file is gone; nothing was sent.
        PeerUnreachable
            There is nobody, or nobody who answers.
        Temporary
            The connection broke.
        """
        with ExitStack() as files:
            opened = await asyncio.to_thread(self._open, group, files)
            body = _Body(opened)
            try:
                async with asyncio.timeout(self.silence_seconds) as limit:
                    return await self._exchange(group, body, limit)
            except TimeoutError:
                raise PeerUnreachable(f"silent for {self.silence_seconds:g} s") from None
            except aiohttp.ClientConnectorError as error:
                raise PeerUnreachable(reason_of(error)) from None
            except (aiohttp.ClientError, OSError) as error:
                # It was there. If it is these instances that it cannot bear, the others must
                # not wait for them.
                raise Temporary(reason_of(error)) from None

    def _open(self, group: Sequence[StoredInstance], files: ExitStack) -> list[BinaryIO]:
        return [files.enter_context(self.retrieve.open(instance)) for instance in group]

    async def _exchange(
        self, group: Sequence[StoredInstance], body: "_Body", limit: asyncio.Timeout
    ) -> list[Outcome]:
        async with self.client.post(
            f"{self.url}/studies",
            data=body.pieces(limit, self.silence_seconds),
            headers={
                **self.headers,
                "Accept": _DICOM_JSON,
                "Content-Type": body.content_type,
                "Content-Length": str(body.size_bytes),
                "User-Agent": _USER_AGENT,
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            allow_redirects=False,
        ) as answer:
            said = await _read(answer)
            uids = [instance.identity.sop_instance_uid for instance in group]
            results = outcomes(answer.status, said, uids)
            after = retry_after_seconds(answer.headers.get("Retry-After"))
            for result in results:
                if isinstance(result, Temporary):
                    result.retry_after_seconds = after
            return results


def authorization(name: str, password: str) -> dict[str, str]:
    """Return the header by which a user says who he is (RFC 7617, in UTF-8)."""
    return {"Authorization": aiohttp.encode_basic_auth(name, password, "utf-8")}


class _Body:
    """A multipart body of files, of known size."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        boundary = secrets.token_hex(16)
        self._files = files
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"--{boundary}--\r\n".encode()
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        sizes = [os.fstat(file.fileno()).st_size for file in files]
        self.size_bytes = sum(sizes) + len(files) * (len(self._head) + 2) + len(self._tail)

    async def pieces(self, limit: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
        """Yield the body; every piece that is taken moves the time limit."""
        loop = asyncio.get_running_loop()
        for file in self._files:
            yield self._head
            while data := await asyncio.to_thread(file.read, _READ_BYTES):
                yield data
                limit.reschedule(loop.time() + seconds)
            yield b"\r\n"
        yield self._tail


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer as far as it is of any use."""
    pieces = []
    size = 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > _LARGEST_ANSWER_BYTES:
            raise PeerUnreachable("an answer without end")
    return b"".join(pieces)


def _groups(instances: Sequence[StoredInstance]) -> list[list[StoredInstance]]:
    """Divide instances into those of one request each."""
    groups: list[list[StoredInstance]] = []
    size = 0
    for instance in instances:
        size += instance.blob.size_bytes
        if not groups or len(groups[-1]) >= _MOST_INSTANCES or size > _MOST_BYTES:
            groups.append([])
            size = instance.blob.size_bytes
        groups[-1].append(instance)
    return groups
