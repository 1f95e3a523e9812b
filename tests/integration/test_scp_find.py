"""C-FIND: what is answered, in which encoding, and when it stops."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.dcmtk import run, storescu
from tests.generated import ct, save, uid
from tests.integration.peers import (
    BIG_ENDIAN,
    CT_IMAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    RawPeer,
    Response,
    calling,
    cancel_rq,
    encode,
    p_data,
    pdv,
    query_rq,
    store_rq,
)
from tests.integration.scp_node import ScpNode, scp_node

PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
NAMES = {
    "ascii": "Test^ascii",
    "latin": "Müller^Jörg",
    "cyrillic": "Люкceмбypг",
    "japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
}


@pytest.fixture(scope="module")
def node(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScpNode]:
    root = tmp_path_factory.mktemp("scp")
    with scp_node(root, mongodb_uri) as running:
        files = [
            save(
                ct(number, study=study, series=number % 2, size=8, PatientName=name),
                root / f"{study}{number}.dcm",
            )
            for study, name in NAMES.items()
            for number in (1, 2, 3)
        ]
        sent = storescu((*running.peer, *map(str, files)))
        assert set(sent.statuses.values()) == {"Success"}
        yield running


def identifier(level: str, **keys: Any) -> Dataset:
    request = Dataset()
    request.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(request, keyword, value)
    return request


def find(
    peer: RawPeer, request: Dataset, transfer_syntax: str = IMPLICIT, context_id: int = 1
) -> list[Response]:
    peer.request(context_id, query_rq(0x20, STUDY_FIND), encode(request, transfer_syntax))
    return peer.receive_all()


@pytest.fixture
def peer(node: ScpNode) -> Iterator[RawPeer]:
    with calling(node.address) as raw:
        raw.associate(
            [
                (STUDY_FIND, [IMPLICIT]),
                (STUDY_FIND, [EXPLICIT]),
                (STUDY_FIND, [BIG_ENDIAN]),
                (PATIENT_FIND, [IMPLICIT]),
                (STUDY_FIND, [DEFLATED]),
            ]
        )
        yield raw


@pytest.mark.parametrize(
    ("level", "keys", "matches"),
    [
        ("PATIENT", [], 4),
        ("STUDY", ["-k", "PatientID=TEST-latin"], 1),
        ("SERIES", ["-k", "PatientID=TEST-latin", "-k", f"StudyInstanceUID={uid('latin')}"], 2),
    ],
)
def test_findscu_patient_root(node: ScpNode, level: str, keys: list[str], matches: int) -> None:
    found = run("findscu", "-P", "-k", f"QueryRetrieveLevel={level}", *keys, *node.peer)
    assert found.output.count("(Pending)") == matches


def test_findscu_study_root_at_image_level(node: ScpNode) -> None:
    found = run(
        "findscu", "-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", "SOPInstanceUID",
        "-k", f"StudyInstanceUID={uid('ascii')}", "-k", f"SeriesInstanceUID={uid('ascii', 1)}",
        *node.peer,
    )  # fmt: skip
    assert found.output.count("(Pending)") == 2
    assert uid("ascii", 1, 3) in found.output


def test_reply_has_what_was_asked_for_and_the_constants(peer: RawPeer) -> None:
    request = identifier("STUDY", PatientID="TEST-ascii", StudyInstanceUID="", StudyID="")
    request.NumberOfStudyRelatedInstances = None
    request.InstanceAvailability = ""
    match, final = find(peer, request)
    assert (match.status, final.status) == (0xFF00, 0)
    assert not final.data_set
    reply = match.identifier()
    assert {element.keyword for element in reply} == {
        "QueryRetrieveLevel",
        "RetrieveAETitle",
        "InstanceAvailability",
        "PatientID",
        "StudyInstanceUID",
        "StudyID",
        "NumberOfStudyRelatedInstances",
    }
    assert reply.QueryRetrieveLevel == "STUDY"
    assert reply.RetrieveAETitle == "HILUM"
    assert reply.InstanceAvailability == "ONLINE"
    assert reply.StudyInstanceUID == uid("ascii")
    assert reply.NumberOfStudyRelatedInstances == 3


def test_unsupported_key_is_ff01_and_comes_back_empty(peer: RawPeer) -> None:
    request = identifier(
        "STUDY", PatientID="TEST-ascii", StudyInstanceUID="", PatientReligiousPreference="X"
    )
    match, _ = find(peer, request)
    assert match.status == 0xFF01
    assert match.identifier().PatientReligiousPreference == ""


@pytest.mark.parametrize(
    ("context_id", "transfer_syntax"), [(1, IMPLICIT), (3, EXPLICIT), (5, BIG_ENDIAN)]
)
def test_reply_is_in_the_accepted_transfer_syntax(
    peer: RawPeer, context_id: int, transfer_syntax: str
) -> None:
    request = identifier("STUDY", PatientID="TEST-ascii", ModalitiesInStudy="")
    request.NumberOfStudyRelatedSeries = None
    match, _ = find(peer, request, transfer_syntax, context_id)
    reply = match.identifier(transfer_syntax)
    assert reply.ModalitiesInStudy == "CT"
    assert reply.NumberOfStudyRelatedSeries == 2
    assert encode(reply, transfer_syntax) == match.data_set


def test_deflated_reply_is_read_by_dcmtk(node: ScpNode) -> None:
    found = run(
        "findscu", "-S", "-xd", "-k", "QueryRetrieveLevel=STUDY",
        "-k", "PatientID=TEST-ascii", "-k", "PatientName", *node.peer,
    )  # fmt: skip
    assert "Test^ascii" in found.output


@pytest.mark.parametrize(
    ("study", "asked", "answered"),
    [
        ("ascii", "ISO_IR 100", None),
        ("latin", None, "ISO_IR 100"),
        ("latin", "ISO_IR 192", "ISO_IR 192"),
        ("cyrillic", "ISO_IR 144", "ISO_IR 144"),
        ("cyrillic", "ISO_IR 100", "ISO_IR 192"),
        ("cyrillic", "ISO_IR 13", "ISO_IR 192"),
        ("japanese", ["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
        ("japanese", "GB18030", "GB18030"),
        ("japanese", None, "ISO_IR 192"),
    ],
)
def test_reply_is_in_the_character_set_of_the_request_if_it_has_the_letters(
    peer: RawPeer, study: str, asked: Any, answered: Any
) -> None:
    request = identifier("STUDY", PatientID=f"TEST-{study}", PatientName="")
    if asked is not None:
        request.SpecificCharacterSet = asked
    match, _ = find(peer, request)
    reply = match.identifier()
    assert reply.get("SpecificCharacterSet") == answered
    reply.decode()
    assert str(reply.PatientName) == NAMES[study]


def test_cancel_right_behind_the_request_is_honoured(peer: RawPeer) -> None:
    request = encode(identifier("STUDY", StudyInstanceUID=""))
    peer.send(
        p_data(pdv(1, query_rq(0x20, STUDY_FIND, 5), is_command=True, is_last=True))
        + p_data(pdv(1, request, is_command=False, is_last=True))
        + p_data(pdv(1, cancel_rq(5), is_command=True, is_last=True))
    )
    assert peer.receive_all()[-1].status == 0xFE00
    # A cancel that comes too late is passed over.
    peer.request(1, cancel_rq(5))
    assert find(peer, identifier("STUDY", PatientID="TEST-ascii"))[-1].status == 0


def test_cancel_of_something_else_changes_nothing(peer: RawPeer) -> None:
    request = encode(identifier("STUDY", StudyInstanceUID=""))
    peer.send(
        p_data(pdv(1, query_rq(0x20, STUDY_FIND, 5), is_command=True, is_last=True))
        + p_data(pdv(1, request, is_command=False, is_last=True))
        + p_data(pdv(1, cancel_rq(6), is_command=True, is_last=True))
    )
    responses = peer.receive_all()
    assert (len(responses), responses[-1].status) == (5, 0)


@pytest.mark.parametrize(
    "request_identifier",
    [
        identifier("SERIES", SeriesInstanceUID=""),
        identifier("PATIENT", PatientID=""),  # no level of Study Root
        identifier("ROOM"),
        Dataset(),
    ],
)
def test_identifier_that_does_not_fit_is_a900(peer: RawPeer, request_identifier: Dataset) -> None:
    request_identifier.PatientName = ""
    (response,) = find(peer, request_identifier)
    assert response.status == 0xA900
    assert response.command.ErrorComment


def test_missing_unique_key_is_all_right_in_a_relational_query(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_FIND, [IMPLICIT])], extended=[(STUDY_FIND, b"\1")])
        responses = find(peer, identifier("SERIES", SeriesInstanceUID=""))
        assert (len(responses), responses[-1].status) == (9, 0)


@pytest.mark.parametrize(
    ("options", "keys", "matches"),
    [
        (b"\0\0\1", {"PatientName": "jorg mull"}, 1),
        (b"\0\0\0", {"PatientName": "jorg mull"}, 0),
        # Until 1 a.m. of the day after the studies: by date alone, and as one moment.
        (b"\0\0\0", {"StudyDate": "20260101-20260103", "StudyTime": "040000-010000"}, 0),
        (b"\0\1\0", {"StudyDate": "20260101-20260103", "StudyTime": "040000-010000"}, 4),
    ],
)
def test_options_hold_where_they_were_negotiated(
    node: ScpNode, options: bytes, keys: dict[str, str], matches: int
) -> None:
    with calling(node.address) as peer:
        peer.associate([(STUDY_FIND, [IMPLICIT])], extended=[(STUDY_FIND, options)])
        responses = find(peer, identifier("STUDY", SpecificCharacterSet="ISO_IR 192", **keys))
    assert [response.status for response in responses] == [0xFF00] * matches + [0]


def test_undecodable_and_missing_identifiers_cannot_be_understood(peer: RawPeer) -> None:
    peer.request(9, query_rq(0x20, STUDY_FIND), b"not deflated")
    assert peer.receive().status == 0xC000
    peer.request(1, query_rq(0x20, STUDY_FIND, CommandDataSetType=0x0101))
    assert peer.receive().status == 0xC000


def test_group_lengths_and_commands_in_an_identifier_are_dropped(peer: RawPeer) -> None:
    request = identifier("STUDY", PatientID="TEST-ascii")
    request.add_new(0x00080000, "UL", 99)
    request.add_new(0x00100000, "UL", 99)
    match, _ = find(peer, request)
    assert match.status == 0xFF00
    assert not any(element.tag.element == 0 for element in match.identifier())


def test_what_the_same_association_stored_is_found_at_once(node: ScpNode) -> None:
    image = ct(1, study="mixed", size=8)
    with calling(node.address) as peer:
        peer.associate([(STUDY_FIND, [IMPLICIT]), (CT_IMAGE, [EXPLICIT])])
        peer.request(3, store_rq(image.SOPInstanceUID), encode(image, EXPLICIT))
        assert peer.receive().status == 0
        responses = find(peer, identifier("STUDY", PatientID="TEST-mixed"))
        assert [response.status for response in responses] == [0xFF00, 0]


def test_no_name_is_logged(node: ScpNode, peer: RawPeer, capfd: pytest.CaptureFixture[str]) -> None:
    find(peer, identifier("STUDY", PatientName="Prominent*", PatientID="Prominent"))
    find(peer, identifier("SERIES", PatientName="Prominent*", PatientID="Prominent"))
    assert "Prominent" not in "".join(capfd.readouterr())


def test_find_on_a_context_for_something_else_is_0122(node: ScpNode) -> None:
    with calling(node.address) as peer:
        peer.associate([("1.2.840.10008.1.1", [IMPLICIT])])
        assert find(peer, identifier("STUDY"))[0].status == 0x0122
