"""The body of an upload, from the socket to the spool, and the wait until it can be found.

The body is read in pieces of about a megabyte; while a thread writes and hashes one, the
next arrives. Whatever the size of a body, no more than two pieces are in memory, and one
thread works on it at a time.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog
from aiohttp import StreamReader, web

from hilum.core.errors import HilumError, Temporary
from hilum.http.auth import USER
from hilum.http.multipart import Malformed
from hilum.http.reception import CLIENT, Arrival, Reception
from hilum.index.upload_log import Upload, UploadLog
from hilum.services.ingest import Ingest, Receipt

T = TypeVar("T")

log = structlog.get_logger(__name__)

_PIECE_BYTES: Final = 1 << 20
#: Uploads at work at the same time; more wait, their connections open.
_THREADS: Final = 8
#: How long a client may keep the node waiting for the next bytes of the body.
IDLE_SECONDS: Final = 60.0
#: How long the answer waits for the index; what is not in it then is safe all the same.
VISIBLE_SECONDS: Final = 30.0
#: Studies of an upload that its log names.
_STUDIES_TOLD: Final = 20
_BEGUN: Final = web.RequestKey("begun", float)


class Intake:
    """Receives uploads, of whatever kind, in threads of its own."""

    def __init__(
        self,
        ingest: Ingest,
        upload_log: UploadLog | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        visible_seconds: float = VISIBLE_SECONDS,
    ) -> None:
        self.ingest = ingest
        self._upload_log = upload_log
        self._idle_seconds = idle_seconds
        self._visible_seconds = visible_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")

    async def close(self, _app: web.Application) -> None:
        """Stop the threads when the last upload is done (`web.Application.on_cleanup`)."""
        await asyncio.to_thread(self._threads.shutdown)

    async def receive(
        self, request: web.Request, reception: Reception, *codings: str
    ) -> list[Arrival]:
        """Feed the body of `request` to `reception`, and return what became of its files.

        Parameters
        ----------
        codings
            How the body may be compressed as a whole, for `reception` to unpack it.

        Raises
        ------
        aiohttp.web.HTTPUnsupportedMediaType
            The body is compressed as a whole, in another way.
        aiohttp.web.HTTPRequestTimeout
            It stopped coming.

        Notes
        -----
        `reception` is closed in any case.
        """
        request[_BEGUN] = time.monotonic()
        CLIENT.set(request.remote or "")
        if coding_of(request) not in {"identity", *codings}:
            raise web.HTTPUnsupportedMediaType(text="the upload is compressed as a whole")
        try:
            await self._feed(request.content, reception)
        finally:
            # In the threads, after whatever of this upload is still at work there.
            await self.call(reception.close)
        return reception.arrivals

    async def settled(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Wait until what was accepted can be found, and tell what could not be stored."""
        # Not `Ingest.wait_visible`: with MongoDB away the waiting would use up the threads.
        outcomes = [
            asyncio.wrap_future(arrival.result.outcome)
            for arrival in arrivals
            if isinstance(arrival.result, Receipt)
        ]
        if outcomes:
            self.ingest.hurry()
            done, _ = await asyncio.wait(outcomes, timeout=self._visible_seconds)
            for outcome in done:
                outcome.exception()  # asyncio complains of one that nobody has looked at
        return [_with_outcome(arrival) for arrival in arrivals]

    async def record(self, kind: str, request: web.Request, arrivals: Sequence[Arrival]) -> None:
        """Write down what became of an upload: in the node's log, and in the log of uploads."""
        upload = _upload(kind, request, arrivals)
        log.info(kind, files=upload.files, **upload.outcomes)
        if self._upload_log is not None:
            try:
                await self._upload_log.add(upload)
            except Temporary as error:
                # The files are safe, which is what the client is told.
                log.warning("upload not written down", kind=kind, reason=str(error))

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call `function` in one of the threads."""
        return await self._start(function, *arguments)

    async def _feed(self, content: StreamReader, reception: Reception) -> None:
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
        await self.call(reception.finish, fault)

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

    def _start(self, function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        # With its context: a thread must know on whose request it is at work.
        run = copy_context().run
        return asyncio.get_running_loop().run_in_executor(self._threads, run, function, *arguments)


def coding_of(request: web.Request) -> str:
    """Return how a body is compressed as a whole: ``identity`` if it is not."""
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def _upload(kind: str, request: web.Request, arrivals: Sequence[Arrival]) -> Upload:
    receipts = [each.result for each in arrivals if isinstance(each.result, Receipt)]
    studies = dict.fromkeys(each.header.identity.study_instance_uid for each in receipts)
    return Upload(
        at=datetime.now(UTC),
        kind=kind,
        user=request.get(USER),
        client=request.remote,
        files=len(arrivals),
        size_bytes=sum(receipt.blob.size_bytes for receipt in receipts),
        seconds=round(time.monotonic() - request[_BEGUN], 3),
        outcomes=Counter(_outcome(arrival.result) for arrival in arrivals),
        study_instance_uids=tuple(studies)[:_STUDIES_TOLD],
    )


def _outcome(result: Receipt | HilumError) -> str:
    """Return in a word what became of a file."""
    if isinstance(result, HilumError):
        return result.code
    return result.outcome.result().value if result.outcome.done() else "accepted"


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
    fault.sop_class_uid = result.header.sop_class_uid
    fault.sop_instance_uid = result.header.identity.sop_instance_uid
    return replace(arrival, result=fault)
