"""Passing instances on by C-STORE: what the peer gets, what it says, how long it is kept."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hilum.core.errors import HilumError, Invalid, NotFound, PeerUnreachable, Temporary
from hilum.core.levels import Level
from hilum.core.peer import Peer
from hilum.core.query import Condition, Exact, Query
from hilum.index.stored import StoredInstance
from hilum.scp.association import TimeLimits
from hilum.scp.forwarding import DicomPeer
from tests.dcmtk import data_set_bytes, storescp, storescu, transfer_syntax
from tests.generated import ct_files, uid
from tests.integration.peers import ABORT, EXPLICIT, IMPLICIT, RawPeer
from tests.integration.scp_node import ScpNode, scp_node
from tests.integration.test_scp_retrieve import answering, destination
from tests.nodes import free_port, wait_until

COUNT = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return ct_files(tmp_path_factory.mktemp("files"), COUNT, study="sent")


@pytest.fixture(scope="module")
def node(
    mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory, files: list[Path]
) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri) as running:
        assert len(storescu(running.peer, *files).acknowledged) == COUNT
        yield running


@pytest.fixture(scope="module")
def instances(node: ScpNode) -> list[StoredInstance]:
    condition = Condition("StudyInstanceUID", Exact(uid("sent")))
    services = node.services
    return services.crossing.call(services.retrieve.select(Query(Level.STUDY, (condition,))))


class Forwarder:
    """A peer that a test passes instances on to, from its own thread."""

    def __init__(self, node: ScpNode, peer: DicomPeer) -> None:
        self._node = node
        self._peer = peer

    def send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        return self._node.services.crossing.call(self._peer.send(instances))


@contextmanager
def forwarding(node: ScpNode, peer: Peer, idle_seconds: float = 5.0) -> Iterator[Forwarder]:
    services = node.services
    to = DicomPeer(peer, "HILUM", TimeLimits(), services.retrieve, idle_seconds)
    try:
        yield Forwarder(node, to)
    finally:
        services.crossing.call(to.close())


def test_files_arrive_byte_for_byte(
    node: ScpNode, instances: list[StoredInstance], files: list[Path], tmp_path: Path
) -> None:
    with (
        storescp(tmp_path) as port,
        forwarding(node, Peer("STORESCP", "127.0.0.1", port)) as peer,
    ):
        assert peer.send(instances[:1]) == [None]
        assert peer.send(instances[1:]) == [None] * (COUNT - 1)
    assert sorted(map(data_set_bytes, tmp_path.iterdir())) == sorted(map(data_set_bytes, files))


def test_what_is_not_accepted_as_stored_is_rewritten(
    node: ScpNode, instances: list[StoredInstance], tmp_path: Path
) -> None:
    assert {each.transfer_syntax_uid for each in instances} == {EXPLICIT}
    with (
        storescp(tmp_path, "STORESCP", "+xi") as port,
        forwarding(node, Peer("STORESCP", "127.0.0.1", port)) as peer,
    ):
        assert peer.send(instances) == [None] * COUNT
    assert {transfer_syntax(path) for path in tmp_path.iterdir()} == {IMPLICIT}


def test_one_association_serves_many_deliveries_and_is_released_when_idle(
    node: ScpNode, instances: list[StoredInstance], mongodb_uri: str, tmp_path: Path
) -> None:
    with (
        scp_node(tmp_path, mongodb_uri) as receiver,
        forwarding(node, Peer("HILUM", *receiver.address), idle_seconds=0.5) as peer,
    ):
        for instance in instances:
            assert peer.send([instance]) == [None]
            assert receiver.server.associations == 1
        wait_until(lambda: not receiver.server.associations, 10, "it is released")
        assert len(receiver.stored) == COUNT
        assert peer.send(instances[:1]) == [None]


def test_an_association_that_the_peer_has_ended_is_replaced(
    node: ScpNode, instances: list[StoredInstance], mongodb_uri: str, tmp_path: Path
) -> None:
    limits = TimeLimits(network_seconds=1.0)
    with (
        scp_node(tmp_path, mongodb_uri, limits=limits) as receiver,
        forwarding(node, Peer("HILUM", *receiver.address), idle_seconds=60) as peer,
    ):
        assert peer.send(instances[:1]) == [None]
        wait_until(lambda: not receiver.server.associations, 10, "the peer gives up waiting")
        assert peer.send(instances[1:]) == [None] * (COUNT - 1)
        wait_until(lambda: len(receiver.stored) == COUNT, 10, "all are stored")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, None),
        (0xB000, None),
        (0xB007, None),
        (0xA700, Temporary),
        (0xA701, Temporary),
        (0xA900, Invalid),
        (0xC000, Invalid),
        (0x0110, Invalid),
        (0x0122, Invalid),
    ],
)
def test_a_status_says_whether_to_try_again(
    node: ScpNode,
    instances: list[StoredInstance],
    status: int,
    kind: type[HilumError] | None,
) -> None:
    peers: dict[str, Peer] = {}
    with destination(peers, answering(0, status, 0)), forwarding(node, peers["SCRIPTED"]) as peer:
        before, result, after = peer.send(instances[:3])
    assert (before, after) == (None, None), "one failure stops no other instance"
    if kind is None:
        assert result is None
    else:
        assert type(result) is kind
        assert f"{status:04X}" in str(result)


def test_an_instance_that_the_peer_cannot_bear_keeps_no_other_back(
    node: ScpNode, instances: list[StoredInstance]
) -> None:
    def bearing_two(peer: RawPeer) -> None:
        for _ in range(2):
            message = peer.receive()
            peer.respond(message.context_id, message.command)
        peer.receive()
        peer.send(ABORT)

    peers: dict[str, Peer] = {}
    with (
        destination(peers, bearing_two, answering(0, 0)),
        forwarding(node, peers["SCRIPTED"]) as peer,
    ):
        results = peer.send(instances)
    assert [type(each) for each in results] == [
        Temporary if position == 2 else type(None) for position in range(COUNT)
    ], "and it is not the peer that is away"


def test_nobody_there_is_unreachable_for_all(
    node: ScpNode, instances: list[StoredInstance]
) -> None:
    with forwarding(node, Peer("NOBODY", "127.0.0.1", free_port())) as peer:
        results = peer.send(instances)
    assert [type(each) for each in results] == [PeerUnreachable] * COUNT


def test_a_peer_that_never_answers_does_not_keep_the_node_from_stopping(
    node: ScpNode, instances: list[StoredInstance]
) -> None:
    asked = threading.Event()

    def silent(peer: RawPeer) -> None:
        peer.receive()
        asked.set()
        peer.read_pdu()

    peers: dict[str, Peer] = {}
    services = node.services
    with destination(peers, silent), ThreadPoolExecutor(1) as pool:
        to = DicomPeer(peers["SCRIPTED"], "HILUM", TimeLimits(), services.retrieve)
        sending = pool.submit(Forwarder(node, to).send, instances)
        assert asked.wait(30)
        services.crossing.call(to.close(), timeout_seconds=5)
        results = sending.result(5)
    assert {isinstance(each, Temporary) for each in results} == {True}


def test_no_context_for_an_instance_is_no_reason_to_try_again(
    node: ScpNode, instances: list[StoredInstance]
) -> None:
    peers: dict[str, Peer] = {}
    script = answering()
    with (
        destination(peers, script, transfer_syntaxes=["1.2.840.10008.1.2.4.50"]),
        forwarding(node, peers["SCRIPTED"]) as peer,
    ):
        (result,) = peer.send(instances[:1])
    assert isinstance(result, Invalid)
    assert "presentation context" in str(result)


def test_a_file_that_is_gone_is_said_to_be(
    node: ScpNode, instances: list[StoredInstance], tmp_path: Path
) -> None:
    gone = instances[2]
    path = node.store.path(gone.blob.digest)
    path.rename(aside := tmp_path / "aside")
    try:
        with (
            storescp(tmp_path / "in") as port,
            forwarding(node, Peer("STORESCP", "127.0.0.1", port)) as peer,
        ):
            results = peer.send(instances)
    finally:
        aside.rename(path)
    assert [type(each) for each in results] == [
        NotFound if each is gone else type(None) for each in instances
    ]
    assert len(list((tmp_path / "in").iterdir())) == COUNT - 1
