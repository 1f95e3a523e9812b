"""PDUs of negotiation, beside pynetdicom's reading and writing of the same bytes."""

import struct
import tracemalloc
from contextlib import suppress
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

from hilum.scp.associate import (
    UserInformation,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from hilum.scp.contexts import Answer, Proposed, Roles
from hilum.scp.upper_layer import ProtocolViolation

# What pydicom has to say about UIDs that are none.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Invalid value for VR UI", "ignore:The value length"
)

VARIABLE_ITEMS = 74
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
UIDS = st.sampled_from(
    [
        VERIFICATION,
        IMPLICIT,
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.113619.4.30",
        "2.25." + "1" * 59,
        "1.02",  # not a UID, and pynetdicom takes it
    ]
)
ROLES = st.tuples(UIDS, st.booleans(), st.booleans()).filter(lambda role: role[1] or role[2])
TITLES = b"HILUM".ljust(16) + b"CT1".ljust(16)


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
    for uid, scu, scp in draw(st.lists(ROLES, max_size=5)):
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


def by_pynetdicom(pdu: bytes) -> tuple[list[Proposed], UserInformation]:
    """Return what pynetdicom reads."""
    read = A_ASSOCIATE_RQ()
    read.decode(pdu)
    primitive = read.to_primitive()
    roles, extended, maximum = {}, {}, 0
    for item in primitive.user_information:
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation):
            roles[str(item.sop_class_uid)] = Roles(bool(item.scu_role), bool(item.scp_role))
        elif isinstance(item, SOPClassExtendedNegotiation):
            extended[str(item.sop_class_uid)] = item.service_class_application_information
        elif isinstance(item, MaximumLengthNotification):
            maximum = item.maximum_length_received
    proposed = [
        Proposed(c.context_id or 0, str(c.abstract_syntax), tuple(map(str, c.transfer_syntax)))
        for c in primitive.presentation_context_definition_list
    ]
    return proposed, UserInformation(maximum, roles=roles, extended=extended)


@given(pdu=requests())
def test_every_request_is_read_as_pynetdicom_reads_it(pdu: bytes) -> None:
    read = read_request(pdu)
    assert (read.proposed, read.information) == by_pynetdicom(pdu)
    assert (read.calling_ae_title, read.called_ae_title) == ("CT1", "HILUM")
    assert (read.protocol_version, read.application_context_name) == (1, "1.2.840.10008.3.1.1.1")


@given(pdu=requests(), data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_damaged_requests_are_read_or_are_violations(pdu: bytes, data: st.DataObject) -> None:
    damaged = bytearray(pdu)
    positions = st.integers(0, len(pdu) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=3)):
        damaged[position] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b"\0\1\x20\x30\x40\x50\x54.09"))
        )
    if data.draw(st.booleans()):
        del damaged[data.draw(positions) :]
    with suppress(ProtocolViolation):
        read = read_request(bytes(damaged))
        answers = [Answer(each.id, 3, IMPLICIT) for each in read.proposed]
        read_answer(write_answer(read.titles, answers, read.information))


@given(
    answers=st.lists(st.tuples(st.sampled_from([0, 1, 3, 4]), UIDS), max_size=128),
    roles=st.lists(ROLES, max_size=8),
)
def test_pynetdicom_reads_every_answer(
    answers: list[tuple[int, str]], roles: list[tuple[str, bool, bool]]
) -> None:
    given_answers = [
        Answer(2 * index + 1, result, uid) for index, (result, uid) in enumerate(answers)
    ]
    given_roles = {uid: Roles(scu, scp) for uid, scu, scp in roles}
    information = UserInformation(
        16384, roles=given_roles, extended={VERIFICATION: b"\1\0"}, wants_asynchronous=True
    )
    read = A_ASSOCIATE_AC()
    read.decode(write_answer(TITLES, given_answers, information))
    assert read.user_information is not None
    assert [
        (context.context_id, context.result, str(context.transfer_syntax))
        for context in read.presentation_context
    ] == [tuple(answer) for answer in given_answers]
    assert {
        str(item.sop_class_uid): Roles(bool(item.scu_role), bool(item.scp_role))
        for item in read.user_information.role_selection.values()
    } == given_roles
    assert read.user_information.maximum_length == 16384
    assert read.user_information.ext_neg[0].app_info == b"\1\0"
    assert read.user_information.async_ops_window.max_operations_invoked == 1
    assert (read.reserved_aet, read.reserved_aec) == ("HILUM", "CT1")


@given(
    offers=st.lists(st.tuples(UIDS, st.lists(UIDS, min_size=1, max_size=3, unique=True))),
    roles=st.lists(ROLES, max_size=8),
)
def test_pynetdicom_reads_every_request(
    offers: list[tuple[str, list[str]]], roles: list[tuple[str, bool, bool]]
) -> None:
    proposed = [
        Proposed(2 * index + 1, abstract_syntax, tuple(offered))
        for index, (abstract_syntax, offered) in enumerate(offers[:128])
    ]
    information = UserInformation(32768, roles={uid: Roles(scu, scp) for uid, scu, scp in roles})
    pdu = write_request("ARCHIVE", "HILUM", proposed, information)
    assert by_pynetdicom(pdu) == (proposed, information)
    read = A_ASSOCIATE_RQ()
    read.decode(pdu)
    assert (read.called_ae_title, read.calling_ae_title) == ("ARCHIVE", "HILUM")


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


MAXIMUM = item(0x51, b"\0\0\x40\0")


def request(
    *,
    called: bytes = b"HILUM",
    calling: bytes = b"CT1",
    context: bytes = b"\1\0\0\0",
    abstract_syntax: bytes = VERIFICATION.encode(),
    transfer_syntax: bytes = IMPLICIT.encode(),
    information: bytes = MAXIMUM,
    more: bytes = b"",
) -> bytes:
    """An association request with one context, put together from PS3.8 9.3.2."""
    syntaxes = item(0x30, abstract_syntax) + item(0x40, transfer_syntax)
    body = struct.pack(">HH", 1, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context + syntaxes)
    body += item(0x50, information) + more
    return struct.pack(">BBL", 1, 0, len(body)) + body


@pytest.mark.parametrize(
    "oddity",
    [
        {"calling": b"CT1".ljust(16, b"\0"), "called": b"HILUM".ljust(16, b"\0")},
        {"calling": b"CT1\0left over", "called": b"HILUM".rjust(16)},
        {
            "abstract_syntax": VERIFICATION.encode() + b"\0",
            "transfer_syntax": b"1.2.840.10008.1.2 ",
        },
        {"information": MAXIMUM + item(0x5F, b"invented later")},
        {"information": MAXIMUM + item(0x58, b"\7\1\0\3bob\0\0")},
        {"information": MAXIMUM + item(0x52, b"1." * 40)},
        {"more": item(0x60, b"invented later")},
        {"more": bytes(8)},
    ],
    ids="-".join,
)
def test_what_equipment_does_is_read_as_it_is_meant(oddity: dict[str, bytes]) -> None:
    read = read_request(request(**oddity))
    assert (read.calling_ae_title, read.called_ae_title) == ("CT1", "HILUM")
    assert read.proposed == [Proposed(1, VERIFICATION, (IMPLICIT,))]
    assert read.information.maximum_pdu_bytes == 16384


def test_answer_repeats_the_titles_byte_for_byte() -> None:
    asked = request(calling=b"CT1".ljust(16, b"\0"), called="HÜLUM".encode("latin-1"))
    read = read_request(asked)
    assert read.called_ae_title == "HÜLUM"
    assert write_answer(read.titles, [], UserInformation())[10:42] == asked[10:42]


@pytest.mark.parametrize("name", [b"A" * 20, b"ABC\0", b"AB\xc4", b""])
def test_any_version_name_is_read(name: bytes) -> None:
    pdu = bytearray(request(information=MAXIMUM + item(0x55, name)))
    expected = name.decode("latin-1").rstrip("\0")
    assert read_request(bytes(pdu)).information.implementation_version_name == expected
    pdu[0] = 2
    assert read_answer(bytes(pdu)).information.implementation_version_name == expected


def test_contexts_may_have_any_number() -> None:
    assert read_request(request(context=b"\2\0\0\0")).proposed[0].id == 2


@pytest.mark.parametrize(
    "pdu",
    [b"", request()[:70], request() + b"\x20", request() + b"\x20\0\0\5abcd"],
    ids=["nothing", "no-items", "half-a-head", "longer-than-the-pdu"],
)
def test_items_that_do_not_fit_are_a_violation(pdu: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read_request(pdu)


def test_nothing_is_remembered_of_requests_that_fill_memory() -> None:
    plain = write_request("HILUM", "CT1", [], UserInformation())
    tracemalloc.start()
    try:
        for number in range(1000):
            long = b"%05d" % number * 13_000
            syntax = struct.pack(">BxH", 0x30, len(long)) + long
            context = struct.pack(">BxH", 0x20, len(syntax) + 4) + bytes((1, 0, 0, 0)) + syntax
            assert read_request(plain + context).proposed[0].abstract_syntax == long.decode()
        remembered_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert remembered_bytes < 4 << 20
