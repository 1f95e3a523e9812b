"""DIMSE statuses, and the one place where an error becomes one.

Which error has which status depends on the service; each table cites its clause.
"""

from typing import Final

from hilum.core.errors import (
    Conflict,
    HilumError,
    IdentityMismatch,
    IndexUnavailable,
    Invalid,
    NotDicom,
    Temporary,
    UnknownPeer,
)
from hilum.scp.command import Command, CommandField

SUCCESS: Final = 0x0000
CANCEL: Final = 0xFE00
PENDING: Final = 0xFF00
#: Pending, and an optional key was not supported (PS3.4 C.4.1.1.4).
PENDING_UNSUPPORTED_KEYS: Final = 0xFF01

# PS3.7 Annex C.
DUPLICATE_SOP_INSTANCE: Final = 0x0111
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
INVALID_ARGUMENT: Final = 0x0115
INVALID_SOP_INSTANCE: Final = 0x0117
NO_SUCH_CLASS: Final = 0x0118
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NO_SUCH_ACTION: Final = 0x0123
NOT_AUTHORIZED: Final = 0x0124
UNRECOGNIZED_OPERATION: Final = 0x0211
RESOURCE_LIMITATION: Final = 0x0213

# PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, C.4.3.1.4.
OUT_OF_RESOURCES: Final = 0xA700
CANNOT_COUNT_MATCHES: Final = 0xA701
CANNOT_PERFORM_SUBOPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
DATA_SET_MISMATCH: Final = 0xA900
SUBOPERATIONS_WITH_FAILURES: Final = 0xB000
CANNOT_UNDERSTAND: Final = 0xC000
IDENTIFIERS_INVALID: Final = 0xC001

#: PS3.4 B.2.3. 0111H is not in that table: PS3.7 C.5.7 defines it for exactly this, an
#: instance UID that is taken, and any failure tells the sender to keep its copy.
_STORE: Final = (
    (IdentityMismatch, DATA_SET_MISMATCH),
    (NotDicom, CANNOT_UNDERSTAND),
    (Invalid, IDENTIFIERS_INVALID),
    (Conflict, DUPLICATE_SOP_INSTANCE),
    (Temporary, OUT_OF_RESOURCES),
)
#: PS3.4 C.4.1.1.4.
_FIND: Final = (
    (NotDicom, CANNOT_UNDERSTAND),
    (Invalid, DATA_SET_MISMATCH),
    (Temporary, OUT_OF_RESOURCES),
)
#: PS3.4 C.4.3.1.4.
_GET: Final = (
    (NotDicom, CANNOT_UNDERSTAND),
    (Invalid, DATA_SET_MISMATCH),
    (IndexUnavailable, CANNOT_COUNT_MATCHES),
    (Temporary, CANNOT_PERFORM_SUBOPERATIONS),
)
#: PS3.4 C.4.2.1.5.
_MOVE: Final = ((UnknownPeer, MOVE_DESTINATION_UNKNOWN), *_GET)
#: PS3.7 10.1.4.1.10.
_ACTION: Final = (
    (UnknownPeer, NOT_AUTHORIZED),
    (Invalid, INVALID_ARGUMENT),
    (Temporary, RESOURCE_LIMITATION),
)
_TABLES: Final[dict[int, tuple[tuple[type[HilumError], int], ...]]] = {
    CommandField.C_STORE_RQ: _STORE,
    CommandField.C_FIND_RQ: _FIND,
    CommandField.C_MOVE_RQ: _MOVE,
    CommandField.C_GET_RQ: _GET,
    CommandField.N_ACTION_RQ: _ACTION,
}
_COMMENT_CHARACTERS: Final = 64  # LO


class Refused(HilumError):
    """A request that is answered with a status of its own choosing."""

    code = "refused"

    def __init__(self, status: int, reason: str, offending_element: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.offending_element = offending_element


def status_of(field: int, error: HilumError) -> int:
    """Return the status that says `error` in response to a request of type `field`."""
    if isinstance(error, Refused):
        return error.status
    for kind, status in _TABLES.get(field, ()):
        if isinstance(error, kind):
            return status
    return PROCESSING_FAILURE


def failure(request: Command, error: HilumError) -> Command:
    """Return the response that says why `request` failed.

    References
    ----------
    PS3.7 C.1: Error Comment (0000,0902) and Offending Element (0000,0901).
    """
    response = request.response(status_of(request.field, error))
    response.error_comment = comment_of(str(error))
    if isinstance(error, Refused):
        response.offending_element = error.offending_element
    return response


def comment_of(text: str) -> str:
    """Return `text` as an Error Comment may be: 64 characters, printable, no backslash."""
    printable = "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    )
    return printable.replace("\\", "/")[:_COMMENT_CHARACTERS].strip()


def is_warning(status: int) -> bool:
    """Whether a C-STORE status means "stored, but" (PS3.7 C.2, PS3.4 B.2.3)."""
    return status >> 12 == 0xB or status in {0x0001, 0x0107, 0x0116}
