"""Decoding in processes that may die: codecs are C, and strangers feed them.

Each helper (`hilum.imaging.helper`) reads the file itself and hands back the finished
picture, so that little is copied. One that crashes or overruns its time is replaced; no
other piece of work notices. Helpers are started when first needed: as many as there are
processors, and some more while there is work that takes long (`hilum.imaging.turns`).
"""

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hilum.core.errors import Corrupt, HilumError, Temporary
from hilum.core.instance import PixelData
from hilum.imaging.helper import DOMAIN_ERROR, LENGTH, READY, RESULT
from hilum.imaging.picture import draw
from hilum.imaging.rendering import Rendering
from hilum.imaging.turns import Turn, Turns

#: Address space of a helper: some 200 MB that it begins with, and 1 GB for the work. The
#: largest mammograms and slides take a third of that.
MEMORY_BYTES: Final = (1 << 30) + (256 << 20)

#: Helpers that may be busy with what takes long, for each of the others.
_SLOW_FACTOR: Final = 2
_START_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 1 << 16
#: Helpers work side by side; threads of their own would only get in each other's way.
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class HelperDied(Exception):
    """A helper ended in the middle of its work."""


class DecodeWorkers:
    """A pool of helper processes, for one event loop.

    Parameters
    ----------
    processes
        How many do quick work, and how much one owner has in hand; as many as there are
        processors if not said. Twice as many again may be busy with slow work.
    timeout_seconds
        For one piece of work, from its start in a helper on.
    """

    def __init__(self, processes: int | None = None, timeout_seconds: float = 30.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._processes = processes or os.cpu_count() or 1
        self._turns = Turns(self._processes, _SLOW_FACTOR * self._processes)
        self._idle: list[_Helper] = []
        self._work: set[asyncio.Task[bytes]] = set()
        self._stopped = False

    async def picture(
        self,
        path: Path,
        pixel_data: PixelData,
        transfer_syntax_uid: str,
        data_set_offset: int,
        frame_index: int,
        rendering: Rendering,
        *,
        owner: str = "",
    ) -> bytes:
        """Return one frame of a file as a picture: `draw`, in a helper.

        Parameters
        ----------
        owner
            As of `call`.

        Raises
        ------
        Corrupt
            Besides `draw`'s own reasons: the codec crashed, or took too long.
        NotFound, Invalid, Unsupported
            As of `draw`.
        Temporary
            The helpers are being stopped, or cannot be started.
        """
        return await self.call(
            draw,
            path,
            pixel_data,
            transfer_syntax_uid,
            data_set_offset,
            frame_index,
            rendering,
            owner=owner,
        )

    async def call(
        self,
        function: Callable[..., bytes | None],
        *arguments: Any,
        timeout_seconds: float | None = None,
        owner: str = "",
    ) -> bytes:
        """Return what a module-level function returns in a helper, which may die of it.

        Parameters
        ----------
        function, arguments
            Both are pickled; the result is bytes, or None for nothing.
        timeout_seconds
            For this piece of work, if it may take longer than others.
        owner
            Whose work it is, such as the series that is looked at: owners get their turns one
            after the other, however much each has queued. Of a name each function has if
            nothing is said.

        Raises
        ------
        HilumError
            Of the class and with the message that the function raised.
        Corrupt
            The helper crashed, twice, or the function took too long.
        Temporary
            The helpers are being stopped, or cannot be started.
        RuntimeError
            The function raised what is no domain error.

        Notes
        -----
        A caller that is cancelled while waiting for a helper takes its work with it;
        work that has begun is finished, for to kill a helper costs more than that.
        """
        request = pickle.dumps((function, arguments))
        turn = await self._turns.take(owner or function.__qualname__)
        if self._stopped:
            turn.end()
            raise Temporary("the decoders are being stopped")
        seconds = timeout_seconds or self._timeout_seconds
        work = asyncio.create_task(self._do(request, turn, seconds))
        self._work.add(work)
        work.add_done_callback(lambda work: self._done(work, turn))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled() and self._stopped:
                raise Temporary("the decoders were stopped") from None
            raise

    async def stop(self) -> None:
        """End the helpers; work in hand fails. Idempotent."""
        self._stopped = True
        for work in tuple(self._work):
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        while self._idle:
            await self._idle.pop().end()

    def _done(self, work: asyncio.Task[bytes], turn: Turn) -> None:
        self._work.discard(work)
        turn.end()
        if not work.cancelled():
            # Looked at, so that nobody complains where the caller has gone away.
            work.exception()

    async def _do(self, request: bytes, turn: Turn, timeout_seconds: float) -> bytes:
        try:
            try:
                answer = await self._ask(request, turn, timeout_seconds)
            except HelperDied:
                # Perhaps it died of something else, such as want of memory elsewhere.
                answer = await self._ask(request, turn, timeout_seconds)
        except HelperDied as error:
            raise Corrupt(f"the decoder crashed over this frame ({error})") from error
        except TimeoutError as error:
            raise Corrupt(f"decoding took longer than {timeout_seconds:g} s") from error
        return _result(answer)

    async def _ask(self, request: bytes, turn: Turn, timeout_seconds: float) -> bytes:
        helper = self._idle.pop() if self._idle else await _Helper.start()
        turn.begin()
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await helper.ask(request)
        except BaseException:
            await helper.end()
            raise
        if len(self._idle) < self._processes:
            self._idle.append(helper)
        else:
            await helper.end()
        return answer


class _Helper:
    """One helper process, seen from the node."""

    def __init__(self, process: Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests = process.stdin
        self._answers = process.stdout

    @classmethod
    async def start(cls) -> "_Helper":
        """Start a process, and wait until it is ready."""
        command = (sys.executable, "-m", "hilum.imaging.helper", str(MEMORY_BYTES))
        try:
            # A group of its own: a Ctrl-C at the terminal is for the node to handle.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                env={**os.environ, **_ENVIRONMENT},
                process_group=0,
            )
        except OSError as error:
            raise Temporary(f"no decoder can be started: {error.strerror}") from error
        helper = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                greeting = await helper._receive()
        except (HelperDied, TimeoutError) as error:
            await helper.end()
            raise Temporary(f"a decoder does not start: {error}") from error
        except BaseException:
            await helper.end()
            raise
        assert greeting == READY
        return helper

    async def ask(self, request: bytes) -> bytes:
        """Return the answer to a request.

        Raises
        ------
        HelperDied
            The process ended before it answered.
        """
        try:
            self._requests.writelines((LENGTH.pack(len(request)), request))
            await self._requests.drain()
        except ConnectionError as error:
            raise HelperDied(await self._obituary()) from error
        return await self._receive()

    async def _receive(self) -> bytes:
        try:
            (length,) = LENGTH.unpack(await self._answers.readexactly(LENGTH.size))
            return await self._answers.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise HelperDied(await self._obituary()) from error

    async def _obituary(self) -> str:
        status = await self._ended()
        return signal.strsignal(-status) or "killed" if status < 0 else f"exit status {status}"

    async def end(self) -> None:
        """Kill the process, if it is alive, and wait for its end."""
        if self._process.returncode is None:
            self._process.kill()
        self._requests.close()
        await self._ended()

    async def _ended(self) -> int:
        """Wait for the end, and return the exit status."""
        # asyncio reports an end only when the pipes are at theirs too, and it stops reading
        # one that is full: with an answer that nobody takes any more, it would wait for ever.
        while await self._answers.read(_PIECE_BYTES):
            pass
        return await self._process.wait()


def _result(answer: bytes) -> bytes:
    kind, body = answer[:1], answer[1:]
    if kind == RESULT:
        return body
    text = body.decode(errors="replace")
    if kind == DOMAIN_ERROR:
        code, _, message = text.partition("\0")
        raise _error_class(code)(message)
    raise RuntimeError(f"a decoder failed: {text}")


def _error_class(code: str) -> type[HilumError]:
    classes = [HilumError]
    for cls in classes:
        if cls.code == code:
            return cls
        classes += cls.__subclasses__()
    return HilumError
