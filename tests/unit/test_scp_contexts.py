"""What is accepted and what is proposed, class by class of pydicom's dictionary."""

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import AllStoragePresentationContexts

from hilum.scp.contexts import (
    Proposal,
    Proposed,
    Roles,
    is_storage_class,
    negotiate,
    proposals_for,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
J2K = "1.2.840.10008.1.2.4.90"
WITHOUT_A_PATIENT = {
    "Hanging Protocol Storage",
    "Color Palette Storage",
    "Generic Implant Template Storage",
    "Implant Assembly Template Storage",
    "Implant Template Group Storage",
    "CT Defined Procedure Protocol Storage",
    "XA Defined Procedure Protocol Storage",
    "Protocol Approval Storage",
    "Inventory Storage",
}


def context(abstract_syntax: str, *transfer_syntaxes: str) -> Proposed:
    return Proposed(1, abstract_syntax, transfer_syntaxes)


@pytest.mark.parametrize("uid", [str(c.abstract_syntax) for c in AllStoragePresentationContexts])
def test_storage_classes_of_pynetdicom_are_stored(uid: str) -> None:
    named = UID_dictionary.get(uid, ("",))[0]
    assert is_storage_class(uid) == (named not in WITHOUT_A_PATIENT)


def test_what_the_dictionary_knows_as_something_else_is_not_stored() -> None:
    for uid, (name, kind, *_) in UID_dictionary.items():
        if kind != "SOP Class" or "Storage" not in name:
            assert not is_storage_class(uid), name
    for uid in ("1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.31"):
        assert not is_storage_class(uid)


@pytest.mark.parametrize("uid", ["1.2.840.113619.4.30", "1.3.12.2.1107.5.9.1", "2.25.1"])
def test_private_and_unknown_classes_are_stored(uid: str) -> None:
    assert is_storage_class(uid)


def test_private_transfer_syntaxes_are_accepted_and_those_of_other_protocols_not() -> None:
    answer = negotiate([context(CT, "1.2.840.10008.1.2.7.1", "1.2.840.113619.5.2")], {})
    assert answer.contexts[1].transfer_syntax == "1.2.840.113619.5.2"
    answer = negotiate([context(CT, "1.2.840.10008.1.2.7.1", "1.2.840.10008.1.2.6.1")], {})
    assert [result.result for result in answer.answers] == [4]


@pytest.mark.parametrize(
    ("roles", "serves", "uses", "result"),
    [
        (None, True, False, 0),
        (Roles(scu=True, scp=False), True, False, 0),
        (Roles(scu=True, scp=True), True, True, 0),
        (Roles(scu=False, scp=True), False, True, 0),
        (Roles(scu=False, scp=False), False, False, 1),
    ],
)
def test_roles(roles: Roles | None, serves: bool, uses: bool, result: int) -> None:
    answer = negotiate([context(CT, EXPLICIT)], {CT: roles} if roles else {})
    assert answer.answers[0].result == result
    if result == 0:
        assert (answer.contexts[1].serves, answer.contexts[1].uses) == (serves, uses)


def test_scp_role_for_a_service_alone_is_rejected() -> None:
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    answer = negotiate([context(find, EXPLICIT)], {find: Roles(scu=False, scp=True)})
    assert answer.answers[0].result == 1
    assert not answer.roles


def test_proposals_let_the_peer_take_each_object_as_it_is_stored() -> None:
    kinds = [(CT, J2K), (CT, EXPLICIT), ("1.2.3", J2K), (CT, J2K)]
    assert proposals_for(kinds) == [
        Proposal(CT, (J2K,)),
        Proposal(CT, (EXPLICIT,)),
        Proposal(CT, (IMPLICIT,)),
        Proposal("1.2.3", (J2K,)),
        Proposal("1.2.3", (EXPLICIT, IMPLICIT)),
    ]
