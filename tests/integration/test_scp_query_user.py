"""The node as user of C-FIND, C-MOVE and C-GET: what it asks, and what it makes of the answers."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from pydicom.dataset import Dataset

from hilum.core.errors import Invalid, PeerRefused, PeerUnreachable
from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag, vr_of
from hilum.core.peer import Peer
from hilum.index.database import Database
from hilum.index.queries import QueryLedger
from hilum.scp.association import TimeLimits
from hilum.scp.find_scu import find
from hilum.scp.get_scu import get
from hilum.scp.move_scu import Moved, move
from hilum.scp.user import User
from hilum.services.dimse import Call
from hilum.services.queries import Queries
from tests.dcmtk import data_set_bytes, run, storescp, storescu
from tests.generated import ct_files, uid
from tests.integration.peers import RawPeer, accept, command, encode, listening
from tests.integration.scp_node import scp_node
from tests.nodes import free_port, wait_until
from tests.orthancs import RunningOrthanc, running_orthanc

PENDING, SUCCESS, CANCELLED = 0xFF00, 0x0000, 0xFE00


def keys(**values: str) -> Attributes:
    """Return keys in the DICOM JSON model; an empty one is a return key."""
    return {
        json_tag(keyword): {"vr": vr_of(keyword)}
        | ({"Value": [{"Alphabetic": v} if vr_of(keyword) == "PN" else v]} if v else {})
        for keyword, v in values.items()
    }


@pytest.fixture(scope="module")
def destination_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(
    tmp_path_factory: pytest.TempPathFactory, destination_port: int
) -> Iterator[RunningOrthanc]:
    """Another node with two studies: three slices of one, one of the other."""
    folder = tmp_path_factory.mktemp("orthanc")
    modalities = {"dest": ["DEST", "127.0.0.1", destination_port]}
    with running_orthanc(folder / "o", DicomModalities=modalities) as running:
        for path in (
            *ct_files(folder / "a", 3, study="A", PatientName="Müller^Jörg"),
            *ct_files(folder / "b", 1, study="B"),
        ):
            post = Request(f"{running.http_url}/instances", path.read_bytes(), method="POST")
            urlopen(post).close()
        yield running


@pytest.fixture
def peer(orthanc: RunningOrthanc) -> Peer:
    return Peer(orthanc.aet, "127.0.0.1", orthanc.dicom_port)


def test_find_brings_what_the_peer_has(peer: Peer) -> None:
    asked = keys(PatientID="TEST-*", StudyInstanceUID="", PatientName="")
    found = [each.data_set() for each in find(peer, "HILUM", Level.STUDY, asked)]
    assert {(each.PatientID, str(each.PatientName), each.StudyInstanceUID) for each in found} == {
        ("TEST-A", "Müller^Jörg", uid("A")),
        ("TEST-B", "Test^B", uid("B")),
    }


def test_find_at_each_level(peer: Peer) -> None:
    study = {"StudyInstanceUID": uid("A")}
    for level, asked, expected in (
        (Level.PATIENT, keys(PatientID="", PatientName="M*"), {"TEST-A"}),
        (Level.SERIES, keys(**study, SeriesInstanceUID=""), {uid("A", 1)}),
        (
            Level.IMAGE,
            keys(**study, SeriesInstanceUID=uid("A", 1), SOPInstanceUID=""),
            {uid("A", 1, number) for number in (1, 2, 3)},
        ),
    ):
        found = [each.data_set() for each in find(peer, "HILUM", level, asked)]
        assert {str(each[level.unique_key].value) for each in found} == expected
        assert {each.QueryRetrieveLevel for each in found} == {level.value}


def test_name_in_foreign_letters_is_asked_for_as_such(peer: Peer) -> None:
    found = list(find(peer, "HILUM", Level.STUDY, keys(PatientName="Müller*", PatientID="")))
    assert [each.data_set().PatientID for each in found] == ["TEST-A"]


async def test_query_of_everything_does_not_fill_the_memory(
    peer: Peer, database: Database, mongodb_uri: str, tmp_path: Path
) -> None:
    asked, call = keys(PatientID=""), Call(peer, "HILUM")
    with scp_node(tmp_path, mongodb_uri) as node:
        ledger, user = QueryLedger(database), User(node.services)
        assert len(await Queries(user, ledger, most=2).find(call, Level.STUDY, asked)) == 2
        with pytest.raises(Invalid, match="more than 1 answers"):
            await Queries(user, ledger, most=1).find(call, Level.STUDY, asked)


def test_nothing_found_is_no_error(peer: Peer) -> None:
    assert list(find(peer, "HILUM", Level.STUDY, keys(PatientID="NOBODY"))) == []


def test_move_brings_the_study_to_the_destination(
    peer: Peer, destination_port: int, tmp_path: Path
) -> None:
    seen: list[Moved] = []
    with storescp(tmp_path / "in", "DEST", port=destination_port):
        moved = move(
            peer,
            "HILUM",
            Level.STUDY,
            keys(StudyInstanceUID=uid("A")),
            "DEST",
            report=seen.append,
        )
    assert (moved.completed, moved.failed, moved.remaining, moved.progress) == (3, 0, 0, 100)
    assert [each.completed for each in seen] == sorted(each.completed for each in seen)
    sent = ct_files(tmp_path / "out", 3, study="A", PatientName="Müller^Jörg")
    arrived = sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir())
    assert arrived == sorted(map(data_set_bytes, sent))


def test_get_brings_the_study_here(peer: Peer, mongodb_uri: str, tmp_path: Path) -> None:
    seen: list[Moved] = []
    asked = keys(StudyInstanceUID=uid("A"))
    with scp_node(tmp_path / "node", mongodb_uri) as node:
        moved = get(peer, Level.STUDY, asked, node.services, ae_title="HILUM", report=seen.append)
        here = Peer("HILUM", *node.address)
        found = list(find(here, "ASKER", Level.STUDY, keys(PatientID="", StudyInstanceUID="")))
        stored = [node.store.path(digest) for digest in node.stored]
        sent = ct_files(tmp_path / "out", 3, study="A", PatientName="Müller^Jörg")
        assert sorted(map(data_set_bytes, stored)) == sorted(map(data_set_bytes, sent))
    assert [each.data_set().PatientID for each in found] == ["TEST-A"]
    assert (moved.completed, moved.failed) == (3, 0)
    assert seen[-1] == moved


def test_get_of_what_cannot_be_stored_is_an_error(
    peer: Peer, mongodb_uri: str, tmp_path: Path
) -> None:
    asked = keys(StudyInstanceUID=uid("A"))
    with (
        scp_node(tmp_path, mongodb_uri, reserve_bytes=1 << 60) as full,
        pytest.raises(PeerRefused, match="C-GET with "),
    ):
        get(peer, Level.STUDY, asked, full.services, ae_title="HILUM")


def test_move_to_somebody_unknown_to_the_peer_says_its_status(peer: Peer) -> None:
    with pytest.raises(PeerRefused, match="answered C-MOVE with ") as refused:
        move(peer, "HILUM", Level.STUDY, keys(StudyInstanceUID=uid("A")), "NOWHERE")
    assert refused.value.status >> 12 in {0xA, 0xC}


def test_peer_that_serves_neither_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    with storescp(tmp_path, "STORE") as port:
        storing = Peer("STORE", "127.0.0.1", port)
        with pytest.raises(PeerRefused, match="accepts none of"):
            list(find(storing, "HILUM", Level.STUDY, keys(PatientID="")))
        with pytest.raises(PeerRefused, match="accepts none of"):
            move(storing, "HILUM", Level.STUDY, keys(StudyInstanceUID="1.2"), "DEST")
    with pytest.raises(PeerUnreachable, match="cannot be reached"):
        list(find(storing, "HILUM", Level.STUDY, keys(PatientID="")))


# -- another program's archive ---------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, destination_port: int) -> Iterator[Peer]:
    """dcmtk's archive, with the same two studies."""
    folder = tmp_path_factory.mktemp("dcmqrscp")
    port = free_port()
    (folder / "database").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"""NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
dest = (DEST, 127.0.0.1, {destination_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QR {folder / "database"} RW (200, 1024mb) ANY
AETable END
"""
    )
    process = subprocess.Popen(["/usr/bin/dcmqrscp", "-c", folder / "dcmqrscp.cfg"])
    try:
        called = ("-aec", "QR", "127.0.0.1", str(port))
        wait_until(lambda: run("echoscu", *called).status == 0, what="dcmqrscp answers")
        files = [*ct_files(folder / "a", 3, study="A"), *ct_files(folder / "b", 1, study="B")]
        assert len(storescu(called, *files).acknowledged) == len(files)
        yield Peer("QR", "127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def test_all_three_with_the_archive_of_dcmtk(
    archive: Peer, destination_port: int, mongodb_uri: str, tmp_path: Path
) -> None:
    asked = keys(PatientID="TEST-*", StudyInstanceUID="")
    found = [each.data_set() for each in find(archive, "HILUM", Level.STUDY, asked)]
    assert {each.StudyInstanceUID for each in found} == {uid("A"), uid("B")}
    sent = sorted(map(data_set_bytes, ct_files(tmp_path / "out", 3, study="A")))
    wanted = keys(StudyInstanceUID=uid("A"))
    with storescp(tmp_path / "in", "DEST", port=destination_port):
        moved = move(archive, "HILUM", Level.STUDY, wanted, "DEST")
    assert (moved.completed, moved.failed) == (3, 0)
    assert sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir()) == sent
    with scp_node(tmp_path / "node", mongodb_uri) as node:
        brought = get(archive, Level.STUDY, wanted, node.services, ae_title="HILUM")
        stored = [node.store.path(digest) for digest in node.stored]
        assert sorted(map(data_set_bytes, stored)) == sent
    assert (brought.completed, brought.failed) == (3, 0)
    with pytest.raises(PeerRefused, match="C-MOVE with A801"):
        move(archive, "HILUM", Level.STUDY, wanted, "NOWHERE")


# -- scripted peers ------------------------------------------------------------------------


@contextmanager
def scripted(script: Callable[[RawPeer], None]) -> Iterator[Peer]:
    """A peer that takes one association and does as the script says."""
    with listening() as listener:

        def play() -> None:
            peer = accept(listener)
            try:
                script(peer)
            finally:
                peer.close()

        thread = threading.Thread(target=play)
        thread.start()
        yield Peer("SCRIPTED", *listener.getsockname())
        thread.join(30)
        assert not thread.is_alive()


def answer(peer: RawPeer, request: Dataset, status: int, **more: object) -> None:
    found = more.pop("found", None)
    data_set = encode(found, "1.2.840.10008.1.2.1") if isinstance(found, Dataset) else b""
    peer.request(
        1,
        command(
            AffectedSOPClassUID=request.AffectedSOPClassUID,
            CommandField=request.CommandField | 0x8000,
            MessageIDBeingRespondedTo=request.MessageID,
            CommandDataSetType=1 if data_set else 0x0101,
            Status=status,
            **more,
        ),
        data_set,
    )


def study(number: int) -> Dataset:
    found = Dataset()
    found.StudyInstanceUID = f"1.2.{number}"
    return found


def test_enough_is_told_to_the_peer() -> None:
    cancels: list[int] = []

    def endless(peer: RawPeer) -> None:
        request = peer.receive().command
        for number in range(3):
            answer(peer, request, PENDING, found=study(number))
        cancel = peer.receive().command
        cancels.append(cancel.MessageIDBeingRespondedTo - request.MessageID)
        assert cancel.CommandField == 0x0FFF
        answer(peer, request, PENDING, found=study(3))  # was on its way
        answer(peer, request, CANCELLED)
        assert peer.read_pdu()[0] == 5
        peer.send(bytes.fromhex("06000000000400000000"))

    with scripted(endless) as peer:
        found = list(find(peer, "HILUM", Level.STUDY, keys(StudyInstanceUID=""), most=2))
    assert [each.data_set().StudyInstanceUID for each in found] == ["1.2.0", "1.2.1"]
    assert cancels == [0]


def test_move_is_cancelled_while_the_peer_is_busy() -> None:
    started = threading.Event()

    def slow(peer: RawPeer) -> None:
        request = peer.receive().command
        assert request.MoveDestination == "DEST"
        answer(peer, request, PENDING, NumberOfRemainingSuboperations=9)
        started.set()
        assert peer.receive().command.CommandField == 0x0FFF
        answer(peer, request, CANCELLED, NumberOfRemainingSuboperations=9)
        assert peer.read_pdu()[0] == 5
        peer.send(bytes.fromhex("06000000000400000000"))

    with scripted(slow) as peer:
        moved = move(
            peer,
            "HILUM",
            Level.STUDY,
            keys(StudyInstanceUID="1.2"),
            "DEST",
            cancelled=started.is_set,
        )
    assert (moved.remaining, moved.progress) == (9, 0)


def test_incomplete_move_is_an_error_and_one_with_warnings_is_not() -> None:
    def with_counts(**counts: int) -> Callable[[RawPeer], None]:
        def script(peer: RawPeer) -> None:
            request = peer.receive().command
            answer(peer, request, 0xB000, **counts)
            assert peer.read_pdu()[0] == 5

        return script

    asked = keys(StudyInstanceUID="1.2")
    failed = with_counts(NumberOfCompletedSuboperations=1, NumberOfFailedSuboperations=1)
    with scripted(failed) as peer, pytest.raises(PeerRefused, match="B000"):
        move(peer, "HILUM", Level.STUDY, asked, "DEST")
    warned = with_counts(NumberOfCompletedSuboperations=1, NumberOfWarningSuboperations=1)
    with scripted(warned) as peer:
        assert move(peer, "HILUM", Level.STUDY, asked, "DEST").warning == 1


def test_failure_carries_status_and_comment() -> None:
    def script(peer: RawPeer) -> None:
        request = peer.receive().command
        answer(peer, request, 0xA700, ErrorComment="too much")
        assert peer.read_pdu()[0] == 5

    with (
        scripted(script) as peer,
        pytest.raises(PeerRefused, match="C-FIND with A700: too much") as refused,
    ):
        list(find(peer, "HILUM", Level.STUDY, keys(PatientID="*")))
    assert refused.value.status == 0xA700


def test_silent_peer_is_given_up() -> None:
    def script(peer: RawPeer) -> None:
        peer.receive()
        assert peer.is_closed()

    limits = TimeLimits(dimse_seconds=0.3)
    with scripted(script) as peer, pytest.raises(PeerUnreachable, match=r"SCRIPTED.*no response"):
        list(find(peer, "HILUM", Level.STUDY, keys(PatientID="*"), limits))


def test_query_that_is_left_is_aborted() -> None:
    def script(peer: RawPeer) -> None:
        request = peer.receive().command
        answer(peer, request, PENDING, found=study(1))
        assert peer.read_pdu()[0] == 7

    with scripted(script) as peer:
        matches = find(peer, "HILUM", Level.STUDY, keys(StudyInstanceUID=""))
        assert next(matches).data_set().StudyInstanceUID == "1.2.1"
        matches.close()  # type: ignore[attr-defined]
