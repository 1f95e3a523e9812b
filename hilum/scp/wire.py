"""A TCP connection as the upper layer needs it: large reads, no copies, time limits.

Bytes arrive in one preallocated buffer. What is handed out of it is a view, so that a data
set goes from the socket to the spool without being assembled, however large it is.
"""

import mmap
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from hilum.core.errors import PeerUnreachable

# Holds two PDUs of the size that is announced by default.
_BUFFER_BYTES: Final = 256 * 1024

#: How often whoever waits for a peer may look after something else.
TICK_SECONDS: Final = 0.2

_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


class AssociationLost(PeerUnreachable):
    """The association came to an end, or will, without having been released by us."""

    code: ClassVar[str] = "association-lost"


class ConnectionLost(AssociationLost):
    """The peer closed the connection, or the network did."""


class Silence(AssociationLost):
    """Nothing came, or nothing could be sent, within the time allowed."""


class Wire:
    """Buffered reading and unbuffered writing over one connected socket.

    One thread reads and writes; only `interrupt` may be called from another.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # Mapped, not allocated: pages that nothing was received into cost no memory, and a
        # thousand silent connections next to none.
        self._view = memoryview(mmap.mmap(-1, _BUFFER_BYTES, flags=_PRIVATE))
        self._start = 0
        self._end = 0
        self._deadline: float | None = None
        self._timeout_seconds: float | None = None
        # The kernel keeps the time: Python's own time limits ask it with poll(2) before
        # every read and write, twice the system calls.
        connection.settimeout(None)
        self._limits_set: dict[int, float | None] = {}
        if connection.family in {socket.AF_INET, socket.AF_INET6}:
            # Replies are small and final: waiting to fill a segment costs 40 ms an instance.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer that was switched off says nothing; the kernel finds out.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def allow(self, each_seconds: float | None = None, total_seconds: float | None = None) -> None:
        """Limit the time of what follows.

        Parameters
        ----------
        each_seconds
            How long one read or write may wait. None: forever.
        total_seconds
            How long everything up to the next call of `allow` may take. None: forever.
        """
        self._timeout_seconds = each_seconds
        self._deadline = None if total_seconds is None else time.monotonic() + total_seconds

    def readable(self, wait_seconds: float = 0.0) -> bool:
        """Return whether a read would find something (the end of the stream included)."""
        if self._start < self._end:
            return True
        # Not select(): that one cannot name a descriptor above 1023.
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(wait_seconds * 1000))
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"connection lost: {error}") from error

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Return the fields of the next bytes: a header.

        Raises
        ------
        ConnectionLost, Silence
            They did not come.
        """
        start, end = self._start, self._start + layout.size
        if end > self._end:  # cut by the buffer's end, or still to come
            return layout.unpack(self.read(layout.size))
        self._start = end
        return layout.unpack_from(self._view, start)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises
        ------
        ConnectionLost, Silence
            They did not come.
        """
        parts = bytearray()
        while len(parts) < size:
            parts += self.read_some(size - len(parts))
        return bytes(parts)

    def read_some(self, limit: int) -> memoryview:
        """Return between one and `limit` bytes: a view that holds until the next read.

        Raises
        ------
        ConnectionLost, Silence
            None came.
        """
        if self._start == self._end:
            self._fill()
        end = min(self._end, self._start + limit)
        data = self._view[self._start : end]
        self._start = end
        return data

    def write(
        self,
        data: bytes | bytearray | memoryview,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Send all of `data`.

        Parameters
        ----------
        meanwhile
            Called now and then while the peer takes nothing, and when it has taken some.

        Raises
        ------
        ConnectionLost, Silence
            Not all of it was taken.
        """
        try:
            if meanwhile is None:
                self._limit(socket.SO_SNDTIMEO, self._timeout_seconds)
                self._socket.sendall(data)
            else:
                self._write_patiently(memoryview(data), meanwhile)
        except BlockingIOError as error:
            raise Silence("the peer takes no more data") from error
        except OSError as error:
            raise ConnectionLost(f"connection lost: {error.strerror or error}") from error

    def _write_patiently(self, data: memoryview, meanwhile: Callable[[], None]) -> None:
        poll: select.poll | None = None
        progress = time.monotonic()
        while data:
            try:
                data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
                progress = time.monotonic()
            except BlockingIOError:
                # Only now: mostly there is room, and nobody has to ask for it.
                if poll is None:
                    poll = select.poll()
                    poll.register(self._socket, select.POLLOUT)
                poll.poll(TICK_SECONDS * 1000)
                if self._timeout_seconds and time.monotonic() - progress > self._timeout_seconds:
                    raise
            meanwhile()

    def interrupt(self) -> None:
        """Make a read under way in another thread end; writing stays possible."""
        with suppress(OSError):  # already gone: nobody is reading
            self._socket.shutdown(socket.SHUT_RD)

    def hang_up(self, seconds: float) -> None:
        """Say that nothing more will be written, and wait for the peer to close.

        Closing at once could destroy the last PDU on its way: a kernel that holds unread
        data resets the connection (PS3.8 9.2, Sta13).
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self.await_close(seconds)

    def await_close(self, seconds: float) -> None:
        """Discard what still comes until the peer has closed, or `seconds` are over."""
        self.allow(each_seconds=seconds, total_seconds=seconds)
        with suppress(AssociationLost):
            while True:
                self._fill()

    def close(self) -> None:
        """Close the connection; harmless if it is closed."""
        self._socket.close()

    def _fill(self) -> None:
        self._start = self._end = 0
        seconds = self._timeout_seconds
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise Silence("the peer took too long")
            seconds = min(left, seconds or left)
        try:
            self._limit(socket.SO_RCVTIMEO, seconds)
            count = self._socket.recv_into(self._view)
        except BlockingIOError as error:
            raise Silence("the peer is silent") from error
        except OSError as error:
            raise ConnectionLost(f"connection lost: {error.strerror or error}") from error
        if not count:
            raise ConnectionLost("the peer closed the connection")
        self._end = count
        if _QUICK_ACK is not None and count < _BUFFER_BYTES:
            # Equipment with Nagle's algorithm on sends the head of a PDU, and the rest of
            # it when that is acknowledged: not 40 ms later. The kernel forgets the option,
            # so it is given again whenever there was no more to read.
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _limit(self, option: int, seconds: float | None) -> None:
        """Limit the time of each read or write, where it is another limit than before."""
        if option not in self._limits_set or self._limits_set[option] != seconds:
            whole, fraction = divmod(seconds or 0.0, 1)
            # A limit of nothing would be none at all.
            microseconds = int(fraction * 1e6) or int(seconds is not None and not whole)
            limit = struct.pack("@ll", int(whole), microseconds)
            self._socket.setsockopt(socket.SOL_SOCKET, option, limit)
            self._limits_set[option] = seconds
