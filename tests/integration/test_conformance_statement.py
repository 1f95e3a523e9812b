"""docs/conformance.md against a running node: its tables say what the node does."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from pydicom._uid_dict import UID_dictionary

from hilum.config.settings import Settings
from hilum.core.commitment import Doubt
from hilum.core.errors import Invalid, Temporary
from hilum.core.levels import COMPUTED_KEYWORDS, STORED_KEYWORDS, Level, json_tag, vr_of
from hilum.core.peer import Peer
from hilum.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hilum.imaging.transcode import can_transcode
from hilum.scp import forwarding, status
from hilum.scp.association import TimeLimits
from hilum.scp.command import Command, CommandField
from hilum.scp.contexts import COMMITMENT, FIND_MODELS, GET_MODELS, MOVE_MODELS, is_storage_class
from hilum.scp.find_scu import find
from hilum.scp.get_scu import get
from hilum.scp.move_scu import move
from hilum.scp.upper_layer import _LARGEST_PDU_BYTES
from tests.integration.peers import (
    BIG_ENDIAN,
    CT_IMAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    Accepted,
    accept,
    calling,
    command,
    listening,
)
from tests.integration.scp_node import ScpNode, scp_node

STATEMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
MODELS = {
    f"Query/Retrieve, {model} Root {operation}": f"1.2.840.10008.5.1.4.1.2.{root}.{number}"
    for root, model in ((1, "Patient"), (2, "Study"))
    for number, operation in ((1, "FIND"), (2, "MOVE"), (3, "GET"))
}


def table(*columns: str) -> list[list[str]]:
    """Return the rows of the table, or of all tables, with these columns."""
    found: list[list[str]] = []
    inside = False
    for line in STATEMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells == list(columns):
            inside = True
        elif inside and set(line) - set("|-"):
            found.append(cells)
    assert found, f"no table with the columns {columns}"
    return found


@pytest.fixture(scope="module")
def node(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScpNode]:
    with scp_node(tmp_path_factory.mktemp("scp"), mongodb_uri) as running:
        yield running


def negotiate(node: ScpNode, contexts: Sequence[tuple[str, list[str]]]) -> Iterator[str]:
    """Yield the transfer syntax accepted for each context, "" if it is rejected."""
    for start in range(0, len(contexts), 128):
        part = contexts[start : start + 128]
        with calling(node.address) as peer:
            accepted: Accepted = peer.associate(part)
        for number in range(len(part)):
            yield accepted.transfer_syntaxes.get(2 * number + 1, "")


def test_sop_classes_accepted_are_those_of_the_statement(node: ScpNode) -> None:
    stated = {uid for _, uid in table("SOP class", "UID")}
    stated |= {uid for name, uid in MODELS.items() if services()[name][1:] == ["yes"]}
    stated |= {"1.2.840.10008.1.1", COMMITMENT}
    known = sorted(set(UID_dictionary) | stated)
    accepted = negotiate(node, [(uid, [EXPLICIT]) for uid in known])
    assert {uid for uid, syntax in zip(known, accepted, strict=True) if syntax} == stated


def services() -> dict[str, list[str]]:
    return {name: used for name, *used in table("Network service", "User (SCU)", "Provider (SCP)")}


def test_overview_names_every_model_and_no_more() -> None:
    assert services() == {
        **{name: ["yes", "yes"] for name in ("Verification", "Storage", *MODELS)},
        "Storage Commitment Push Model": ["no", "yes"],
    }


def test_models_are_proposed_as_the_statement_says(node: ScpNode) -> None:
    """What it uses of both models, in which transfer syntaxes, and which one it takes."""
    fetch = partial(bring, node)
    for use, (patient_root, study_root) in (
        (ask, FIND_MODELS),
        (order, MOVE_MODELS),
        (fetch, GET_MODELS),
    ):
        for level, expected in ((Level.PATIENT, patient_root), (Level.STUDY, study_root)):
            proposed, used = proposed_by(use, level)
            models = {uid: proposed.pop(uid) for uid in (patient_root, study_root)}
            assert all(set(syntaxes) == {EXPLICIT, IMPLICIT} for syntaxes in models.values())
            stored = set(proposed)
            assert len(stored) == (120 if use is fetch else 0)
            assert all(is_storage_class(uid) for uid in stored)
            assert all(syntaxes[0] == EXPLICIT for syntaxes in proposed.values())
            assert used == expected


def ask(peer: Peer, level: Level) -> None:
    list(find(peer, "HILUM", level, {}))


def order(peer: Peer, level: Level) -> None:
    move(peer, "HILUM", level, {}, "DEST")


def bring(node: ScpNode, peer: Peer, level: Level) -> None:
    get(peer, level, {}, node.services, ae_title="HILUM")


def proposed_by(
    use: Callable[[Peer, Level], None], level: Level
) -> tuple[dict[str, list[str]], str]:
    """Return the transfer syntaxes proposed by SOP class, and the class that is then used."""
    with listening() as listener, ThreadPoolExecutor(1) as pool:
        peer = Peer("PEER", *listener.getsockname())
        using = pool.submit(use, peer, level)
        called = accept(listener)
        message = called.receive()
        asked = message.command
        called.request(
            message.context_id,
            command(
                AffectedSOPClassUID=asked.AffectedSOPClassUID,
                CommandField=asked.CommandField | 0x8000,
                MessageIDBeingRespondedTo=asked.MessageID,
                CommandDataSetType=0x0101,
                Status=0,
            ),
        )
        assert called.read_pdu()[0] == 5
        called.close()
        using.result(10)
    return called.proposed, str(asked.AffectedSOPClassUID)


def test_names_are_those_of_the_dictionary() -> None:
    for name, uid in table("SOP class", "UID"):
        if uid in UID_dictionary:
            assert name.removesuffix(" (Retired)") in UID_dictionary[uid][0]
    for name, uid, _ in table("Transfer syntax", "UID", "Rewritten"):
        assert name.removesuffix(" (Retired)") == UID_dictionary[uid][0]


def test_transfer_syntaxes_are_those_of_the_statement(node: ScpNode) -> None:
    stated = {uid for _, uid, _ in table("Transfer syntax", "UID", "Rewritten")}
    known = [uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"]
    for sop_class, expected in (
        (CT_IMAGE, stated),
        ("1.2.840.10008.1.1", {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}),
        *((uid, {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}) for uid in MODELS.values()),
    ):
        accepted = set(negotiate(node, [(sop_class, [uid]) for uid in known]))
        assert accepted - {""} == expected


def test_what_is_said_to_be_rewritten_can_be() -> None:
    for _, uid, rewritten in table("Transfer syntax", "UID", "Rewritten"):
        for target in (EXPLICIT, IMPLICIT):
            assert (rewritten == "yes") == can_transcode(uid, target)


def test_extended_negotiation_is_that_of_the_statement(node: ScpNode) -> None:
    expected = {
        uid: bytes(
            next(
                (
                    int(answer)
                    for service, byte, _, answer in table("Service", "Byte", "Meaning", "Answer")
                    if name.split()[-1] in service and int(byte) == position
                ),
                0,
            )
            for position in range(1, 7)
        )
        for name, uid in MODELS.items()
    }
    with calling(node.address) as peer:
        accepted = peer.associate(
            [(uid, [IMPLICIT]) for uid in MODELS.values()],
            extended=[(uid, b"\1" * 6) for uid in MODELS.values()],
        )
    assert accepted.extended == expected


def test_figures_are_those_of_the_code_and_the_settings(node: ScpNode) -> None:
    stated = dict(table("", ""))
    with calling(node.address) as peer:
        accepted = peer.associate([("1.2.840.10008.1.1", [IMPLICIT])])
    settings, limits = Settings(), TimeLimits()
    assert stated == {
        "Implementation Class UID": IMPLEMENTATION_CLASS_UID,
        "Implementation Version Name": IMPLEMENTATION_VERSION_NAME,
        "Application Context Name": "1.2.840.10008.3.1.1.1",
        "AE title, default": settings.aet,
        "Port, default": str(settings.dicom.port),
        "Maximum PDU length announced": str(accepted.maximum_pdu),
        "Largest PDU sent": f"the peer's maximum, at most {_LARGEST_PDU_BYTES}",
        "Simultaneous associations, default": str(settings.dicom.max_associations),
        "Outstanding operations (asynchronous window)": "1",
        "ARTIM, negotiation and release": f"{limits.acse_seconds:.0f} s",
        "Next bytes of a message, response to a request": f"{limits.dimse_seconds:.0f} s",
        "Next request on an idle association": f"{limits.network_seconds:.0f} s",
    }
    assert limits == TimeLimits(
        settings.dicom.acse_timeout_seconds,
        settings.dicom.dimse_timeout_seconds,
        settings.dicom.network_timeout_seconds,
    )


def test_statuses_of_the_code_are_all_stated() -> None:
    stated = {int(code, 16) for code, _, _ in table("Status", "Meaning", "When")}
    used = {value for name, value in vars(status).items() if name.isupper() and name[0] != "_"}
    assert stated == used


def test_failures_of_each_service_are_stated_with_it() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    for field, heading in (
        (CommandField.C_STORE_RQ, "## 5 Storage"),
        (CommandField.C_FIND_RQ, "## 6 Query"),
        (CommandField.C_MOVE_RQ, "## 7 Retrieve"),
        (CommandField.C_GET_RQ, "## 7 Retrieve"),
        (CommandField.N_ACTION_RQ, "## 8 Storage commitment"),
    ):
        section = text.split(heading)[1].split("\n## ")[0]
        for _, code in status._TABLES[field]:
            assert f"| {code:04X} |" in section


def test_reasons_not_to_commit_are_those_of_the_code() -> None:
    stated = {int(code, 16) for code, _ in table("Failure Reason (0008,1197)", "When")}
    assert stated == set(Doubt)


def test_what_a_response_means_to_a_rule_is_that_of_the_statement() -> None:
    kinds = {
        "Stored": type(None),
        "Sent again later": Temporary,
        "Not sent again; shown with its status": Invalid,
    }
    rows = table("Response", "Then")
    for code, meaning in rows:
        fault = forwarding._fault(Command(CommandField.C_STORE_RSP, status=int(code, 16)))
        assert type(fault) is kinds[meaning], code
        assert fault is None or code in str(fault)
    # What this node answers to a C-STORE it understands itself.
    answered = {status.SUCCESS, *(code for _, code in status._TABLES[CommandField.C_STORE_RQ])}
    assert {f"{code:04X}" for code in answered - {status.IDENTIFIERS_INVALID}} <= {
        code for code, _ in rows
    }


def test_figures_of_storage_by_rules_are_those_of_the_code() -> None:
    assert dict(table("Figure of storage by rules", "Value")) == {
        "Associations to one peer at a time": f"{forwarding.AT_ONCE}",
        "An association without anything to send is released after": (
            f"{forwarding.IDLE_SECONDS:.0f} s"
        ),
        "For a connection and its negotiation": f"{forwarding._CONNECT_SECONDS:.0f} s",
    }


def test_keys_are_those_the_index_keeps() -> None:
    stated = [tuple(row) for row in table("Level", "Keyword", "Tag", "VR", "Kind")]
    expected = [
        (
            level.value,
            keyword,
            f"({json_tag(keyword)[:4]},{json_tag(keyword)[4:]})",
            vr_of(keyword),
            "unique" if keyword == level.unique_key else kind,
        )
        for level in Level
        for kind, keywords in (("stored", STORED_KEYWORDS), ("computed", COMPUTED_KEYWORDS))
        for keyword in keywords[level]
    ]
    assert stated == expected
