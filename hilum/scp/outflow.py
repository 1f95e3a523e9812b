"""Data sets on their way from a file to a peer: many PDUs with one read and one write.

A buffer holds PDUs of the peer's size, one behind the other. Their heads stay where they are;
a scattering read puts the bytes of the file between them. So a byte is copied twice, by the
kernel, and Python is entered once for half a megabyte.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hilum.scp.upper_layer import P_DATA_HEAD_BYTES, AbortReason, ProtocolViolation, p_data_head
from hilum.scp.wire import Wire

#: What is read and written at a time, if the peer's PDUs are smaller: the slice that modalities
#: send most, 512 x 512 pixels of 16 bits, with all that is in front of them, in PDUs of 128 KB.
_BUFFER_BYTES: Final = 5 * 128 * 1024 + 64
#: More parts than these the kernel does not take in one call (IOV_MAX).
_MOST_PARTS: Final = 1024
#: In front of the data: the command of a C-STORE goes with the first of it, for a segment of
#: its own costs as much as a hundred kilobytes.
_HEAD_ROOM_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """What is to be sent on a presentation context: a part of a regular file.

    Its descriptor stays open until then; its position is neither used nor changed.
    """

    context_id: int
    descriptor: int
    offset: int
    size_bytes: int
    """From `offset` on; at least one, for there is no data set without an element."""


class Outflow:
    """Sends data sets over one connection, in fragments of one size.

    Parameters
    ----------
    fragment_bytes
        The longest fragment that the peer takes in a PDU; even.
    """

    def __init__(self, wire: Wire, fragment_bytes: int) -> None:
        self._wire = wire
        self._fragment_bytes = fragment_bytes
        self._pdu_bytes = P_DATA_HEAD_BYTES + fragment_bytes
        self._buffer = memoryview(b"")
        self._fragments: list[memoryview] = []
        self._context_id = 0
        self._loaded: DataSet | None = None  # the beginning of it is in the buffer

    def load(self, data_set: DataSet) -> None:
        """Read the beginning of what is sent next, while the peer is busy with what was sent.

        Raises
        ------
        ProtocolViolation
            As for `send`; but no message was begun.
        """
        self._make_ready(data_set.context_id)
        self._loaded = None
        self._fill(data_set, 0)
        self._loaded = data_set

    def send(
        self, data_set: DataSet, head: bytes | bytearray, meanwhile: Callable[[], None]
    ) -> None:
        """Send the data set of a message.

        Parameters
        ----------
        head
            The PDUs that go before it: the command of the message.
        meanwhile
            Called between writes, and while the peer takes nothing.

        Raises
        ------
        ProtocolViolation
            The file is shorter than that, or cannot be read: ours to abort, for a message
            that was begun cannot be ended otherwise.
        AssociationLost
            The peer does not take it.
        """
        if self._loaded is not data_set:
            self.load(data_set)
        self._loaded = None
        start = self._put_in_front(head)
        sent = 0
        while True:
            count = min(data_set.size_bytes - sent, self._room)
            last = (count - 1) // self._fragment_bytes
            stop = _HEAD_ROOM_BYTES + count + (last + 1) * P_DATA_HEAD_BYTES
            sent += count
            if sent == data_set.size_bytes:
                # Equipment sends odd lengths, and is taken at its word; others, dcmtk among them,
                # abort on a fragment of one. They look for a value's padding behind it.
                padding = data_set.size_bytes % 2
                self._buffer[stop : stop + padding] = bytes(padding)
                stop += padding
                self._put_head(last, count - last * self._fragment_bytes + padding, is_last=True)
            self._wire.write(self._buffer[start:stop], meanwhile)
            if sent == data_set.size_bytes:
                break
            start = _HEAD_ROOM_BYTES
            self._fill(data_set, sent)
        self._put_head(last, self._fragment_bytes, is_last=False)

    @property
    def _room(self) -> int:
        return len(self._fragments) * self._fragment_bytes

    def _fill(self, data_set: DataSet, position: int) -> None:
        """Read what is sent from `position` on into the fragments."""
        count = min(data_set.size_bytes - position, self._room)
        whole, rest = divmod(count, self._fragment_bytes)
        parts = self._fragments[:whole]
        if rest:
            parts.append(self._fragments[whole][:rest])
        _read_fully(data_set.descriptor, parts, data_set.offset + position, count)

    def _make_ready(self, context_id: int) -> None:
        if not self._fragments:  # the first data set: most associations never send one
            count = min(max(_BUFFER_BYTES // self._pdu_bytes, 1), _MOST_PARTS)
            self._buffer = memoryview(bytearray(_HEAD_ROOM_BYTES + count * self._pdu_bytes))
            self._fragments = [
                self._buffer[start + P_DATA_HEAD_BYTES : start + self._pdu_bytes]
                for start in range(_HEAD_ROOM_BYTES, len(self._buffer), self._pdu_bytes)
            ]
        if context_id != self._context_id:
            self._context_id = context_id
            for index in range(len(self._fragments)):
                self._put_head(index, self._fragment_bytes, is_last=False)

    def _put_in_front(self, head: bytes | bytearray) -> int:
        """Put `head` in front of the fragments; return where it begins."""
        start = _HEAD_ROOM_BYTES - len(head)
        if start < 0:  # a peer that takes no more than a few bytes a PDU
            self._wire.write(head)
            return _HEAD_ROOM_BYTES
        self._buffer[start:_HEAD_ROOM_BYTES] = head
        return start

    def _put_head(self, index: int, size_bytes: int, *, is_last: bool) -> None:
        start = _HEAD_ROOM_BYTES + index * self._pdu_bytes
        self._buffer[start : start + P_DATA_HEAD_BYTES] = p_data_head(
            self._context_id, is_command=False, is_last=is_last, size_bytes=size_bytes
        )


def _read_fully(descriptor: int, parts: Sequence[memoryview], offset: int, size_bytes: int) -> None:
    """Fill `parts`, `size_bytes` in all, with what the file has from `offset` on."""
    while True:
        try:
            count = os.preadv(descriptor, parts, offset)
        except OSError as error:
            raise ProtocolViolation(
                f"a stored file cannot be read: {error.strerror}", AbortReason.NOT_SPECIFIED
            ) from error
        if count == size_bytes:
            return
        if not count:
            raise ProtocolViolation("a stored file ends early", AbortReason.NOT_SPECIFIED)
        offset += count
        size_bytes -= count
        parts = _behind(parts, count)


def _behind(parts: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return what is left of `parts` when `count` bytes of them are filled."""
    left = []
    for part in parts:
        if count < len(part):
            left.append(part[count:])
        count = max(count - len(part), 0)
    return left
