"""A tap on the wire: passes an association on, and tells afterwards what went through it.

Knows just enough of PS3.8 9.3 and Annex E to put data sets together, and shares no code with
the node.
"""

import contextlib
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator


class Wiretap:
    """Records both directions of every connection to a port."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._recorded: list[tuple[bytearray, bytearray]] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def data_sets(self) -> Iterator[tuple[str, bytes]]:
        """Yield the transfer syntax and the bytes of every data set the callers sent."""
        for sent, answered in self._recorded:
            transfer_syntaxes = accepted_contexts(bytes(answered))
            for context_id, data_set in data_sets(bytes(sent)):
                yield transfer_syntaxes[context_id], data_set

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        for end in self._sockets:
            end.close()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            node = socket.create_connection(self._target)
            record = (bytearray(), bytearray())
            self._recorded.append(record)
            self._sockets += (caller, node)
            for end in (caller, node):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(_pass_on, caller, node, record[0])
            self._start(_pass_on, node, caller, record[1])


def _pass_on(source: socket.socket, target: socket.socket, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            record += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _pdus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 6 <= len(stream):
        kind, length = struct.unpack_from(">BxL", stream, offset)
        yield kind, stream[offset + 6 : offset + 6 + length]
        offset += 6 + length


def accepted_contexts(stream: bytes) -> dict[int, str]:
    """Return the transfer syntaxes an A-ASSOCIATE-AC accepts, by context id."""
    accepted: dict[int, str] = {}
    for kind, body in _pdus(stream):
        offset = 68
        while kind == 2 and offset + 4 <= len(body):
            item, length = struct.unpack_from(">BxH", body, offset)
            content = body[offset + 4 : offset + 4 + length]
            if item == 0x21 and content[2] == 0:
                accepted[content[0]] = content[8:].decode("ascii").rstrip("\0 ")
            offset += 4 + length
    return accepted


def data_sets(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield context id and bytes of the data sets in one direction of an association."""
    parts: dict[int, bytearray] = defaultdict(bytearray)
    for kind, body in _pdus(stream):
        offset = 0
        while kind == 4 and offset + 6 <= len(body):
            length, context_id, control = struct.unpack_from(">LBB", body, offset)
            if not control & 1:  # a data set, not a command
                parts[context_id] += body[offset + 6 : offset + 4 + length]
                if control & 2:
                    yield context_id, bytes(parts.pop(context_id))
            offset += 4 + length


@contextlib.contextmanager
def tapped(target_port: int) -> Iterator[Wiretap]:
    """Listen in on what is sent to `target_port` by way of the tap's own port."""
    tap = Wiretap(target_port)
    try:
        yield tap
    finally:
        tap.close()
