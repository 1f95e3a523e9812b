"""Storage commitment: whether others may delete what they have sent here (PS3.4 Annex J)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Reference(NamedTuple):
    """An instance that somebody wants to be sure of."""

    sop_class_uid: str
    sop_instance_uid: str


class Doubt(IntEnum):
    """Why an instance is not committed to: Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    """It is in the index, and its file is gone or is not what was stored."""
    NO_SUCH_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    """An instance of that UID is stored, of another SOP class."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is answered to one request."""

    transaction_uid: str
    committed: Sequence[Reference]
    doubtful: Sequence[tuple[Reference, Doubt]]
