"""Contexts and roles in the PDUs of negotiation, beside pynetdicom's reading of the same bytes."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext

from hilum.scp.acceptor import read_request
from hilum.scp.contexts import Answer, Proposed, Roles
from hilum.scp.items import put_in, take_out
from hilum.scp.negotiation import UserInformation, decoding, make_user_information
from hilum.scp.upper_layer import ProtocolViolation

# What pydicom has to say about UIDs that are none.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Invalid value for VR UI", "ignore:The value length"
)

VARIABLE_ITEMS = 74
UIDS = st.sampled_from(
    [
        "1.2.840.10008.1.1",
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.113619.4.30",
        "2.25." + "1" * 59,
        "1.02",  # not a UID, and pynetdicom takes it
    ]
)
ROLES = st.tuples(UIDS, st.booleans(), st.booleans())


def any_role(role: tuple[str, bool, bool]) -> bool:
    """Whether pynetdicom would write it: not if both roles are refused."""
    return role[1] or role[2]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """An association request as pynetdicom writes it."""
    contexts = []
    offers = st.tuples(UIDS, st.lists(UIDS, min_size=1, max_size=4))
    for index, (abstract_syntax, offered) in enumerate(draw(st.lists(offers, max_size=8))):
        context = PresentationContext()
        context.context_id = 2 * index + 1
        context.abstract_syntax = abstract_syntax
        context.transfer_syntax = list(offered)
        contexts.append(context)
    maximum = MaximumLengthNotification()
    maximum.maximum_length_received = draw(st.integers(0, 2**32 - 1))
    information: list[Any] = [maximum]
    for uid, scu, scp in draw(st.lists(ROLES.filter(any_role), max_size=5)):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, scu, scp
        information.append(role)
    if draw(st.booleans()):
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid = draw(UIDS)
        extended.service_class_application_information = draw(st.binary(min_size=1, max_size=4))
        information.append(extended)
    if draw(st.booleans()):
        identity = UserIdentityNegotiation()
        identity.user_identity_type, identity.primary_field = 1, b"somebody"
        information.append(identity)
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "CT1", "HILUM"
    primitive.presentation_context_definition_list = contexts
    primitive.user_information = draw(st.permutations(information))
    encoded: bytes = A_ASSOCIATE_RQ(primitive).encode()
    return encoded


def by_pynetdicom(pdu: bytes) -> tuple[list[Proposed], dict[str, Roles], list[bytes]]:
    """Return what pynetdicom reads: contexts, roles, and the rest of the user information."""
    read = A_ASSOCIATE_RQ()
    read.decode(pdu)
    primitive = read.to_primitive()
    roles = {}
    others = []
    for item in primitive.user_information:
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation):
            roles[str(item.sop_class_uid)] = Roles(bool(item.scu_role), bool(item.scp_role))
        else:
            others.append(item.from_primitive().encode())
    proposed = [
        Proposed(c.context_id or 0, str(c.abstract_syntax), tuple(map(str, c.transfer_syntax)))
        for c in primitive.presentation_context_definition_list
    ]
    return proposed, roles, others


@given(pdu=requests())
def test_every_request_is_read_as_pynetdicom_reads_it(pdu: bytes) -> None:
    proposed, roles, others = by_pynetdicom(pdu)
    read, information, contexts = read_request(pdu)
    assert (contexts, information.roles) == (proposed, roles)
    assert by_pynetdicom(read.encode())[2] == others
    assert (read.calling_ae_title, read.called_ae_title) == ("CT1", "HILUM")


def test_what_is_ordinary_is_taken_out() -> None:
    contexts = b"".join(
        bytes((0x20, 0, 0, 4 + 21 + 21, number, 0, 0, 0))
        + b"\x30\0\0\x111.2.840.10008.1.1"
        + b"\x40\0\0\x111.2.840.10008.1.2"
        for number in (1, 3)
    )
    roles = b"\x54\0\0\x15\0\x111.2.840.10008.1.1\1\0"
    length = b"\x51\0\0\4\0\0\x40\0"
    information = b"\x50\0\0" + bytes((len(roles) + len(length),)) + length + roles
    body = bytes(VARIABLE_ITEMS - 6) + contexts + information
    pdu = b"\1\0" + len(body).to_bytes(4, "big") + body
    proposed, taken, rest = take_out(pdu)
    assert proposed == [
        Proposed(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
        Proposed(3, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
    ]
    assert taken == {"1.2.840.10008.1.1": Roles(scu=True, scp=False)}
    assert rest == b"\1\0\0\0\0\x50" + bytes(VARIABLE_ITEMS - 6) + b"\x50\0\0\x08" + length


@given(pdu=requests(), data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_requests_end_as_they_do_with_pynetdicom(pdu: bytes, data: st.DataObject) -> None:
    damaged = bytearray(pdu)
    for position in data.draw(
        st.lists(st.integers(VARIABLE_ITEMS, len(pdu) - 1), min_size=1, max_size=3)
    ):
        damaged[position] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b"\0\1\x20\x30\x40\x50\x54.09"))
        )
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(VARIABLE_ITEMS, len(damaged))) :]
    try:
        with decoding("request"):
            expected = by_pynetdicom(bytes(damaged))[:2]
    except ProtocolViolation:
        with pytest.raises(ProtocolViolation), decoding("request"):
            read_request(bytes(damaged))
    else:
        _, information, proposed = read_request(bytes(damaged))
        assert (proposed, information.roles) == expected


@given(
    answers=st.lists(st.tuples(st.sampled_from([0, 1, 3, 4]), UIDS), max_size=128),
    roles=st.lists(ROLES, max_size=8),
)
def test_pynetdicom_reads_every_answer(
    answers: list[tuple[int, str]], roles: list[tuple[str, bool, bool]]
) -> None:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "CT1", "HILUM"
    primitive.result, primitive.result_source = 0, 1
    primitive.user_information = make_user_information(UserInformation(maximum_pdu_bytes=16384))
    given_answers = [
        Answer(2 * index + 1, result, uid) for index, (result, uid) in enumerate(answers)
    ]
    given_roles = {uid: Roles(scu, scp) for uid, scu, scp in roles}
    pdu = put_in(A_ASSOCIATE_AC(primitive).encode(), given_answers, given_roles)
    assert int.from_bytes(pdu[2:6], "big") == len(pdu) - 6
    read = A_ASSOCIATE_AC()
    read.decode(pdu)
    assert read.user_information is not None
    assert [
        (context.context_id, context.result, str(context.transfer_syntax))
        for context in read.presentation_context
    ] == [tuple(answer) for answer in given_answers]
    assert {
        str(item.sop_class_uid): Roles(bool(item.scu_role), bool(item.scp_role))
        for item in read.user_information.role_selection.values()
    } == {uid: each for uid, each in given_roles.items() if each.scu or each.scp}
    assert read.user_information.maximum_length == 16384
