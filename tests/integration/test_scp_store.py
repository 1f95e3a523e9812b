"""Storing over the network: what is acknowledged, and how what is not is refused."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from hilum.imaging.part10 import file_meta
from tests.dcmtk import data_set_bytes, run, storescu
from tests.generated import ct, ct_files, save, uid
from tests.integration.peers import (
    ABORT,
    BIG_ENDIAN,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    RawPeer,
    calling,
    command,
    encode,
    p_data,
    pdv,
    store_rq,
)
from tests.integration.scp_node import ScpNode, scp_node
from tests.nodes import wait_until


@pytest.fixture(scope="module")
def node(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri) as running:
        yield running


def data_set(number: int = 1, **values: object) -> tuple[str, bytes]:
    """A CT and its encoding in Explicit VR Little Endian."""
    image = ct(number, study="raw", **values)
    return image.SOPInstanceUID, encode(image, EXPLICIT)


def stored_file(sop_instance_uid: str, content: bytes) -> bytes:
    return file_meta(CT_IMAGE, sop_instance_uid, EXPLICIT) + content


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def peer(node: ScpNode) -> Iterator[RawPeer]:
    with calling(node.address) as raw:
        raw.associate([(CT_IMAGE, [EXPLICIT])])
        yield raw


def test_echo_is_answered(node: ScpNode) -> None:
    assert run("echoscu", *node.peer).status == 0


def test_stored_data_set_is_byte_for_byte_what_was_sent(node: ScpNode, tmp_path: Path) -> None:
    files = ct_files(tmp_path, 3, study="exact")
    sent = storescu((*node.peer, *map(str, files)))
    assert set(sent.statuses.values()) == {"Success"}
    for file in files:
        expected = data_set_bytes(file)
        assert any(
            node.store.read(name).endswith(expected) and digest(node.store.read(name)) == name
            for name in node.stored
        )


def test_release_is_answered_when_the_instance_can_be_found(node: ScpNode, tmp_path: Path) -> None:
    (file,) = ct_files(tmp_path, 1, study="visible")
    storescu((*node.peer, str(file)))
    found = run(
        "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY",
        "-k", f"StudyInstanceUID={uid('visible')}", *node.peer,
    )  # fmt: skip
    assert found.output.count("Pending") == 1


@pytest.mark.parametrize("cut", [1, 2, 7, 100, 16378])
def test_fragments_may_be_cut_anywhere(node: ScpNode, peer: RawPeer, cut: int) -> None:
    sop_instance_uid, content = data_set(cut, size=16)
    request = store_rq(sop_instance_uid)
    messages = b""
    for part, is_command in ((request, True), (content, False)):
        pieces = [part[start : start + cut] for start in range(0, len(part), cut)]
        messages += b"".join(
            p_data(pdv(1, piece, is_command=is_command, is_last=index == len(pieces) - 1))
            for index, piece in enumerate(pieces)
        )
    peer.send(messages)
    assert peer.receive().status == 0
    peer.release()
    assert digest(stored_file(sop_instance_uid, content)) in node.stored


def test_several_values_in_a_pdu_and_empty_ones(node: ScpNode, peer: RawPeer) -> None:
    sop_instance_uid, content = data_set(50)
    peer.send(
        p_data(
            pdv(1, store_rq(sop_instance_uid), is_command=True, is_last=True),
            pdv(1, b"", is_command=False, is_last=False),
            pdv(1, content[:99], is_command=False, is_last=False),
            pdv(1, content[99:], is_command=False, is_last=False),
            pdv(1, b"", is_command=False, is_last=True),
        )
    )
    assert peer.receive().status == 0
    peer.release()
    assert digest(stored_file(sop_instance_uid, content)) in node.stored


def test_same_instance_twice_is_one_file(node: ScpNode, peer: RawPeer) -> None:
    sop_instance_uid, content = data_set(51)
    before = len(node.stored)
    for message_id in (1, 2):
        peer.request(1, store_rq(sop_instance_uid, message_id=message_id), content)
        assert peer.receive().status == 0
    peer.release()
    assert len(node.stored) == before + 1


def test_abort_in_the_middle_leaves_what_was_acknowledged_and_no_part(
    node: ScpNode, peer: RawPeer
) -> None:
    first, content = data_set(60)
    peer.request(1, store_rq(first), content)
    assert peer.receive().status == 0
    second, other = data_set(61)
    peer.send(p_data(pdv(1, store_rq(second), is_command=True, is_last=True)))
    peer.send(p_data(pdv(1, other[:500], is_command=False, is_last=False)))
    wait_until(lambda: node.spooled, what="the part is there")
    peer.send(ABORT)
    wait_until(lambda: not node.spooled, what="the part is gone")
    wait_until(lambda: digest(stored_file(first, content)) in node.stored)
    assert digest(stored_file(second, other)) not in node.stored


def test_connection_lost_in_the_middle_leaves_no_part(node: ScpNode, peer: RawPeer) -> None:
    sop_instance_uid, content = data_set(62)
    peer.send(p_data(pdv(1, store_rq(sop_instance_uid), is_command=True, is_last=True)))
    peer.send(p_data(pdv(1, content[:500], is_command=False, is_last=False)))
    wait_until(lambda: node.spooled)
    peer.close()
    wait_until(lambda: not node.spooled)


def refused(peer: RawPeer) -> tuple[int, str]:
    response = peer.receive()
    return response.status, response.command.get("ErrorComment", "")


def test_data_set_of_another_instance_is_a900_and_kept(node: ScpNode, peer: RawPeer) -> None:
    _, content = data_set(70)
    before = len(node.quarantined)
    peer.request(1, store_rq("1.2.3.4.5"), content)
    status, comment = refused(peer)
    assert status == 0xA900
    assert "1.2.3.4.5" in comment
    assert len(node.quarantined) == before + 1
    # The association goes on.
    sop_instance_uid, content = data_set(71)
    peer.request(1, store_rq(sop_instance_uid), content)
    assert peer.receive().status == 0


def test_data_set_in_another_encoding_is_refused_and_kept(node: ScpNode, peer: RawPeer) -> None:
    image = ct(72)
    before = len(node.quarantined)
    peer.request(1, store_rq(image.SOPInstanceUID), encode(image, BIG_ENDIAN))
    status, _ = refused(peer)
    assert status >> 12 == 0xC
    assert len(node.quarantined) == before + 1


@pytest.mark.parametrize(("agreed", "sent"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_data_set_with_or_without_vrs_against_its_context_is_refused_and_kept(
    node: ScpNode, agreed: str, sent: str
) -> None:
    """It could be understood, but the file would tell every later reader a wrong encoding."""
    image = ct(73, study=f"vr-{len(agreed)}")
    before = len(node.quarantined)
    with calling(node.address) as peer:
        peer.associate([(CT_IMAGE, [agreed])])
        peer.request(1, store_rq(image.SOPInstanceUID), encode(image, sent))
        assert refused(peer)[0] == 0xC000
        assert len(node.quarantined) == before + 1
        peer.request(1, store_rq(image.SOPInstanceUID), encode(image, agreed))
        assert peer.receive().status == 0


def test_garbage_is_cannot_understand(node: ScpNode, peer: RawPeer) -> None:
    peer.request(1, store_rq("1.2.3"), os.urandom(1000))
    assert refused(peer)[0] == 0xC000


def test_data_set_without_identifiers_is_refused(node: ScpNode, peer: RawPeer) -> None:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.PatientID = CT_IMAGE, "1.2.3", "X"
    peer.request(1, store_rq("1.2.3"), encode(image, EXPLICIT))
    assert refused(peer)[0] == 0xC001


def test_empty_data_set_is_refused(node: ScpNode, peer: RawPeer) -> None:
    peer.request(1, store_rq("1.2.3"))
    peer.send(p_data(pdv(1, b"", is_command=False, is_last=True)))
    assert refused(peer)[0] == 0xC000
    wait_until(lambda: not node.spooled)


def test_no_data_set_at_all_is_refused(node: ScpNode, peer: RawPeer) -> None:
    peer.request(1, store_rq("1.2.3", CommandDataSetType=0x0101))
    assert refused(peer)[0] == 0xC000


@pytest.mark.parametrize("bad", ["../../etc/passwd", "1.2/3", "", "1." * 40 + "1"])
def test_uid_that_is_none_is_0117(node: ScpNode, peer: RawPeer, bad: str) -> None:
    _, content = data_set(73)
    data = Dataset()
    data.add_new(0x00000002, "UI", CT_IMAGE)
    raw = command(
        AffectedSOPClassUID=CT_IMAGE, CommandField=1, MessageID=9, Priority=0, CommandDataSetType=1
    )
    value = bad.encode() + b"\0" * (len(bad) % 2)
    raw += b"\0\0\0\x10" + len(value).to_bytes(4, "little") + value
    peer.request(1, raw, content)
    response = peer.receive()
    assert response.status == 0x0117
    assert response.command.OffendingElement == 0x00001000
    assert response.command.MessageIDBeingRespondedTo == 9
    wait_until(lambda: not node.spooled)


def test_class_of_another_context_is_0122(node: ScpNode, peer: RawPeer) -> None:
    sop_instance_uid, content = data_set(74)
    peer.request(1, store_rq(sop_instance_uid, "1.2.840.10008.5.1.4.1.1.4"), content)
    assert refused(peer)[0] == 0x0122


def test_store_on_a_context_for_verification_is_0122(node: ScpNode) -> None:
    sop_instance_uid, content = data_set(75)
    with calling(node.address) as peer:
        peer.associate([(VERIFICATION, [EXPLICIT])])
        peer.request(1, store_rq(sop_instance_uid, VERIFICATION), content)
        assert refused(peer)[0] == 0x0122


def test_disk_full_is_a700_and_nothing_is_kept(mongodb_uri: str, tmp_path: Path) -> None:
    with (
        scp_node(tmp_path, mongodb_uri, reserve_bytes=1 << 60) as full,
        calling(full.address) as peer,
    ):
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        sop_instance_uid, content = data_set(80)
        for message_id in (1, 2):
            peer.request(1, store_rq(sop_instance_uid, message_id=message_id), content)
            assert refused(peer)[0] == 0xA700
        peer.release()
        assert not full.spooled
        assert not full.stored


def test_second_version_is_0111_under_the_policy_to_reject(
    mongodb_uri: str, tmp_path: Path
) -> None:
    with (
        scp_node(tmp_path, mongodb_uri, policy="reject") as strict,
        calling(strict.address) as peer,
    ):
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        sop_instance_uid, content = data_set(81)
        peer.request(1, store_rq(sop_instance_uid), content)
        assert peer.receive().status == 0
        wait_until(lambda: not strict.spooled)
        peer.request(1, store_rq(sop_instance_uid, message_id=2), content)
        assert peer.receive().status == 0
        _, other = data_set(81, WindowCenter=1)
        peer.request(1, store_rq(sop_instance_uid, message_id=3), other)
        assert refused(peer)[0] == 0x0111
        peer.release()
        assert strict.stored == [digest(stored_file(sop_instance_uid, content))]


def test_unknown_and_private_classes_are_stored(node: ScpNode, tmp_path: Path) -> None:
    image = ct(1, study="private")
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.3.12.2.1107.5.9.1"
    file = save(image, tmp_path / "private.dcm")
    with calling(node.address) as peer:
        accepted = peer.associate([(image.SOPClassUID, [EXPLICIT])])
        assert accepted.transfer_syntaxes == {1: EXPLICIT}
        peer.request(1, store_rq(image.SOPInstanceUID, image.SOPClassUID), data_set_bytes(file))
        assert peer.receive().status == 0
        peer.release()
