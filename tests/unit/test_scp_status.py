"""Every error has a status in every service, and the comment that goes with it fits."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pynetdicom import status as pynetdicom_status

from hilum.core import errors
from hilum.core.errors import HilumError
from hilum.core.identifier_query import MissingUniqueKey
from hilum.scp.command import Command, CommandField
from hilum.scp.status import Refused, comment_of, failure, is_warning, status_of

STORE, FIND = CommandField.C_STORE_RQ, CommandField.C_FIND_RQ
MOVE, GET = CommandField.C_MOVE_RQ, CommandField.C_GET_RQ
TABLES = {
    STORE: pynetdicom_status.STORAGE_SERVICE_CLASS_STATUS,
    FIND: pynetdicom_status.QR_FIND_SERVICE_CLASS_STATUS,
    MOVE: pynetdicom_status.QR_MOVE_SERVICE_CLASS_STATUS,
    GET: pynetdicom_status.QR_GET_SERVICE_CLASS_STATUS,
}


def all_errors(kind: type[HilumError] = HilumError) -> Iterator[type[HilumError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
        yield from all_errors(each)


@pytest.mark.parametrize("field", [STORE, FIND, MOVE, GET])
@pytest.mark.parametrize("kind", sorted(set(all_errors()), key=lambda kind: kind.__name__))
def test_every_error_is_a_failure_the_standard_knows(
    field: CommandField, kind: type[HilumError]
) -> None:
    status = status_of(field, kind("reason"))
    known = {**TABLES[field], **pynetdicom_status.GENERAL_STATUS}
    assert known[status][0] == "Failure"


@pytest.mark.parametrize(
    ("field", "error", "status"),
    [
        (STORE, errors.StorageFull, 0xA700),
        (STORE, errors.StorageUnavailable, 0xA700),
        (STORE, errors.IdentityMismatch, 0xA900),
        (STORE, errors.NotDicom, 0xC000),
        (STORE, errors.Invalid, 0xC001),
        (STORE, errors.Conflict, 0x0111),
        (FIND, MissingUniqueKey, 0xA900),
        (FIND, errors.IndexUnavailable, 0xA700),
        (MOVE, errors.UnknownPeer, 0xA801),
        (MOVE, errors.PeerUnreachable, 0xA702),
        (MOVE, errors.IndexUnavailable, 0xA701),
        (GET, errors.IndexUnavailable, 0xA701),
    ],
)
def test_statuses_of_the_services(
    field: CommandField, error: type[HilumError], status: int
) -> None:
    assert status_of(field, error("reason")) == status


def test_refused_says_its_own_status_and_element() -> None:
    response = failure(Command(STORE, message_id=3), Refused(0x0122, "no such class", 0x00000002))
    assert (response.status, response.offending_element) == (0x0122, 2)
    assert (response.error_comment, response.responded_message_id) == ("no such class", 3)


@given(st.text())
def test_comment_is_a_valid_lo(text: str) -> None:
    comment = comment_of(text)
    DataElement(0x00000902, "LO", comment, validation_mode=2)
    assert comment.isascii()
    assert "\\" not in comment


@pytest.mark.parametrize(
    "status",
    [0, 1, 0x0107, 0x0110, 0x0116, 0xA700, 0xA900, 0xB000, 0xB006, 0xB007, 0xC000, 0xFE00, 0xFF00],
)
def test_warnings_are_those_of_the_standard(status: int) -> None:
    assert is_warning(status) == (pynetdicom_status.code_to_category(status) == "Warning")
