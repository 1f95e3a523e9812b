"""An established association: messages in and out, whoever asked for it.

One thread owns an association. Reading is pulled, never pushed: a handler reads the data set
of its own request when it is ready for it, so a slow disk slows the sender down through TCP
and nothing piles up in memory.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, Final

from hilum.core.errors import Corrupt, Invalid
from hilum.scp.command import RESPONSE_BIT, Command, CommandField, decode, is_pending
from hilum.scp.outflow import DataSet, Outflow
from hilum.scp.upper_layer import (
    AbortReason,
    Pdv,
    ProtocolViolation,
    UpperLayer,
    abort_pdu,
)
from hilum.scp.wire import TICK_SECONDS, AssociationLost, Silence, Wire

#: No command set comes near it (PS3.7 9.3); a longer one is an attack or a mistake.
_COMMAND_LIMIT_BYTES: Final = 64 * 1024
#: An identifier is keys, not pixels: room for a list of sixty thousand UIDs.
_IDENTIFIER_LIMIT_BYTES: Final = 4 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context (PS3.8 7.1.1.13)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    serves: bool = True
    """Whether this side may be the SCP on it (PS3.7 D.3.3.4)."""
    uses: bool = False
    """Whether this side may be the SCU on it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A command set that arrived; its data set, if any, is still to be read."""

    context: Context
    command: Command


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long to wait for a peer, in seconds; None is for ever."""

    acse_seconds: float | None = 30.0
    """For a connection, its negotiation and its end (PS3.8 9.1.5, ARTIM)."""
    dimse_seconds: float | None = 60.0
    """For the next bytes of a message, and for a response."""
    network_seconds: float | None = 300.0
    """For the next request on an association that is idle."""


class Association:
    """Messages over one established association.

    Parameters
    ----------
    peer_ae_title, peer_address
        Of the other side, for logs, for the Move Originator, and to say where instances are from.
    contexts
        The accepted presentation contexts by id.
    options
        What extended negotiation granted, by SOP class (PS3.7 D.3.3.5).
    peer_implementation
        Implementation Version Name of the other side, or its class UID.
    called_ae_title
        What it called this node.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        peer_ae_title: str,
        peer_address: str,
        contexts: Mapping[int, Context],
        peer_maximum_pdu_bytes: int,
        limits: TimeLimits,
        options: Mapping[str, bytes] = MappingProxyType({}),
        peer_implementation: str = "",
        called_ae_title: str = "",
    ) -> None:
        self.peer_ae_title = peer_ae_title
        self.peer_address = peer_address
        self.called_ae_title = called_ae_title
        self.contexts = contexts
        self.options = options
        self.peer_maximum_pdu_bytes = peer_maximum_pdu_bytes
        self.peer_implementation = peer_implementation
        self._wire = wire
        self._layer = UpperLayer(wire, peer_maximum_pdu_bytes)
        self._outflow = Outflow(wire, self._layer.fragment_bytes)
        self._limits = limits
        self._data_set_of: Context | None = None  # whose data set has not been read yet
        self._pdv_left = 0  # bytes of it that its current value still has
        self._pdv_is_last = False
        self._cancelled: set[int] = set()
        self._message_id = 0
        self._held = bytearray()  # PDUs that go out with the next message
        wire.allow(limits.dimse_seconds)

    # -- requests coming in ------------------------------------------------------------

    def receive(self) -> Message:
        """Wait for the next request; C-CANCEL of what is no longer running is passed over.

        Raises
        ------
        AssociationLost
            There will be none; `ReleaseRequested` if the peer is done.
        """
        self._cancelled.clear()
        while True:
            self.skip_data_set()
            self._wire.allow(self._limits.network_seconds)
            message = self._next_message()
            if message.command.field == CommandField.C_CANCEL_RQ:
                continue
            return message

    def data_set(self) -> Iterator[memoryview]:
        """Iterate the data set of the message last received, as it arrives.

        Each view holds until the next one is asked for.
        """
        while (context := self._data_set_of) is not None:
            # Kept outside: who gives up in the middle of a value is followed by one who skips.
            while self._pdv_left:
                part = self._wire.read_some(self._pdv_left)
                self._pdv_left -= len(part)
                yield part
            if self._pdv_is_last:
                self._data_set_of = None
                return
            pdv = self._layer.next_pdv()
            if pdv.is_command or pdv.context_id != context.id:
                raise ProtocolViolation("a data set is interrupted by another message")
            self._pdv_left, self._pdv_is_last = pdv.size_bytes, pdv.is_last

    def read_data_set(self) -> bytes:
        """Return the data set of the message last received: an identifier.

        Raises
        ------
        Invalid
            It is too long to be one; the rest of it is passed over.
        """
        data = bytearray()
        for part in self.data_set():
            data += part
            if len(data) > _IDENTIFIER_LIMIT_BYTES:
                self.skip_data_set()
                raise Invalid("the identifier is too long")
        return bytes(data)

    def skip_data_set(self) -> None:
        """Pass over what has not been read of the data set of the last message."""
        for _ in self.data_set():
            pass

    def cancelled(self, message_id: int) -> bool:
        """Return whether a C-CANCEL for the running operation has come (PS3.7 9.3.2.3).

        Raises
        ------
        ProtocolViolation
            Another request came: one operation at a time was negotiated (PS3.7 D.3.3.3).
        """
        while message_id not in self._cancelled and self._wire.readable():
            self._note_cancel(self._next_message())
        return message_id in self._cancelled

    # -- messages going out ------------------------------------------------------------

    def send(self, context: Context, command: Command, data_set: bytes = b"") -> None:
        """Send a message."""
        self.hold(context, command, data_set)
        self._wire.write(self._unhold())

    def hold(self, context: Context, command: Command, data_set: bytes = b"") -> None:
        """Send a message together with the next one, which is soon to come.

        A segment of its own, and waking the peer for it, cost as much as the message.
        """
        command.has_data_set = bool(data_set)
        self._held += self._layer.encode(context.id, command.encode(), data_set)

    def send_all(
        self,
        context: Context,
        command: Command,
        data_sets: Iterable[bytes],
        last: Command | None = None,
    ) -> None:
        """Send one message for each data set, all with the same command set, and perhaps a last."""
        command.has_data_set = True
        encoded = command.encode()
        if self._held:
            self._wire.write(self._unhold())
        messages = [(encoded, data_set) for data_set in data_sets]
        if last is not None:
            last.has_data_set = False
            messages.append((last.encode(), b""))
        self._layer.send_all(context.id, messages)

    def next_message_id(self) -> int:
        """Return a message id for a request of ours (PS3.7 9.1: unique while outstanding)."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def data_set_of(self, context: Context, file: BinaryIO, offset: int) -> DataSet:
        """Return what a file holds from `offset` on, to be sent on `context`.

        Raises
        ------
        Corrupt
            There is nothing.
        """
        descriptor = file.fileno()
        size_bytes = os.fstat(descriptor).st_size - offset
        if size_bytes <= 0:
            raise Corrupt("a stored file ends before its data set")
        return DataSet(context.id, descriptor, offset, size_bytes)

    def load(self, data_set: DataSet) -> None:
        """Read the beginning of the data set that is stored next, see `Outflow.load`."""
        self._outflow.load(data_set)

    def store(
        self,
        command: Command,
        data_set: DataSet,
        meanwhile: Callable[[], None],
        when_sent: Callable[[], None],
    ) -> Command:
        """Perform a C-STORE; return the response.

        Parameters
        ----------
        meanwhile
            Called several times a second, as long as it takes.
        when_sent
            Called once, when nothing is left but to wait for the response.
        """
        command.has_data_set = True
        head = self._unhold() + self._layer.encode(data_set.context_id, command.encode())
        self._outflow.send(data_set, head, meanwhile)
        when_sent()
        response = self._await_response(command, meanwhile)
        self.skip_data_set()
        return response

    def request(self, context: Context, command: Command) -> Command:
        """Perform an operation without data sets; return the response."""
        self.send(context, command)
        response = self._await_response(command, lambda: None)
        self.skip_data_set()
        return response

    def responses(
        self,
        context: Context,
        command: Command,
        identifier: bytes,
        meanwhile: Callable[[], None],
        serve: Callable[[Message], None] | None = None,
    ) -> Iterator[tuple[Command, bytes]]:
        """Perform an operation that is answered more than once: C-FIND, C-MOVE or C-GET.

        Parameters
        ----------
        identifier
            The data set of the request.
        meanwhile
            Called several times a second while no response comes; it may `cancel`.
        serve
            Answers the C-STORE requests that come in between; None: there are to be none.

        Yields
        ------
        response, identifier
            The pending ones and the final one, each with the data set it has, if any.

        Raises
        ------
        AssociationLost
            Or the next response does not come in time.
        """
        self.send(context, command, identifier)
        while True:
            response = self._await_response(command, meanwhile, serve)
            yield response, self.read_data_set()
            if not is_pending(response.status or 0):
                return

    def cancel(self, context: Context, message_id: int) -> None:
        """Ask the peer to end an operation of ours early (PS3.7 9.3.2.3); it may not."""
        self.send(context, Command(CommandField.C_CANCEL_RQ, responded_message_id=message_id))

    def disturbed(self) -> bool:
        """Whether anything has come, on an association of ours on which nothing is asked."""
        try:
            return self._wire.readable()
        except AssociationLost:
            return True

    # -- the end -----------------------------------------------------------------------

    def answer_release(self) -> None:
        """Agree to the release, and wait for the peer to close the connection."""
        self._layer.answer_release()
        self._wire.await_close(self._limits.acse_seconds or _LINGER_SECONDS)
        self._wire.close()

    def release(self) -> None:
        """Release an association of ours; one that is lost meanwhile is over as well."""
        with suppress(AssociationLost):
            self._wire.allow(self._limits.acse_seconds, self._limits.acse_seconds)
            self._layer.request_release()
        self._wire.close()

    def abort(self, reason: AbortReason | None = None) -> None:
        """Abort: as service provider for a `reason`, else as service user (PS3.8 7.3)."""
        source = 0 if reason is None else 2
        with suppress(AssociationLost):
            self._wire.allow(_LINGER_SECONDS)
            self._wire.write(abort_pdu(source, reason or AbortReason.NOT_SPECIFIED))
            self._wire.hang_up(_LINGER_SECONDS)
        self._wire.close()

    def interrupt(self) -> None:
        """Make the owning thread stop waiting for the peer; for another thread to call."""
        self._wire.interrupt()

    def close(self) -> None:
        """Close the connection as it is; harmless if it is closed."""
        self._wire.close()

    # -- inside ------------------------------------------------------------------------

    def _unhold(self) -> bytearray:
        held, self._held = self._held, bytearray()
        return held

    def _next_message(self) -> Message:
        pdv = self._layer.next_pdv()
        self._wire.allow(self._limits.dimse_seconds)
        context = self.contexts.get(pdv.context_id)
        if context is None:
            raise ProtocolViolation(f"presentation context {pdv.context_id} was not accepted")
        data = bytearray()
        while True:
            if not pdv.is_command or pdv.context_id != context.id:
                raise ProtocolViolation("a data set, or another context, inside a command set")
            for part in self._bytes_of(pdv):
                data += part
            if len(data) > _COMMAND_LIMIT_BYTES:
                raise ProtocolViolation("an endless command set")
            if pdv.is_last:
                break
            pdv = self._layer.next_pdv()
        try:
            command = decode(bytes(data))
        except Invalid as error:
            raise ProtocolViolation(str(error)) from error
        if command.has_data_set:
            self._data_set_of = context
            self._pdv_left, self._pdv_is_last = 0, False
        return Message(context, command)

    def _bytes_of(self, pdv: Pdv) -> Iterator[memoryview]:
        left = pdv.size_bytes
        while left:
            part = self._wire.read_some(left)
            left -= len(part)
            yield part

    def _await_response(
        self,
        request: Command,
        meanwhile: Callable[[], None],
        serve: Callable[[Message], None] | None = None,
    ) -> Command:
        limit = self._limits.dimse_seconds
        until = None if limit is None else time.monotonic() + limit
        while True:
            while not self._wire.readable(TICK_SECONDS):
                meanwhile()
                if until is not None and time.monotonic() > until:
                    raise Silence("no response in time")
            message = self._next_message()
            command = message.command
            if command.field == CommandField.C_STORE_RQ and serve is not None:
                serve(message)
                until = None if limit is None else time.monotonic() + limit
                continue
            if command.field != request.field | RESPONSE_BIT:
                self._note_cancel(message)
                continue
            if command.responded_message_id != request.message_id or command.status is None:
                raise ProtocolViolation("a response to something that was not asked")
            return command

    def _note_cancel(self, message: Message) -> None:
        command = message.command
        if command.field != CommandField.C_CANCEL_RQ or command.responded_message_id is None:
            raise ProtocolViolation(
                f"a {command.field:04X}H while another operation is under way",
                AbortReason.UNEXPECTED_PDU,
            )
        self._cancelled.add(command.responded_message_id)
