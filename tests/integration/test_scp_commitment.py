"""Storage commitment, asked for and heard by pynetdicom, and by peers that do it wrong."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from hilum.core.peer import Peer
from hilum.scp import operation
from tests.data_sets import CT, INSTANCE, encoded, minimal
from tests.integration.peers import (
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    calling,
    command,
    encode,
    store_rq,
)
from tests.integration.scp_node import ScpNode, scp_node
from tests.nodes import wait_until

COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
TRANSACTION = "1.2.3.999"
MR = "1.2.840.10008.5.1.4.1.1.4"


@dataclass
class Modality:
    """An application entity that hears reports, as pynetdicom has them."""

    port: int = 0
    status: int = 0x0000
    """What it answers."""
    heard: list[tuple[str, int, Dataset]] = field(default_factory=list)
    """Calling AE title, event type, event information."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        ae = AE("CT1")
        ae.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
        server = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear)],
        )
        self.port = server.socket.getsockname()[1]
        try:
            yield
        finally:
            server.shutdown()

    def _hear(self, event: Any) -> tuple[int, None]:
        caller = event.assoc.requestor.ae_title
        self.heard.append((caller, event.event_type, event.event_information))
        return self.status, None


@pytest.fixture(autouse=True)
def _jobs_are_begun_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.services.jobs._LOOK_SECONDS", 0.05)


@pytest.fixture
def modality() -> Iterator[Modality]:
    hearing = Modality()
    with hearing.listening():
        yield hearing


@pytest.fixture
def node(mongodb_uri: str, tmp_path: Path, modality: Modality) -> Iterator[ScpNode]:
    peers = {"CT1": Peer("CT1", "127.0.0.1", modality.port)}
    with scp_node(tmp_path, mongodb_uri, peers=peers) as running:
        with calling(running.address) as peer:
            peer.associate([(CT_IMAGE, [EXPLICIT])])
            peer.request(1, store_rq(INSTANCE), encoded(minimal()))
            assert peer.receive().status == 0
            peer.release()
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not here is not waited for."""
    monkeypatch.setattr("hilum.services.commitment._PATIENCE_SECONDS", 0)


def wanted(*references: tuple[str, str], transaction_uid: str = TRANSACTION) -> Dataset:
    """Return the Action Information of a request."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [item(*reference) for reference in references]
    return information


def item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference


def ask(node: ScpNode, information: Dataset, ae_title: str = "CT1", **elements: Any) -> Dataset:
    """Ask as pynetdicom does; return the response."""
    ae = AE(ae_title)
    ae.add_requested_context(COMMITMENT)
    association = ae.associate(*node.address, ae_title=node.aet)
    assert association.is_established
    try:
        response, _ = association.send_n_action(
            information, elements.get("action", 1), COMMITMENT, elements.get("instance", WELL_KNOWN)
        )
    finally:
        association.release()
    return response


def references(items: Sequence[Dataset]) -> list[tuple[str, str]]:
    return [(each.ReferencedSOPClassUID, each.ReferencedSOPInstanceUID) for each in items]


def heard(modality: Modality) -> tuple[str, int, Dataset]:
    wait_until(lambda: bool(modality.heard))
    assert len(modality.heard) == 1
    return modality.heard[0]


def test_what_is_stored_is_committed_to(node: ScpNode, modality: Modality) -> None:
    assert ask(node, wanted((CT, INSTANCE))).Status == 0x0000
    caller, event_type, report = heard(modality)
    assert (caller, event_type, report.TransactionUID) == (node.aet, 1, TRANSACTION)
    assert references(report.ReferencedSOPSequence) == [(CT, INSTANCE)]
    assert "FailedSOPSequence" not in report
    assert report.RetrieveAETitle == node.aet


@pytest.mark.usefixtures("impatient")
def test_what_is_not_is_named_with_its_reason(node: ScpNode, modality: Modality) -> None:
    assert ask(node, wanted((CT, INSTANCE), (CT, "1.2.3.404"), (MR, INSTANCE))).Status == 0x0000
    _, event_type, report = heard(modality)
    assert event_type == 2
    assert references(report.ReferencedSOPSequence) == [(CT, INSTANCE)]
    failed = report.FailedSOPSequence
    assert references(failed) == [(CT, "1.2.3.404"), (MR, INSTANCE)]
    assert [each.FailureReason for each in failed] == [0x0112, 0x0119]


def flip(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


@pytest.mark.parametrize("damage", [Path.unlink, flip])
def test_a_file_that_is_damaged_is_not_committed_to(
    node: ScpNode, modality: Modality, damage: Callable[[Path], None]
) -> None:
    damage(node.store.path(node.stored[0]))
    assert ask(node, wanted((CT, INSTANCE))).Status == 0x0000
    _, event_type, report = heard(modality)
    assert event_type == 2
    assert "ReferencedSOPSequence" not in report
    assert [each.FailureReason for each in report.FailedSOPSequence] == [0x0110]


def test_what_is_still_coming_is_waited_for(
    node: ScpNode, modality: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.services.commitment._SOON_SECONDS", 0.1)
    late = INSTANCE + ".2"
    assert ask(node, wanted((CT, late))).Status == 0x0000
    with calling(node.address) as peer:
        peer.associate([(CT_IMAGE, [EXPLICIT])])
        peer.request(1, store_rq(late), encoded(minimal(SOPInstanceUID=late)))
        assert peer.receive().status == 0
        peer.release()
    _, event_type, report = heard(modality)
    assert (event_type, references(report.ReferencedSOPSequence)) == (1, [(CT, late)])


def test_peer_that_is_away_is_told_when_it_is_back(
    mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.services.commitment._SHORTEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("hilum.services.commitment._PATIENCE_SECONDS", 0)
    modality = Modality()
    with modality.listening():
        pass  # to have a port
    tried = threading.Event()
    associating = operation.associate

    def associate(*arguments: Any, **options: Any) -> Any:
        tried.set()
        return associating(*arguments, **options)

    monkeypatch.setattr(operation, "associate", associate)
    peers = {"CT1": Peer("CT1", "127.0.0.1", modality.port)}
    with scp_node(tmp_path, mongodb_uri, peers=peers) as node:
        assert ask(node, wanted((CT, INSTANCE))).Status == 0x0000
        assert tried.wait(20)
        with modality.listening():
            assert heard(modality)[1] == 2


def test_request_that_cannot_be_answered_has_its_status(node: ScpNode, modality: Modality) -> None:
    good = wanted((CT, INSTANCE))
    assert ask(node, wanted((CT, INSTANCE), transaction_uid="")).Status == 0x0115
    assert ask(node, wanted()).Status == 0x0115
    assert ask(node, wanted((CT, ""))).Status == 0x0115
    assert ask(node, good, instance="1.2.3").Status == 0x0112
    assert ask(node, good, action=2).Status == 0x0123
    assert ask(node, good, ae_title="STRANGER").Status == 0x0124
    assert modality.heard == []


def test_what_a_commitment_context_is_not_for(node: ScpNode) -> None:
    action = {
        "CommandField": 0x0130,
        "MessageID": 1,
        "CommandDataSetType": 1,
        "RequestedSOPInstanceUID": WELL_KNOWN,
        "ActionTypeID": 1,
    }
    with calling(node.address) as peer:
        peer.associate([(COMMITMENT, [IMPLICIT]), (STUDY_FIND, [IMPLICIT])])
        information = encode(wanted((CT, INSTANCE)))
        peer.request(1, command(**action, RequestedSOPClassUID=STUDY_FIND), information)
        assert peer.receive().status == 0x0118
        peer.request(3, command(**action, RequestedSOPClassUID=COMMITMENT), information)
        assert peer.receive().status == 0x0211
        peer.request(1, store_rq(INSTANCE, COMMITMENT), encoded(minimal()))
        assert peer.receive().status == 0x0122
        peer.release()
