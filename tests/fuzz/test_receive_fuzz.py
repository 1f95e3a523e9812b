"""The receive path on streams that are nearly right, against a model that reads them whole.

The model knows the presentation data values that went into a stream, and says by the rules
of PS3.7 and PS3.8 alone which messages a receiver may see before it has to give up.
"""

import socket
import struct
import threading
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.scp.association import Association, Context, TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.upper_layer import PeerAborted, ProtocolViolation, ReleaseRequested
from hilum.scp.wire import AssociationLost, ConnectionLost, Wire

CONTEXTS = {
    number: Context(number, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1") for number in (1, 3)
}
RELEASE_RQ = bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0))
ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))
SECONDS = 20.0


def request(number: int, *, data_set: bool) -> bytes:
    command = Command(CommandField.C_STORE_RQ, number, affected_sop_class_uid="1.2.3")
    command.has_data_set = data_set
    return command.encode()


@dataclass(frozen=True)
class Value:
    """A presentation data value as it is sent."""

    context_id: int
    is_command: bool
    is_last: bool
    content: bytes
    lie: int = 0
    """Added to the length that its head states."""

    def encode(self) -> bytes:
        control = self.is_command | self.is_last << 1
        stated = len(self.content) + 2 + self.lie
        return struct.pack(">LBB", stated, self.context_id, control) + self.content


Message = tuple[int, int, bytes]  # context, message id, data set


@st.composite
def messages(draw: st.DrawFn) -> list[list[Value]]:
    """A few messages, each cut into values anywhere, with empty ones in between."""
    stream = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        context_id = draw(st.sampled_from([1, 3]))
        content = draw(st.binary(max_size=2000))
        values = []
        for part, is_command in ((request(number, data_set=bool(content)), True), (content, False)):
            if not part:
                continue
            cuts = sorted(draw(st.lists(st.integers(0, len(part)), max_size=6)))
            ends = [*cuts, len(part)]
            starts = [0, *cuts]
            values += [
                Value(context_id, is_command, i == len(cuts), part[start:end])
                for i, (start, end) in enumerate(zip(starts, ends, strict=True))
            ]
        stream.append(values)
    return stream


def elements_of(command: bytes) -> dict[int, int] | None:
    """Return the numbers of a command set by element (PS3.7 6.3.1); None if it is none."""
    elements, offset = {}, 0
    while offset < len(command):
        if offset + 8 > len(command):
            return None
        group, element, length = struct.unpack_from("<HHL", command, offset)
        content = command[offset + 8 : offset + 8 + length]
        if group or len(content) < length:
            return None
        elements[element] = int.from_bytes(content[:2], "little")
        offset += 8 + length
    return elements


def expected(values: list[Value]) -> tuple[list[Message], bool]:
    """Return the messages that are whole before the first fault, and whether there is one."""
    found: list[Message] = []
    rest = list(values)
    while rest:
        command, context_id = b"", rest[0].context_id
        if context_id not in CONTEXTS:
            return found, True
        while True:
            if not rest:
                return found, False
            value = rest.pop(0)
            if not value.is_command or value.context_id != context_id:
                return found, True
            command += value.content
            if value.is_last:
                break
        known = {request(number, data_set=True): number for number in range(1, 5)}
        bare = {request(number, data_set=False): number for number in range(1, 5)}
        if command in bare:
            found.append((context_id, bare[command], b""))
            continue
        number = known.get(command)
        if number is None:  # a part is lost or doubled: it may be a command still
            elements = elements_of(command)
            if elements is None or 0x0100 not in elements:
                return found, True
            number = elements.get(0x0110, 0)
            if elements.get(0x0800, 0x0101) == 0x0101:
                found.append((context_id, number, b""))
                continue
        data_set = b""
        while True:
            if not rest:
                return found, False
            value = rest.pop(0)
            if value.is_command or value.context_id != context_id:
                return found, True
            data_set += value.content
            if value.is_last:
                break
        found.append((context_id, number, data_set))
    return found, False


def received(stream: bytes, pieces: list[int]) -> tuple[list[Message], AssociationLost]:
    """Send `stream` in pieces of these sizes; return what is read, and how it ends."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        rest, sizes = stream, iter(pieces)
        while rest:
            size = max(1, next(sizes, len(rest)))
            try:
                theirs.sendall(rest[:size])
            except OSError:  # the reader has given up
                return
            rest = rest[size:]
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        sender = threading.Thread(target=send)
        sender.start()
        reader = Association(
            Wire(ours),
            peer_ae_title="PEER",
            peer_address="",
            contexts=CONTEXTS,
            peer_maximum_pdu_bytes=0,
            limits=TimeLimits(SECONDS, SECONDS, SECONDS),
        )
        found: list[Message] = []
        try:
            while True:
                message = reader.receive()
                data_set = b"".join(bytes(part) for part in reader.data_set())
                found.append((message.context.id, message.command.message_id or 0, data_set))
        except AssociationLost as loss:
            end = loss
        reader.close()
        sender.join(SECONDS)
    return found, end


def in_pdus(values: list[Value], pdu_sizes: list[int]) -> bytes:
    """Return P-DATA-TF PDUs of so many values each."""
    stream, rest, sizes = b"", list(values), iter(pdu_sizes)
    while rest:
        size = next(sizes, 1)
        body = b"".join(value.encode() for value in rest[:size])
        stream += struct.pack(">BxL", 4, len(body)) + body
        rest = rest[size:]
    return stream


PIECES = st.lists(st.integers(1, 700), max_size=30)
PDU_SIZES = st.lists(st.integers(0, 4), max_size=20)


@settings(deadline=None, max_examples=150)
@given(messages(), PDU_SIZES, PIECES, st.sampled_from(["", "release", "abort"]))
def test_however_messages_are_cut_they_arrive_whole_and_in_order(
    stream: list[list[Value]], pdu_sizes: list[int], pieces: list[int], end: str
) -> None:
    values = [value for message in stream for value in message]
    messages_sent, fault = expected(values)
    assert not fault
    assert len(messages_sent) == len(stream)
    tail = {"": b"", "release": RELEASE_RQ, "abort": ABORT}[end]
    found, loss = received(in_pdus(values, pdu_sizes) + tail, pieces)
    assert found == messages_sent
    assert (
        type(loss) is {"": ConnectionLost, "release": ReleaseRequested, "abort": PeerAborted}[end]
    )


@settings(deadline=None, max_examples=200)
@given(messages(), st.data(), PDU_SIZES, PIECES)
def test_values_out_of_place_end_the_association_and_change_nothing_before_them(
    stream: list[list[Value]], data: st.DataObject, pdu_sizes: list[int], pieces: list[int]
) -> None:
    """Interleaved contexts, a value lost, doubled, moved, or with a flag turned over."""
    values = [value for message in stream for value in message]
    place = data.draw(st.integers(0, len(values) - 1))
    value = values[place]
    change = data.draw(st.sampled_from(["context", "unknown", "kind", "last", "drop", "double"]))
    made = {
        "context": [Value(4 - value.context_id, value.is_command, value.is_last, value.content)],
        "unknown": [Value(99, value.is_command, value.is_last, value.content)],
        "kind": [Value(value.context_id, not value.is_command, value.is_last, value.content)],
        "last": [Value(value.context_id, value.is_command, not value.is_last, value.content)],
        "drop": [],
        "double": [value, value],
    }[change]
    values[place : place + 1] = made
    messages_left, fault = expected(values)
    found, loss = received(in_pdus(values, pdu_sizes), pieces)
    assert found == messages_left
    assert isinstance(loss, ProtocolViolation if fault else ConnectionLost)


@settings(deadline=None, max_examples=150)
@given(messages(), st.data(), PIECES)
def test_a_length_that_lies_is_never_believed_past_its_pdu(
    stream: list[list[Value]], data: st.DataObject, pieces: list[int]
) -> None:
    """A value may not reach out of its PDU, nor be shorter than its own head."""
    values = [value for message in stream for value in message]
    place = data.draw(st.integers(0, len(values) - 1))
    value = values[place]
    too_long = st.integers(1, 0xFFFF_0000)
    too_short = st.integers(1, 2).map(lambda missing: -len(value.content) - missing)
    lie = data.draw(too_long | too_short)
    lying = Value(value.context_id, value.is_command, value.is_last, value.content, lie)
    before, _ = expected(values[:place])
    found, loss = received(in_pdus([*values[:place], lying, *values[place + 1 :]], []), pieces)
    assert found == before
    assert isinstance(loss, ProtocolViolation)
