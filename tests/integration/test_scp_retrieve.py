"""C-MOVE and C-GET: what arrives, what is counted, what is said when it does not arrive."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from hilum.core.peer import Peer
from tests.data_sets import encoded, minimal, native
from tests.dcmtk import data_set_bytes, run, storescp, storescu, transfer_syntax
from tests.generated import ct, save, uid
from tests.integration.peers import (
    ABORT,
    BIG_ENDIAN,
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
    cancel_rq,
    encode,
    p_data,
    pdv,
    query_rq,
    store_rq,
)
from tests.integration.scp_node import ScpNode, scp_node
from tests.nodes import free_port

COUNT = 4


@pytest.fixture(scope="module")
def peers() -> dict[str, Peer]:
    """Destinations; tests add theirs, the node looks them up as they are."""
    return {"DOWN": Peer("DOWN", "127.0.0.1", free_port())}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [
        save(ct(number, study="moved", size=200), folder / f"{number}.dcm")
        for number in range(1, COUNT + 1)
    ]


@pytest.fixture(scope="module")
def node(
    mongodb_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    peers: dict[str, Peer],
    files: list[Path],
) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri, peers=peers) as running:
        sent = storescu((*running.peer, *map(str, files)))
        assert set(sent.statuses.values()) == {"Success"}
        yield running


STUDY = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('moved')}")


def study(study_instance_uid: str = uid("moved")) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    return identifier


def counts(response: Response) -> tuple[Any, Any, Any, Any]:
    """Remaining, Completed, Failed, Warning."""
    return tuple(
        response.command.get(f"NumberOf{kind}Suboperations")
        for kind in ("Remaining", "Completed", "Failed", "Warning")
    )  # type: ignore[return-value]


def failed_list(response: Response) -> list[str]:
    value = response.identifier().FailedSOPInstanceUIDList
    return list(value) if isinstance(value, MultiValue) else [value]


def by_instance(folder: Path) -> dict[str, bytes]:
    """Data sets in a folder of storescp's, by what is in their file name."""
    return {path.name: data_set_bytes(path) for path in folder.iterdir()}


# -- C-MOVE ----------------------------------------------------------------------------


def test_movescu_brings_every_instance_byte_for_byte(
    node: ScpNode, peers: dict[str, Peer], files: list[Path], tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", "DEST") as port:
        peers["DEST"] = Peer("DEST", "127.0.0.1", port)
        moved = run("movescu", "-v", "-S", "-aem", "DEST", *STUDY, *node.peer)
    assert moved.status == 0, moved.output
    assert sorted(by_instance(tmp_path / "in").values()) == sorted(map(data_set_bytes, files))


def test_data_set_of_an_odd_length_is_padded_for_who_cannot_bear_it(
    node: ScpNode, peers: dict[str, Peer], tmp_path: Path
) -> None:
    """Equipment sends them, and dcmtk aborts on a fragment of an odd length."""
    odd = minimal(StudyInstanceUID=uid("odd"), SOPInstanceUID=uid("odd", 1))
    body = encoded(odd) + native(b"\1" * 101, b"OB")
    with calling(node.address) as peer:
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        peer.request(1, store_rq(uid("odd", 1)), body)
        assert peer.receive().status == 0
        peer.release()
    with storescp(tmp_path / "in", "DEST") as port:
        peers["DEST"] = Peer("DEST", "127.0.0.1", port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('odd')}")
        moved = run("movescu", "-v", "-S", "-aem", "DEST", *keys, *node.peer)
    assert moved.status == 0, moved.output
    (arrived,) = by_instance(tmp_path / "in").values()
    assert arrived.endswith(b"\1" * 101 + b"\0")


@pytest.mark.parametrize(("option", "expected"), [("+xi", IMPLICIT), ("+xe", EXPLICIT)])
def test_what_is_not_accepted_as_stored_is_rewritten(
    mongodb_uri: str, tmp_path: Path, option: str, expected: str
) -> None:
    source = save(ct(1, study="rewritten", size=32), tmp_path / "source.dcm")
    assert run("dcmconv", "+tb", source, tmp_path / "big.dcm").status == 0
    with storescp(tmp_path / "in", "DEST", option.replace("+xe", "+x=")) as port:
        peers = {"DEST": Peer("DEST", "127.0.0.1", port)}
        with scp_node(tmp_path / "node", mongodb_uri, peers=peers) as node:
            storescu((*node.peer, str(tmp_path / "big.dcm")), "-xb")
            identifier = study(uid("rewritten"))
            with calling(node.address) as peer:
                peer.associate([(STUDY_MOVE, [IMPLICIT])])
                request = query_rq(0x21, STUDY_MOVE, MoveDestination="DEST")
                peer.request(1, request, encode(identifier))
                final = peer.receive_all()[-1]
    assert (final.status, counts(final)) == (0, (None, 1, 0, 0))
    (arrived,) = (tmp_path / "in").iterdir()
    if expected == IMPLICIT:
        assert transfer_syntax(arrived) == IMPLICIT
    # Every element the same, whatever the encoding: dcmtk compares.
    assert run("dcmconv", "+te", arrived, tmp_path / "back.dcm").status == 0
    assert data_set_bytes(tmp_path / "back.dcm") == data_set_bytes(source)


def test_unknown_destination_is_a801(node: ScpNode) -> None:
    moved = run("movescu", "-d", "-S", "-aem", "NOBODY", *STUDY, *node.peer)
    assert "0xa801" in moved.output.lower()


@pytest.fixture
def requester(node: ScpNode) -> Iterator[RawPeer]:
    with calling(node.address) as peer:
        peer.associate([(STUDY_MOVE, [IMPLICIT])], calling="REQUESTER")
        yield peer


def move(requester: RawPeer, destination: str, identifier: Dataset | None = None) -> None:
    requester.request(
        1,
        query_rq(0x21, STUDY_MOVE, 42, MoveDestination=destination),
        encode(identifier or study()),
    )


def test_unreachable_destination_is_a702_with_every_instance_listed(requester: RawPeer) -> None:
    move(requester, "DOWN")
    final = requester.receive_all()[-1]
    assert final.status == 0xA702
    assert counts(final) == (None, 0, COUNT, 0)
    assert sorted(failed_list(final)) == sorted(
        uid("moved", 1, number) for number in range(1, COUNT + 1)
    )
    assert "DOWN@127.0.0.1" in final.command.ErrorComment


def test_nothing_matched_is_success_without_an_association(requester: RawPeer) -> None:
    move(requester, "DOWN", study("1.2.3"))
    (final,) = requester.receive_all()
    assert (final.status, counts(final)) == (0, (None, 0, 0, 0))


def test_identifier_without_unique_key_is_a900(requester: RawPeer) -> None:
    move(requester, "DOWN", study(""))
    (final,) = requester.receive_all()
    assert final.status == 0xA900


Script = Callable[[RawPeer], None]


@contextmanager
def destination(
    peers: dict[str, Peer], *scripts: Script, transfer_syntaxes: list[str] | None = None
) -> Iterator[None]:
    """A peer called SCRIPTED that plays one script for each association it is offered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        peers["SCRIPTED"] = Peer("SCRIPTED", "127.0.0.1", listener.getsockname()[1])
        faults: list[BaseException] = []

        def play() -> None:
            try:
                for script in scripts:
                    peer = accept(listener, transfer_syntaxes)
                    try:
                        script(peer)
                    finally:
                        peer.close()
            except BaseException as error:  # noqa: BLE001  # shown by the test's thread
                faults.append(error)

        thread = threading.Thread(target=play)
        thread.start()
        yield
        thread.join(30)
        assert not faults, faults


def answering(*statuses: int, seen: list[Dataset] | None = None) -> Script:
    """Answer C-STORE requests with these statuses, then the release."""

    def script(peer: RawPeer) -> None:
        for status in statuses:
            message = peer.receive()
            if seen is not None:
                seen.append(message.command)
            peer.respond(message.context_id, message.command, status)
        pdu_type, _ = peer.read_pdu()
        assert pdu_type == 5
        peer.send(RELEASE_RP)

    return script


def test_counts_while_it_runs_and_at_the_end(requester: RawPeer, peers: dict[str, Peer]) -> None:
    with destination(peers, answering(0, 0xB000, 0xA700, 0)):
        move(requester, "SCRIPTED")
        responses = requester.receive_all()
    assert [counts(response) for response in responses] == [
        (3, 1, 0, 0),
        (2, 1, 0, 1),
        (1, 1, 1, 1),
        (0, 2, 1, 1),
        (None, 2, 1, 1),
    ]
    assert [response.status for response in responses] == [0xFF00] * 4 + [0xB000]
    assert failed_list(responses[-1]) == [uid("moved", 1, 3)]
    assert all(not response.data_set for response in responses[:-1])


@pytest.mark.parametrize(
    ("statuses", "final"),
    [
        ((0, 0, 0, 0), 0x0000),
        ((0xB000, 0xB006, 0xB007, 0xB000), 0xB000),
        ((0xA900, 0xC000, 0x0122, 0xA700), 0xA702),
        ((0xA900, 0xC000, 0x0122, 0xB000), 0xB000),
    ],
)
def test_final_status(
    requester: RawPeer, peers: dict[str, Peer], statuses: tuple[int, ...], final: int
) -> None:
    with destination(peers, answering(*statuses)):
        move(requester, "SCRIPTED")
        assert requester.receive_all()[-1].status == final


def test_originator_is_the_requester_and_its_message(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    seen: list[Dataset] = []
    with destination(peers, answering(*[0] * COUNT, seen=seen)):
        move(requester, "SCRIPTED")
        requester.receive_all()
    assert {command.MoveOriginatorApplicationEntityTitle for command in seen} == {"REQUESTER"}
    assert {command.MoveOriginatorMessageID for command in seen} == {42}
    assert [command.AffectedSOPInstanceUID for command in seen] == [
        uid("moved", 1, number) for number in range(1, COUNT + 1)
    ]
    assert len({command.MessageID for command in seen}) == COUNT


def test_association_lost_half_way_costs_one_instance(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    def abort_at_the_second(peer: RawPeer) -> None:
        message = peer.receive()
        peer.respond(message.context_id, message.command)
        peer.receive()
        peer.send(ABORT)

    with destination(peers, abort_at_the_second, answering(0, 0)):
        move(requester, "SCRIPTED")
        final = requester.receive_all()[-1]
    assert (final.status, counts(final)) == (0xB000, (None, 3, 1, 0))
    assert failed_list(final) == [uid("moved", 1, 2)]


def test_destination_that_aborts_whatever_comes_is_given_up(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    def abort(peer: RawPeer) -> None:
        peer.receive()
        peer.send(ABORT)

    with destination(peers, abort, abort):
        move(requester, "SCRIPTED")
        final = requester.receive_all()[-1]
    assert (final.status, counts(final)) == (0xA702, (None, 0, COUNT, 0))


def test_destination_without_an_acceptable_context_fails_all(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    with destination(peers, answering(), transfer_syntaxes=[BIG_ENDIAN]):
        move(requester, "SCRIPTED")
        final = requester.receive_all()[-1]
    assert (final.status, counts(final)) == (0xA702, (None, 0, COUNT, 0))
    assert CT_IMAGE in final.command.ErrorComment


def test_cancel_stops_between_instances(requester: RawPeer, peers: dict[str, Peer]) -> None:
    def cancelled_after_the_first(peer: RawPeer) -> None:
        message = peer.receive()
        requester.request(1, cancel_rq(42))
        peer.respond(message.context_id, message.command)
        pdu_type, _ = peer.read_pdu()
        assert pdu_type == 5  # a release: no second instance
        peer.send(RELEASE_RP)

    with destination(peers, cancelled_after_the_first):
        move(requester, "SCRIPTED")
        final = requester.receive_all()[-1]
    assert (final.status, counts(final)) == (0xFE00, (COUNT - 1, 1, 0, 0))


def test_requester_hears_of_a_destination_that_takes_its_time(
    requester: RawPeer, peers: dict[str, Peer]
) -> None:
    pending: list[Response] = []
    heard = threading.Event()

    def slow(peer: RawPeer) -> None:
        message = peer.receive()
        pending.append(requester.receive())  # comes although nothing is done yet
        heard.set()
        peer.respond(message.context_id, message.command)
        answering(*[0] * (COUNT - 1))(peer)

    with destination(peers, slow):
        move(requester, "SCRIPTED")
        assert heard.wait(60)
        final = requester.receive_all()[-1]
    assert counts(pending[0]) == (COUNT, 0, 0, 0)
    assert counts(final) == (None, COUNT, 0, 0)


def test_requester_that_goes_away_leaves_nothing_behind(
    node: ScpNode, peers: dict[str, Peer]
) -> None:
    def requester_gone(peer: RawPeer) -> None:
        message = peer.receive()
        requester.socket.close()
        peer.respond(message.context_id, message.command)
        pdu_type, _ = peer.read_pdu()
        assert pdu_type == 5  # a release: no second instance
        peer.send(RELEASE_RP)

    with calling(node.address) as requester, destination(peers, requester_gone):
        requester.associate([(STUDY_MOVE, [IMPLICIT])])
        move(requester, "SCRIPTED")


def test_stored_file_that_is_gone_is_one_failure(
    mongodb_uri: str, tmp_path: Path, files: list[Path]
) -> None:
    peers: dict[str, Peer] = {}
    with scp_node(tmp_path, mongodb_uri, peers=peers) as node:
        storescu((*node.peer, *map(str, files)))
        lost = next(d for d in node.stored if node.store.read(d).endswith(data_set_bytes(files[1])))
        node.store.remove(lost)
        with calling(node.address) as requester, destination(peers, answering(0, 0, 0)):
            requester.associate([(STUDY_MOVE, [IMPLICIT])])
            move(requester, "SCRIPTED")
            final = requester.receive_all()[-1]
    assert (final.status, counts(final)) == (0xB000, (None, 3, 1, 0))
    assert failed_list(final) == [uid("moved", 1, 2)]


# -- C-GET -----------------------------------------------------------------------------


def test_getscu_brings_every_instance_byte_for_byte(
    node: ScpNode, files: list[Path], tmp_path: Path
) -> None:
    got = run("getscu", "-S", "+B", "-od", tmp_path, *STUDY, *node.peer)
    assert got.status == 0, got.output
    assert sorted(by_instance(tmp_path).values()) == sorted(map(data_set_bytes, files))


def get(peer: RawPeer, statuses: list[int], request_context: int = 1) -> list[Response]:
    """Ask for the study, answer each C-STORE, and return the C-GET responses."""
    peer.request(request_context, query_rq(0x10, STUDY_GET, 9), encode(study()))
    responses: list[Response] = []
    waiting = list(statuses)
    while not responses or responses[-1].status == 0xFF00:
        message = peer.receive()
        if message.command.CommandField == 0x0001:
            assert "MoveOriginatorMessageID" not in message.command
            peer.respond(message.context_id, message.command, waiting.pop(0))
        else:
            responses.append(message)
    assert not waiting
    return responses


def test_get_counts(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])], roles=[CT_IMAGE])
        responses = get(peer, [0, 0xA700, 0xB000, 0])
    assert [counts(response) for response in responses] == [
        (3, 1, 0, 0),
        (2, 1, 1, 0),
        (1, 1, 1, 1),
        (0, 2, 1, 1),
        (None, 2, 1, 1),
    ]
    assert responses[-1].status == 0xB000
    assert failed_list(responses[-1]) == [uid("moved", 1, 2)]


@pytest.mark.parametrize("roles", [[], ["1.2.3.4"]])
def test_get_without_the_role_or_the_context_fails_all(node: ScpNode, roles: list[str]) -> None:
    storage = CT_IMAGE if not roles else "1.2.3.4"
    with calling(node.address) as peer:
        peer.associate([(STUDY_GET, [IMPLICIT]), (storage, [EXPLICIT])], roles=roles)
        final = get(peer, [])[-1]
    assert (final.status, counts(final)) == (0xA702, (None, 0, COUNT, 0))


def test_get_is_cancelled_between_instances(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])], roles=[CT_IMAGE])
        peer.request(1, query_rq(0x10, STUDY_GET, 9), encode(study()))
        message = peer.receive()
        peer.request(1, cancel_rq(9))
        peer.respond(message.context_id, message.command)
        final = peer.receive_all()[-1]
    assert (final.status, counts(final)) == (0xFE00, (COUNT - 1, 1, 0, 0))


def test_get_in_implicit_vr_is_rewritten(node: ScpNode, files: list[Path], tmp_path: Path) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [IMPLICIT])], roles=[CT_IMAGE])
        peer.request(1, query_rq(0x10, STUDY_GET, 9), encode(study()))
        first = peer.receive()
        while first.command.CommandField != 0x0001:  # pending ones, while a helper starts
            first = peer.receive()
    assert run("dcmconv", "+ti", files[0], tmp_path / "implicit.dcm").status == 0
    assert first.data_set == data_set_bytes(tmp_path / "implicit.dcm")


def test_small_pdus_are_respected_and_unlimited_ones_capped(node: ScpNode) -> None:
    for maximum, longest in ((128, 128), (0, 1 << 20)):
        with calling(node.address) as peer:
            peer.associate(
                [(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])],
                roles=[CT_IMAGE],
                maximum_pdu=maximum,
            )
            peer.request(1, query_rq(0x10, STUDY_GET, 9), encode(study()))
            for _ in range(20):
                pdu_type, body = peer.read_pdu()
                assert pdu_type == 4
                assert len(body) <= longest
                if body[5] == 2:  # last fragment of the data set
                    break


def test_another_request_while_one_is_running_is_aborted(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_GET, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])], roles=[CT_IMAGE])
        request = query_rq(0x10, STUDY_GET, 9)
        for _ in range(2):
            peer.send(p_data(pdv(1, request, is_command=True, is_last=True)))
            peer.send(p_data(pdv(1, encode(study()), is_command=False, is_last=True)))
        assert peer.is_closed()
