"""Negotiation, rejections, and everything that is not a well-behaved association."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.core.peer import Peer
from hilum.scp.association import TimeLimits
from tests.data_sets import INSTANCE, encoded, minimal
from tests.integration.peers import (
    ABORT,
    BIG_ENDIAN,
    CT_IMAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    RELEASE_RQ,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    RawPeer,
    associate_rq,
    calling,
    command,
    p_data,
    pdv,
    store_rq,
)
from tests.integration.scp_node import ScpNode, scp_node
from tests.nodes import wait_until

MPPS = "1.2.840.10008.3.1.2.3.3"
ECHO = command(
    AffectedSOPClassUID=VERIFICATION, CommandField=0x30, MessageID=7, CommandDataSetType=0x0101
)
UNASKED = command(
    CommandField=0x8030, MessageIDBeingRespondedTo=1, CommandDataSetType=0x0101, Status=0
)
HASTY = TimeLimits(acse_seconds=0.3, dimse_seconds=0.3, network_seconds=0.3)


@pytest.fixture(scope="module")
def node(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri) as running:
        yield running


def rejection(node: ScpNode, **options: object) -> tuple[int, int, int]:
    """Result, source and reason of a rejected association request."""
    with calling(node.address) as peer:
        peer.send(associate_rq([(VERIFICATION, [IMPLICIT])], **options))  # type: ignore[arg-type]
        pdu_type, body = peer.read_pdu()
        assert pdu_type == 3
        return body[1], body[2], body[3]


def abort_of(peer: RawPeer) -> tuple[int, int]:
    """Source and reason of the A-ABORT that comes next."""
    pdu_type, body = peer.read_pdu()
    assert pdu_type == 7, f"PDU type {pdu_type}"
    return body[2], body[3]


def test_any_called_title_is_accepted_by_default(node: ScpNode) -> None:
    with calling(node.address) as peer:
        assert peer.associate([(VERIFICATION, [IMPLICIT])], called="SOMEBODY").results == {1: 0}


@pytest.mark.parametrize("padding", ["\0", " "])
def test_titles_may_be_padded_with_anything(mongodb_uri: str, tmp_path: Path, padding: str) -> None:
    checks = {"check_called_aet": True, "known_callers": frozenset({"CT1"})}
    with (
        scp_node(tmp_path, mongodb_uri, **checks) as strict,
        calling(strict.address) as peer,
    ):
        titles = {"called": "HILUM".ljust(16, padding), "calling": "CT1".ljust(16, padding)}
        assert peer.associate([(VERIFICATION, [IMPLICIT])], **titles).results == {1: 0}


@pytest.mark.parametrize("title", ["", "\0" * 16, "M\u00fcLLER", "A\\B"])
def test_any_caller_may_store_by_default(node: ScpNode, title: str) -> None:
    with calling(node.address) as peer:
        peer.associate([(CT_IMAGE, [EXPLICIT])], calling=title)
        peer.request(1, store_rq(INSTANCE), encoded(minimal()))
        assert peer.receive().status == 0
        peer.release()
    assert len(node.stored) == 1


def test_another_called_title_is_1_1_7_if_checked(mongodb_uri: str, tmp_path: Path) -> None:
    with scp_node(tmp_path, mongodb_uri, check_called_aet=True) as strict:
        assert rejection(strict, called="SOMEBODY") == (1, 1, 7)
        with calling(strict.address) as peer:
            assert peer.associate([(VERIFICATION, [IMPLICIT])]).results == {1: 0}


def test_unknown_caller_is_1_1_3_if_only_known_ones_may(mongodb_uri: str, tmp_path: Path) -> None:
    with scp_node(tmp_path, mongodb_uri, known_callers=frozenset({"CT1"})) as strict:
        assert rejection(strict, calling="CT2") == (1, 1, 3)
        with calling(strict.address) as peer:
            assert peer.associate([(VERIFICATION, [IMPLICIT])], calling="CT1").results == {1: 0}


def test_one_association_too_many_is_2_3_2(mongodb_uri: str, tmp_path: Path) -> None:
    with (
        scp_node(tmp_path, mongodb_uri, maximum_associations=1) as small,
        calling(small.address) as first,
    ):
        first.associate([(VERIFICATION, [IMPLICIT])])
        assert rejection(small) == (2, 3, 2)
        first.release()
        wait_until(lambda: small.server.associations == 0)
        with calling(small.address) as second:
            assert second.associate([(VERIFICATION, [IMPLICIT])]).results == {1: 0}


def test_as_many_as_may_be_get_in_when_many_ask_at_once(mongodb_uri: str, tmp_path: Path) -> None:
    """The place is taken before the answer goes out, not when the serving begins."""
    with scp_node(tmp_path, mongodb_uri, maximum_associations=3) as small:
        peers = [RawPeer.connect(small.address) for _ in range(30)]
        for peer in peers:
            peer.send(associate_rq([(VERIFICATION, [IMPLICIT])]))
        answers = [peer.read_pdu()[0] for peer in peers]
        for peer in peers:
            peer.close()
    assert (answers.count(2), answers.count(3)) == (3, 27)


def test_other_protocol_version_and_application_context_are_rejected(node: ScpNode) -> None:
    assert rejection(node, protocol_version=2) == (1, 2, 2)
    assert rejection(node, application_context="1.2.3") == (1, 1, 2)


def test_more_than_ten_associations_at_a_time(node: ScpNode) -> None:
    peers = [RawPeer.connect(node.address) for _ in range(40)]
    for peer in peers:
        peer.associate([(VERIFICATION, [IMPLICIT])])
    for peer in peers:
        peer.request(1, ECHO)
    assert [peer.receive().status for peer in peers] == [0] * 40
    for peer in peers:
        peer.release()


def test_all_128_contexts_are_answered(node: ScpNode) -> None:
    contexts = [(f"1.2.3.{number}", [JPEG_2000]) for number in range(128)]
    with calling(node.address) as peer:
        accepted = peer.associate(contexts)
    assert accepted.transfer_syntaxes == dict.fromkeys(range(1, 256, 2), JPEG_2000)


def test_one_transfer_syntax_a_context_in_the_order_of_the_requestor(node: ScpNode) -> None:
    with calling(node.address) as peer:
        accepted = peer.associate(
            [
                (CT_IMAGE, [JPEG_2000, EXPLICIT, IMPLICIT]),
                ("1.2.3.4", [IMPLICIT, EXPLICIT]),
                (VERIFICATION, [JPEG_2000, DEFLATED, IMPLICIT]),
            ]
        )
    assert accepted.transfer_syntaxes == {1: JPEG_2000, 3: IMPLICIT, 5: DEFLATED}


def test_several_contexts_of_a_class_cover_several_transfer_syntaxes(node: ScpNode) -> None:
    with calling(node.address) as peer:
        accepted = peer.associate(
            [
                (CT_IMAGE, [EXPLICIT]),
                (CT_IMAGE, [BIG_ENDIAN, IMPLICIT]),  # as dcmtk proposes
                (CT_IMAGE, [EXPLICIT, JPEG_2000]),
                (CT_IMAGE, [BIG_ENDIAN]),
            ]
        )
    assert accepted.transfer_syntaxes == {1: EXPLICIT, 3: IMPLICIT, 5: JPEG_2000, 7: BIG_ENDIAN}


def test_unsupported_contexts_get_their_reasons(node: ScpNode) -> None:
    with calling(node.address) as peer:
        accepted = peer.associate(
            [
                (MPPS, [IMPLICIT]),
                (VERIFICATION, [JPEG_2000]),
                (VERIFICATION, [IMPLICIT]),
                ("no UID", [IMPLICIT]),
                ("1." * 40 + "1", [IMPLICIT]),
                (CT_IMAGE, ["JPEG", ""]),
            ]
        )
        assert accepted.results == {1: 3, 3: 4, 5: 0, 7: 3, 9: 3, 11: 4}
        peer.request(5, ECHO)
        assert peer.receive().status == 0


def test_scp_role_is_accepted_for_storage_alone(node: ScpNode) -> None:
    with calling(node.address) as peer:
        accepted = peer.associate(
            [(CT_IMAGE, [EXPLICIT]), (STUDY_GET, [EXPLICIT])], roles=[CT_IMAGE, STUDY_GET]
        )
    assert accepted.roles == {CT_IMAGE: (1, 1), STUDY_GET: (1, 0)}


def test_extended_negotiation_grants_what_is_implemented(node: ScpNode) -> None:
    with calling(node.address) as peer:
        accepted = peer.associate(
            [(STUDY_FIND, [EXPLICIT]), (STUDY_GET, [EXPLICIT])],
            extended=[(STUDY_FIND, b"\1\0\1\1\1"), (STUDY_GET, b"\1\1"), (CT_IMAGE, b"\2")],
        )
    assert accepted.extended == {STUDY_FIND: b"\1\0\1\0\0", STUDY_GET: b"\1\0"}


def test_what_is_not_recognized_is_0211(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(VERIFICATION, [IMPLICIT])])
        peer.request(1, command(CommandField=0x0130, MessageID=3, CommandDataSetType=0x0101))
        assert peer.receive().status == 0x0211
        peer.request(1, ECHO)
        assert peer.receive().command.MessageIDBeingRespondedTo == 7


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("context not accepted", p_data(pdv(3, ECHO, is_command=True, is_last=True)), 6),
        ("data set without command", p_data(pdv(1, b"xx", is_command=False, is_last=True)), 6),
        ("value longer than its PDU", b"\4\0\0\0\0\x08\0\0\0\xff\1\3xx", 6),
        ("value shorter than its head", b"\4\0\0\0\0\6\0\0\0\1\1\3", 6),
        ("PDU shorter than a head", b"\4\0\0\0\0\3\0\0\0", 6),
        ("unknown PDU", b"\x42\0\0\0\0\0", 1),
        ("second association request", associate_rq([(VERIFICATION, [IMPLICIT])]), 2),
        ("release response", b"\6\0\0\0\0\4\0\0\0\0", 2),
        ("command that is none", p_data(pdv(1, b"\xff" * 9, is_command=True, is_last=True)), 6),
        ("response", p_data(pdv(1, UNASKED, is_command=True, is_last=True)), 6),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_protocol_violation_is_aborted_as_service_provider(
    node: ScpNode, name: str, data: bytes, reason: int
) -> None:
    with calling(node.address) as peer:
        peer.associate([(VERIFICATION, [IMPLICIT])])
        peer.send(data)
        assert abort_of(peer) == (2, reason)
        assert peer.is_closed()


def test_endless_command_set_is_aborted(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(VERIFICATION, [IMPLICIT])])
        for _ in range(9):
            peer.send(p_data(pdv(1, bytes(16000), is_command=True, is_last=False)))
            time.sleep(0)
        assert abort_of(peer) == (2, 6)


def test_another_message_inside_a_data_set_is_aborted(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(CT_IMAGE, [EXPLICIT]), (CT_IMAGE, [IMPLICIT])])
        peer.send(p_data(pdv(1, store_rq("1.2.3"), is_command=True, is_last=True)))
        peer.send(p_data(pdv(1, b"\x08\0", is_command=False, is_last=False)))
        peer.send(p_data(pdv(3, b"\x08\0", is_command=False, is_last=False)))
        assert abort_of(peer) == (2, 6)
        wait_until(lambda: not node.spooled)


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", ECHO, RELEASE_RQ, b"\1\0\xff\xff\xff\xff", b"\1\0\0\0\0\4abcd"],
)
def test_what_is_no_association_request_is_aborted(node: ScpNode, data: bytes) -> None:
    with calling(node.address) as peer:
        peer.send(data)
        assert abort_of(peer)[0] == 2
        assert peer.is_closed()


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_probes_leave_no_thread_and_no_descriptor(node: ScpNode) -> None:
    wait_until(lambda: node.server.connections == 0)
    descriptors, threads = open_descriptors(), threading.active_count()
    for number in range(200):
        probe = socket.create_connection(node.address)
        if number % 2:
            probe.sendall(b"\1\0")
        probe.close()
    wait_until(lambda: node.server.connections == 0)
    wait_until(lambda: threading.active_count() <= threads)
    # The database's own connections come and go; 200 of ours would be seen.
    assert open_descriptors() < descriptors + 20


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def test_silent_connections_cost_next_to_no_memory(node: ScpNode) -> None:
    before = resident_bytes()
    silent = [socket.create_connection(node.address) for _ in range(200)]
    wait_until(lambda: node.server.connections == len(silent))
    assert resident_bytes() - before < 20 << 20
    for connection in silent:
        connection.close()
    wait_until(lambda: node.server.connections == 0)


def test_silent_connection_is_closed_by_the_artim_timer(mongodb_uri: str, tmp_path: Path) -> None:
    with scp_node(tmp_path, mongodb_uri, limits=HASTY) as hasty:
        with calling(hasty.address) as silent:
            assert silent.is_closed()
        with calling(hasty.address) as slow:  # a byte now and then does not help
            for byte in associate_rq([(VERIFICATION, [IMPLICIT])]):
                try:
                    slow.send(bytes((byte,)))
                except OSError:
                    break
                time.sleep(0.01)
            assert slow.is_closed()


def test_idle_association_is_aborted_after_the_network_timeout(
    mongodb_uri: str, tmp_path: Path
) -> None:
    with (
        scp_node(tmp_path, mongodb_uri, limits=HASTY) as hasty,
        calling(hasty.address) as peer,
    ):
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        assert abort_of(peer)[0] == 2


def test_sender_that_stalls_is_aborted_and_its_part_removed(
    mongodb_uri: str, tmp_path: Path
) -> None:
    limits = TimeLimits(dimse_seconds=0.3)
    with (
        scp_node(tmp_path, mongodb_uri, limits=limits) as hasty,
        calling(hasty.address) as peer,
    ):
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        peer.send(p_data(pdv(1, store_rq("1.2.3"), is_command=True, is_last=True)))
        peer.send(p_data(pdv(1, b"\x08\0", is_command=False, is_last=False)))
        assert abort_of(peer)[0] == 2
        wait_until(lambda: not hasty.spooled)


def test_stop_waits_for_what_is_under_way_and_not_for_the_idle(
    mongodb_uri: str, tmp_path: Path
) -> None:
    with (
        scp_node(tmp_path, mongodb_uri) as node,
        calling(node.address) as idle,
        calling(node.address) as busy,
    ):
        idle.associate([(VERIFICATION, [IMPLICIT])])
        busy.associate([(CT_IMAGE, [EXPLICIT])])
        busy.send(p_data(pdv(1, store_rq("1.2.3"), is_command=True, is_last=True)))
        wait_until(lambda: node.spooled)
        stopping = threading.Thread(target=node.server.stop)
        stopping.start()
        assert abort_of(idle)[0] == 0
        busy.send(p_data(pdv(1, b"\x08\0", is_command=False, is_last=True)))
        assert busy.receive().status == 0xC000
        busy.send(ABORT)
        stopping.join(10)
        assert not stopping.is_alive()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(node.address, 1)


def test_address_in_use_is_said_by_name(node: ScpNode, mongodb_uri: str) -> None:
    from hilum.core.errors import Invalid
    from hilum.scp.acceptor import Admission
    from hilum.scp.server import Server

    server = Server("127.0.0.1", node.server.port, Admission("X"), node.services)
    with pytest.raises(Invalid, match=str(node.server.port)):
        server.start()


def test_peer_prints_as_it_is_written_on_the_command_line() -> None:
    assert str(Peer("CT", "10.0.0.1", 104)) == "CT@10.0.0.1:104"
