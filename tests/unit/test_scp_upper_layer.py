"""The upper layer over a socket pair: fragments in and out, and bytes that are neither."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.scp.association import Association, Context, TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.outflow import DataSet, Outflow
from hilum.scp.upper_layer import PduType, ProtocolViolation, UpperLayer
from hilum.scp.wire import AssociationLost, ConnectionLost, Silence, Wire

CONTEXT = Context(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", uses=True)
STORE = Command(
    CommandField.C_STORE_RQ, message_id=1, affected_sop_class_uid="1.2", data_set_type=1
)


@contextmanager
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours), theirs


def association(wire: Wire) -> Association:
    return Association(
        wire,
        peer_ae_title="PEER",
        peer_address="",
        contexts={1: CONTEXT},
        peer_maximum_pdu_bytes=0,
        limits=TimeLimits(1, 1, 1),
    )


def fragments(data: bytes) -> list[tuple[int, int, bytes]]:
    """Context, control and bytes of every value in a stream of P-DATA PDUs."""
    found = []
    while data:
        pdu_type, length = struct.unpack_from(">BxL", data)
        assert pdu_type == PduType.DATA
        body, data = data[6 : 6 + length], data[6 + length :]
        (size,) = struct.unpack_from(">L", body)
        assert size + 4 == length, "one value a PDU"
        found.append((body[4], body[5], body[6:]))
    return found


@contextmanager
def file_of(content: bytes) -> Iterator[BinaryIO]:
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file


def padded(data_set: bytes) -> bytes:
    """Return a stored data set as it is sent: of an even length."""
    return data_set + b"\0" * (len(data_set) % 2)


def received(theirs: socket.socket) -> bytes:
    data = bytearray()
    while part := theirs.recv(1 << 16):
        data += part
    return bytes(data)


@settings(deadline=None)
@given(
    st.binary(min_size=1, max_size=3000),
    st.binary(min_size=1, max_size=9000),
    st.integers(1, 5000),
    st.booleans(),
)
def test_what_is_sent_fits_the_peer_and_comes_together_again(
    command: bytes, data_set: bytes, maximum: int, from_file: bool
) -> None:
    with pair() as (wire, theirs):
        layer = UpperLayer(wire, maximum)
        if from_file:
            with file_of(b"before" + data_set + b"behind") as file:
                outflow = Outflow(wire, layer.fragment_bytes)
                head = layer.encode(3, command)
                outflow.send(DataSet(3, file.fileno(), 6, len(data_set)), head, lambda: None)
        else:
            layer.send(3, command, data_set)
        wire.close()
        sent = fragments(received(theirs))
    assert {context_id for context_id, _, _ in sent} == {3}
    assert all(len(body) + 6 <= max(maximum, 8) for _, _, body in sent)
    assert b"".join(body for _, control, body in sent if control & 1) == command
    expected = padded(data_set) if from_file else data_set
    assert b"".join(body for _, control, body in sent if not control & 1) == expected
    controls = [control for _, control, _ in sent]
    assert controls.count(3) == 1
    assert controls.count(2) == bool(data_set)
    assert all(len(body) % 2 == 0 for _, control, body in sent if not control & 2)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 3]), st.binary(min_size=1, max_size=900), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    st.integers(4, 150).map(lambda half: 2 * half),
    st.booleans(),
)
def test_what_was_read_ahead_is_sent_and_nothing_else(
    data_sets: list[tuple[int, bytes, bool]], fragment_bytes: int, another_first: bool
) -> None:
    with pair() as (wire, theirs):
        outflow = Outflow(wire, fragment_bytes)
        for context_id, content, ahead in data_sets:
            with file_of(content) as file, file_of(b"?" * len(content)) as other:
                data_set = DataSet(context_id, file.fileno(), 0, len(content))
                if another_first:
                    outflow.load(DataSet(1, other.fileno(), 0, len(content)))
                if ahead:
                    outflow.load(data_set)
                outflow.send(data_set, b"", lambda: None)
        wire.close()
        sent = fragments(received(theirs))
    arrived = [b""]
    for _, control, body in sent:
        arrived[-1] += body
        if control & 2:
            arrived.append(b"")
    assert arrived == [*[padded(content) for _, content, _ in data_sets], b""]
    assert [context_id for context_id, control, _ in sent if control & 2] == [
        context_id for context_id, _, _ in data_sets
    ]


@settings(deadline=None)
@given(st.binary(max_size=500), st.lists(st.integers(0, 200), max_size=30))
def test_a_message_is_read_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    stream = bytearray()
    sizes = iter(cuts)
    for part, control in ((STORE.encode(), 1), (content, 0)):
        rest, last = part, 0
        while not last:
            size = min(next(sizes, len(rest)), len(rest))
            last = 2 if size == len(rest) else 0
            stream += struct.pack(">BxLLBB", 4, size + 6, size + 2, 1, control | last)
            stream += rest[:size]
            rest = rest[size:]
    with pair() as (wire, theirs):
        sender = threading.Thread(target=theirs.sendall, args=(bytes(stream),))
        sender.start()
        reader = association(wire)
        message = reader.receive()
        assert message.command == STORE
        assert b"".join(bytes(part) for part in reader.data_set()) == content
        sender.join()


@settings(deadline=None)
@given(st.data())
def test_any_bytes_are_messages_or_the_end(data: st.DataObject) -> None:
    """Whatever a stranger sends, reading it ends in an `AssociationLost`, and soon."""
    good = struct.pack(">BxLLBB", 4, 6, 2, 1, 3) + STORE.encode()
    noise = data.draw(st.one_of(st.binary(max_size=400), st.just(good)))
    changed = bytearray(good + noise)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with pair() as (wire, theirs):
        theirs.sendall(changed)
        theirs.shutdown(socket.SHUT_WR)
        reader = association(wire)
        with pytest.raises(AssociationLost):
            list(iter(reader.receive, None))


def test_silence_and_loss_are_told_apart() -> None:
    with pair() as (wire, theirs):
        wire.allow(each_seconds=0.01)
        with pytest.raises(Silence):
            wire.read(1)
        wire.allow(total_seconds=0.01)
        theirs.sendall(b"x")
        with pytest.raises(Silence):
            wire.read(2)
        theirs.close()
        wire.allow()
        with pytest.raises(ConnectionLost):
            wire.read(1)
        with pytest.raises(ConnectionLost):
            wire.write(b"x")


def test_readable_sees_what_is_buffered_and_what_is_not() -> None:
    with pair() as (wire, theirs):
        assert not wire.readable()
        theirs.sendall(b"ab")
        assert wire.readable(1)
        wire.read(1)
        assert wire.readable()
        wire.read(1)
        assert not wire.readable()
        theirs.close()
        assert wire.readable(1)


def test_file_that_is_shorter_than_its_size_ends_the_association() -> None:
    with pair() as (wire, _), file_of(b"short") as file, pytest.raises(ProtocolViolation):
        Outflow(wire, 1000).send(DataSet(1, file.fileno(), 0, 99), b"", lambda: None)


def test_release_collision_is_answered() -> None:
    """PS3.8 7.2.2.7."""
    with pair() as (wire, theirs):
        theirs.sendall(bytes.fromhex("05000000000400000000 06000000000400000000"))
        association(wire).release()
        assert received(theirs) == bytes.fromhex("05000000000400000000 06000000000400000000")


def test_data_behind_a_release_request_is_passed_over() -> None:
    with pair() as (wire, theirs):
        theirs.sendall(struct.pack(">BxLLBB", 4, 8, 4, 1, 2) + b"ab")
        theirs.sendall(bytes.fromhex("06000000000400000000"))
        association(wire).release()
        assert received(theirs) == bytes.fromhex("05000000000400000000")
