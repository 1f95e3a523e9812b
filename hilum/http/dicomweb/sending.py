"""Bytes and parts of files onto a connection: in threads, and little at a time in memory.

An answer of gigabytes takes no more memory than one of kilobytes, and neither a slow disk
nor a slow client keeps anybody else waiting: the event loop only waits until the socket
takes more. A thread does the rest, for as long as it does.

Read and written, not by ``sendfile``: to a client on the same machine a study takes a third
longer that way (`hilum.scp.outflow` is of the same mind).
"""

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import BinaryIO, Final, TypeAlias

from aiohttp import web

from hilum.core.errors import Corrupt

#: How long a thread goes on before others get their turn.
_TURN_SECONDS: Final = 0.2
#: How long it waits for a client that is nearly as fast; the loop waits for slower ones.
_LINGER_MILLISECONDS: Final = 20
#: A client that takes nothing for so long is gone, or might as well be.
_PATIENCE_SECONDS: Final = 120.0
#: Of a file, read at a time: a slice with one system call.
_BLOCK_BYTES: Final = 1 << 20
_MORE: Final = getattr(socket, "MSG_MORE", 0)


@dataclass(frozen=True, slots=True)
class FileRange:
    """Consecutive bytes of a file that is opened when its turn comes."""

    open: Callable[[], BinaryIO]
    offset: int
    size: int
    name: str = "a stored file"
    """What it is, for messages."""


Piece: TypeAlias = bytes | FileRange


def size_of(piece: Piece) -> int:
    """Return the number of bytes."""
    return len(piece) if isinstance(piece, bytes) else piece.size


def part_of(pieces: Iterable[Piece], start: int, stop: int) -> Iterator[Piece]:
    """Yield what lies from byte `start` up to `stop` of all the pieces together."""
    position = 0
    for piece in pieces:
        size = size_of(piece)
        first, last = max(start - position, 0), min(stop - position, size)
        position += size
        if first >= last:
            continue
        if isinstance(piece, bytes):
            yield piece[first:last]
        else:
            yield replace(piece, offset=piece.offset + first, size=last - first)


class Sending:
    """Writes to the connection of a response that has been prepared; from `sending`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pieces: Iterator[Piece] = iter(())
        self._block = memoryview(b"")
        self._data = memoryview(b"")  # of the piece: read, and not sent
        self._file: BinaryIO | None = None
        self._name = ""
        self._offset = 0
        self._left = 0
        self._cancelled = False
        self.sent_bytes = 0
        """So far."""

    async def send(self, pieces: Iterable[Piece]) -> None:
        """Send all of `pieces`.

        Raises
        ------
        ConnectionError
            The client is gone.
        HilumError
            A file is not there, shorter than it should be, or cannot be read: part of the
            answer is sent, and the connection cannot be used any more.
        """
        self._pieces = iter(pieces)
        loop = asyncio.get_running_loop()
        try:
            while True:
                turn = loop.run_in_executor(None, self._take_turn)
                try:
                    done, blocked = await asyncio.shield(turn)
                except asyncio.CancelledError:
                    self._cancelled = True
                    await asyncio.wait([turn])  # it has the connection and the file in its hands
                    raise
                if done:
                    return
                if blocked:
                    await self._writable()
        finally:
            self._close_file()

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        descriptor = self._connection.fileno()
        loop.add_writer(descriptor, event.set)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await event.wait()
        except TimeoutError as error:
            raise ConnectionAbortedError("the client takes nothing") from error
        finally:
            loop.remove_writer(descriptor)

    def _take_turn(self) -> tuple[bool, bool]:
        """Send for a while, in a thread; return whether all is sent, and whether to wait."""
        end = monotonic() + _TURN_SECONDS
        poll: select.poll | None = None
        while not self._cancelled:
            if not self._left and not self._next():
                return True, False
            try:
                self._send_some()
            except BlockingIOError:
                if poll is None:
                    poll = select.poll()
                    poll.register(self._connection, select.POLLOUT)
                if not poll.poll(_LINGER_MILLISECONDS):
                    return False, True
            if monotonic() > end:
                break
        return False, False

    def _send_some(self) -> None:
        if not self._data:
            self._data = self._read()
        sent = self._connection.send(self._data, _MORE)
        self._data = self._data[sent:]
        self._left -= sent
        self.sent_bytes += sent

    def _read(self) -> memoryview:
        """Return the next bytes of the piece's file."""
        assert self._file is not None
        if not self._block:
            self._block = memoryview(bytearray(_BLOCK_BYTES))
        count = os.preadv(self._file.fileno(), [self._block[: self._left]], self._offset)
        if not count:
            raise Corrupt(f"{self._name} ends {self._left} bytes early")
        self._offset += count
        return self._block[:count]

    def _next(self) -> bool:
        """Begin with the next piece that is not empty; return whether there is one."""
        self._close_file()
        for piece in self._pieces:
            self._left = size_of(piece)
            if not self._left:
                continue
            if isinstance(piece, bytes):
                self._data = memoryview(piece)
            else:
                self._data = memoryview(b"")
                self._name = piece.name
                self._file = piece.open()
                self._offset = piece.offset
            return True
        return False

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@asynccontextmanager
async def sending(request: web.Request, response: web.StreamResponse) -> AsyncIterator[Sending]:
    """Prepare `response` and have its connection to write the body to; then end the body.

    An error inside ends the connection: what was begun cannot be taken back.
    """
    writer = await response.prepare(request)
    transport = request.transport
    assert writer is not None
    if transport is None:
        raise ConnectionResetError("the client is gone")
    # What is sent here would go round the encryption.
    assert transport.get_extra_info("ssl_object") is None
    try:
        transport.set_write_buffer_limits(high=0)
        writer.send_headers()
        await writer.drain()
        connection: socket.socket = transport.get_extra_info("socket").dup()
        with connection:
            body = Sending(connection)
            yield body
            writer.output_size += body.sent_bytes  # for the access log
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # let the rest go
        transport.set_write_buffer_limits()
        await response.write_eof()
    except BaseException:
        transport.abort()
        raise
