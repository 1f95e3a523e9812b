"""Sub-operations that take their time: the requester is kept informed, and nobody else waits."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from hilum.core.peer import Peer
from hilum.index.stored import StoredInstance
from hilum.scp.association import TimeLimits
from tests.dcmtk import data_set_bytes, storescu
from tests.generated import ct, save, uid
from tests.integration.peers import (
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    STUDY_GET,
    STUDY_MOVE,
    RawPeer,
    Response,
    accept,
    calling,
    encode,
    listening,
    query_rq,
)
from tests.integration.scp_node import ScpNode, scp_node
from tests.integration.test_scp_retrieve import answering, counts, destination, move, study

#: Pending responses are due every second; the rest is for a machine that is busy.
SECONDS_APART = 2.5


@pytest.fixture(scope="module")
def peers() -> dict[str, Peer]:
    """Destinations; tests add theirs."""
    return {}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ct(1, study="small"), tmp_path_factory.mktemp("files") / "small.dcm")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a connection holds on its way."""
    return save(ct(1, study="large", size=3000), tmp_path_factory.mktemp("files") / "large.dcm")


@pytest.fixture(scope="module")
def node(
    mongodb_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    peers: dict[str, Peer],
    small: Path,
    large: Path,
) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri, peers=peers) as running:
        assert len(storescu((*running.peer, str(small), str(large))).acknowledged) == 2
        yield running


@pytest.fixture
def requester(node: ScpNode) -> Iterator[RawPeer]:
    with calling(node.address) as peer:
        peer.associate([(STUDY_MOVE, [IMPLICIT])])
        yield peer


def hear_three_times(requester: RawPeer, what: tuple[int, int, int, int] = (1, 0, 0, 0)) -> None:
    """Receive three pending responses with these counts in the time they have."""
    requester.socket.settimeout(SECONDS_APART)
    for _ in range(3):
        response = requester.receive()
        assert (response.status, counts(response)) == (0xFF00, what)
    requester.socket.settimeout(30)


def test_requester_hears_while_the_destination_negotiates(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    with listening() as listener:
        peers["SILENT"] = Peer("SILENT", "127.0.0.1", listener.getsockname()[1])
        move(requester, "SILENT", study(uid("small")))
        hear_three_times(requester)  # connected by the kernel, answered by nobody
        peer = accept(listener)
        answering(0)(peer)
        peer.close()
    assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


def test_requester_hears_while_the_destination_takes_nothing(
    requester: RawPeer, peers: dict[str, Peer], large: Path
) -> None:
    arrived: list[bytes] = []

    def slow(peer: RawPeer) -> None:
        hear_three_times(requester)
        message = peer.receive()
        arrived.append(message.data_set)
        peer.respond(message.context_id, message.command)
        answering()(peer)

    with destination(peers, slow):
        move(requester, "SCRIPTED", study(uid("large")))
    assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)
    assert arrived == [data_set_bytes(large)]


def test_requester_hears_while_the_destination_stores(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    def slow(peer: RawPeer) -> None:
        message = peer.receive()
        hear_three_times(requester)
        peer.respond(message.context_id, message.command)
        answering()(peer)

    with destination(peers, slow):
        move(requester, "SCRIPTED", study(uid("small")))
    assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


def test_requester_hears_while_the_destination_releases(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    """As a node like this one does until what it was sent can be found."""

    def slow(peer: RawPeer) -> None:
        message = peer.receive()
        peer.respond(message.context_id, message.command)
        pdu_type, _ = peer.read_pdu()
        assert pdu_type == 5
        hear_three_times(requester, (0, 1, 0, 0))
        peer.send(RELEASE_RP)

    with destination(peers, slow):
        move(requester, "SCRIPTED", study(uid("small")))
    assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


@pytest.fixture
def held_up(node: ScpNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Rewriting into another transfer syntax waits for this event."""
    event = threading.Event()
    rewrite: Callable[[StoredInstance, str], BinaryIO] = node.services.retrieve.rewrite

    def slow(instance: StoredInstance, transfer_syntax_uid: str) -> BinaryIO:
        assert event.wait(60)
        return rewrite(instance, transfer_syntax_uid)

    monkeypatch.setattr(node.services.retrieve, "rewrite", slow)
    yield event
    event.set()


def test_requester_of_a_move_hears_while_an_instance_is_rewritten(
    requester: RawPeer, peers: dict[str, Peer], held_up: threading.Event
) -> None:
    with destination(peers, answering(0), transfer_syntaxes=[IMPLICIT]):
        move(requester, "SCRIPTED", study(uid("small")))
        hear_three_times(requester)
        held_up.set()
        assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


def test_requester_of_a_get_hears_while_an_instance_is_rewritten(
    node: ScpNode, held_up: threading.Event
) -> None:
    with calling(node.address) as requester:
        requester.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [IMPLICIT])], roles=[CT_IMAGE])
        requester.request(1, query_rq(0x10, STUDY_GET), encode(study(uid("small"))))
        hear_three_times(requester)
        held_up.set()
        message = requester.receive()
        while message.command.CommandField != 0x0001:
            message = requester.receive()
        requester.respond(message.context_id, message.command)
        assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


def test_a_get_is_not_interrupted_by_pending_responses(node: ScpNode, large: Path) -> None:
    """A message cannot be put into another one: PS3.7 has no interleaving on a context."""
    with calling(node.address) as requester:
        requester.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])], roles=[CT_IMAGE])
        requester.request(1, query_rq(0x10, STUDY_GET), encode(study(uid("large"))))
        time.sleep(1.5)  # as a slow reader would
        message = requester.receive()
        assert message.command.CommandField == 0x0001
        assert message.data_set == data_set_bytes(large)
        requester.respond(message.context_id, message.command)
        assert counts(requester.receive_all()[-1]) == (None, 1, 0, 0)


def test_a_slow_destination_does_not_hold_up_others(node: ScpNode, peers: dict[str, Peer]) -> None:
    """Five moves under way at once; only when all are does the first destination answer."""
    count = 5
    all_at_it = threading.Barrier(count)

    def one(number: int) -> Response:
        with listening() as listener, calling(node.address) as requester:
            peers[f"DEST{number}"] = Peer("DEST", "127.0.0.1", listener.getsockname()[1])
            requester.associate([(STUDY_MOVE, [IMPLICIT])])
            move(requester, f"DEST{number}", study(uid("small")))
            peer = accept(listener)
            message = peer.receive()
            all_at_it.wait(60)
            peer.respond(message.context_id, message.command)
            answering()(peer)
            peer.close()
            return requester.receive_all()[-1]

    with ThreadPoolExecutor(count) as pool:
        for final in pool.map(one, range(count)):
            assert (final.status, counts(final)) == (0, (None, 1, 0, 0))


@pytest.mark.parametrize("says_nothing_to", ["the connection", "the data set", "the instance"])
def test_time_limits_are_those_of_the_settings(
    mongodb_uri: str, tmp_path: Path, large: Path, says_nothing_to: str
) -> None:
    peers: dict[str, Peer] = {}
    limits = TimeLimits(acse_seconds=2, dimse_seconds=2)
    with (
        scp_node(tmp_path, mongodb_uri, peers=peers, limits=limits) as node,
        listening() as listener,
        calling(node.address) as requester,
    ):
        assert storescu((*node.peer, str(large))).acknowledged
        peers["SILENT"] = Peer("SILENT", "127.0.0.1", listener.getsockname()[1])
        requester.associate([(STUDY_MOVE, [IMPLICIT])])
        move(requester, "SILENT", study(uid("large")))
        taken: list[socket.socket] = []
        if says_nothing_to != "the connection":
            peer = accept(listener)
            taken.append(peer.socket)
        if says_nothing_to == "the instance":
            peer.receive()
        final = requester.receive_all()[-1]
        for connection in taken:
            connection.close()
    assert (final.status, counts(final)) == (0xA702, (None, 0, 1, 0))
