"""``POST /api/dicom/upload``: files from a browser or a back end, straight to the spool.

The body is read in pieces of about a megabyte; while a thread writes and hashes one, the
next arrives. The answer is given when what was uploaded can be found.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

import structlog
from aiohttp import StreamReader, web

from hilum.core.errors import HilumError, Invalid
from hilum.http.multipart import Malformed, boundary_of
from hilum.http.overrides import Overrides, Patient
from hilum.http.reception import Arrival, Reception, arrived
from hilum.http.upload_json import upload_response
from hilum.services.ingest import Ingest, Receipt
from hilum.services.retrieve import Retrieve

T = TypeVar("T")

log = structlog.get_logger(__name__)

_PIECE_BYTES: Final = 1 << 20
#: Uploads at work at the same time; more wait, their connections open.
_THREADS: Final = 8
#: How long a client may keep the node waiting for the next bytes of the body.
IDLE_SECONDS: Final = 60.0
#: How long the answer waits for the index; what is not in it then is safe all the same.
VISIBLE_SECONDS: Final = 30.0


class Uploads:
    """Takes uploads in."""

    def __init__(
        self,
        ingest: Ingest,
        retrieve: Retrieve,
        *,
        idle_seconds: float = IDLE_SECONDS,
        visible_seconds: float = VISIBLE_SECONDS,
    ) -> None:
        self._ingest = ingest
        self._overrides = Overrides(ingest, retrieve)
        self._idle_seconds = idle_seconds
        self._visible_seconds = visible_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [web.post("/api/dicom/upload", self._upload)]

    async def close(self, _app: web.Application) -> None:
        """Stop the threads when the last upload is done (`web.Application.on_cleanup`)."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _upload(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            raise web.HTTPUnsupportedMediaType(text="an upload is multipart/form-data")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise web.HTTPUnsupportedMediaType(text="an upload is not compressed as a whole")
        reception = Reception(self._ingest, boundary_of(request.headers["Content-Type"]))
        try:
            await self._receive(request.content, reception)
            patient = _patient(reception.fields)
            arrivals = await self._settled(reception.arrivals)
            if patient:
                arrivals = [await self._overridden(arrival, patient) for arrival in arrivals]
                arrivals = await self._settled(arrivals)
        finally:
            # In the threads, after whatever of this upload is still at work there.
            await self._call(reception.close)
        if not arrivals:
            raise Invalid("the upload has no part with a file")
        _log(arrivals)
        return upload_response(arrivals)

    async def _receive(self, content: StreamReader, reception: Reception) -> None:
        """Feed the body to `reception`, the next piece arriving while one is written."""
        fault: HilumError | None = None
        writing: asyncio.Future[None] | None = None
        try:
            async for piece in self._pieces(content):
                if writing is not None:
                    await writing
                writing = self._start(reception.feed, piece)
            if writing is not None:
                await writing
        except Malformed as error:
            fault = error
        finally:
            if writing is not None:
                await asyncio.wait([writing])
        await self._call(reception.finish, fault)

    async def _pieces(self, content: StreamReader) -> AsyncIterator[bytes]:
        gathered: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    data = await content.readany()
            except TimeoutError as error:
                raise web.HTTPRequestTimeout(text="the upload stopped coming") from error
            gathered.append(data)
            size += len(data)
            if size >= _PIECE_BYTES or (not data and size):
                yield b"".join(gathered)
                gathered.clear()
                size = 0
            if not data:
                return

    async def _settled(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Wait until what was accepted can be found, and tell what could not be stored."""
        # Not `Ingest.wait_visible`: with MongoDB away the waiting would use up the threads.
        outcomes = [
            asyncio.wrap_future(arrival.result.outcome)
            for arrival in arrivals
            if isinstance(arrival.result, Receipt)
        ]
        if outcomes:
            self._ingest.hurry()
            done, _ = await asyncio.wait(outcomes, timeout=self._visible_seconds)
            for outcome in done:
                outcome.exception()  # asyncio complains of one that nobody has looked at
        return [_with_outcome(arrival) for arrival in arrivals]

    async def _overridden(self, arrival: Arrival, patient: Patient) -> Arrival:
        receipt = arrival.result
        if not isinstance(receipt, Receipt):
            return arrival
        try:
            instance = await self._overrides.find(receipt)
            made = await self._call(self._overrides.make, instance, patient)
        except HilumError as error:
            return replace(arrival, result=error)
        original = receipt.header.identity.sop_instance_uid
        return replace(arrived(arrival.name, made), original=original)

    def _start(self, function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await self._start(function, *arguments)


def _patient(fields: dict[str, str]) -> Patient:
    return Patient(fields.get("patientID") or None, fields.get("patientName") or None)


def _with_outcome(arrival: Arrival) -> Arrival:
    """Return `arrival` as a failure if the store or the index did not take it in the end."""
    result = arrival.result
    if isinstance(result, HilumError) or not result.outcome.done():
        return arrival
    fault = result.outcome.exception()
    if fault is None:
        return arrival
    if not isinstance(fault, HilumError):
        fault = HilumError("the node could not store the file; it is kept in quarantine")
    return replace(arrival, result=fault)


def _log(arrivals: list[Arrival]) -> None:
    codes: dict[str, int] = {}
    for arrival in arrivals:
        code = arrival.result.code if isinstance(arrival.result, HilumError) else "stored"
        codes[code] = codes.get(code, 0) + 1
    log.info("upload", files=len(arrivals), **codes)
