"""The node as service class user: what `hilum echo` and `hilum send` do."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.core.errors import PeerUnreachable
from hilum.core.peer import Peer
from hilum.scp import client
from hilum.scp.association import TimeLimits
from tests.dcmtk import data_set_bytes, storescp
from tests.generated import ct, ct_files, save
from tests.integration.peers import ABORT, EXPLICIT, accept, listening
from tests.integration.scp_node import ScpNode, scp_node
from tests.nodes import free_port


@pytest.fixture(scope="module")
def node(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri) as running:
        yield running


@pytest.fixture
def peer(node: ScpNode) -> Peer:
    return Peer("HILUM", *node.address)


def test_echo_says_what_was_negotiated(peer: Peer) -> None:
    answer = client.echo(peer, "CLIENT")
    assert (answer.status, answer.transfer_syntax_uid) == (0, EXPLICIT)
    assert (answer.implementation, answer.maximum_pdu_bytes) == ("HILUM", 128 * 1024)


def test_echo_of_nobody_says_who_cannot_be_reached() -> None:
    port = free_port()
    with pytest.raises(PeerUnreachable, match=f"NOBODY@127.0.0.1:{port} cannot be reached"):
        client.echo(Peer("NOBODY", "127.0.0.1", port), "CLIENT")


def test_rejection_is_told_with_its_reason(mongodb_uri: str, tmp_path: Path) -> None:
    with (
        scp_node(tmp_path, mongodb_uri, check_called_aet=True) as strict,
        pytest.raises(PeerUnreachable, match=r"called AE title not recognized \(1/1/7\)"),
    ):
        client.echo(Peer("WRONG", *strict.address), "CLIENT")


def test_send_brings_files_to_dcmtk_byte_for_byte(tmp_path: Path) -> None:
    files = ct_files(tmp_path / "out", 3, study="client")
    with storescp(tmp_path / "in", "DEST") as port:
        sent = list(client.send(Peer("DEST", "127.0.0.1", port), "CLIENT", files))
    assert [(each.path, each.status) for each in sent] == [(file, 0) for file in files]
    arrived = sorted(data_set_bytes(path) for path in (tmp_path / "in").iterdir())
    assert arrived == sorted(map(data_set_bytes, files))


def test_more_kinds_than_an_association_has_contexts(peer: Peer, tmp_path: Path) -> None:
    files = []
    for number in range(150):
        image = ct(number, study="kinds", size=4)
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = f"1.2.3.{number}"
        files.append(save(image, tmp_path / f"{number}.dcm"))
    sent = list(client.send(peer, "CLIENT", files))
    assert [each.path for each in sent] == files
    assert all(each.stored for each in sent)


def test_what_is_no_dicom_does_not_stop_the_rest(peer: Peer, tmp_path: Path) -> None:
    (good,) = ct_files(tmp_path, 1, study="mixture")
    text, absent = tmp_path / "text.txt", tmp_path / "absent.dcm"
    text.write_text("no DICOM at all\n" * 20)
    sent = {each.path: each for each in client.send(peer, "CLIENT", [text, absent, tmp_path, good])}
    assert sent[good].stored
    assert not any(sent[path].stored for path in (text, absent, tmp_path))
    assert all(sent[path].reason for path in (text, absent, tmp_path))


def test_nobody_there_is_a_reason_for_each_file(tmp_path: Path) -> None:
    files = ct_files(tmp_path, 3)
    sent = list(client.send(Peer("NOBODY", "127.0.0.1", free_port()), "CLIENT", files))
    assert [each.status for each in sent] == [None] * 3
    assert all("cannot be reached" in each.reason for each in sent)


def test_peer_that_never_answers_is_given_up(tmp_path: Path) -> None:
    (file,) = ct_files(tmp_path, 1)
    with listening() as listener:

        def swallow() -> None:
            silent = accept(listener)
            silent.receive()
            assert silent.is_closed()
            silent.close()

        thread = threading.Thread(target=swallow)
        thread.start()
        peer = Peer("SILENT", *listener.getsockname())
        (sent,) = client.send(peer, "CLIENT", [file], TimeLimits(dimse_seconds=0.3))
        thread.join(10)
    assert sent.status is None
    assert "no response" in sent.reason


def test_warning_is_stored_and_failure_is_not(tmp_path: Path) -> None:
    files = ct_files(tmp_path, 3)
    with listening() as listener:

        def answer() -> None:
            scripted = accept(listener)
            for status in (0xB000, 0xA700):
                message = scripted.receive()
                scripted.respond(message.context_id, message.command, status)
            scripted.receive()
            scripted.send(ABORT)
            scripted.close()

        thread = threading.Thread(target=answer)
        thread.start()
        sent = list(client.send(Peer("SCRIPTED", *listener.getsockname()), "CLIENT", files))
        thread.join(10)
    assert [(each.status, each.stored) for each in sent] == [
        (0xB000, True),
        (0xA700, False),
        (None, False),
    ]
