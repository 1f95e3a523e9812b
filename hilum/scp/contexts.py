"""Presentation contexts: which this node accepts, and which it proposes (PS3.8 7.1.1.13).

Anything that may be an object of a patient is accepted, known or not: a modality that is
told "no" loses an image, a node that keeps an unknown object loses nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from pydicom.config import IGNORE
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hilum.core.identifiers import is_uid
from hilum.core.query import Model
from hilum.scp.association import Context

#: The query/retrieve SOP classes that are served, by the operation they are for (PS3.4 C.6).
FIND_MODELS: Final = {
    "1.2.840.10008.5.1.4.1.2.1.1": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.1": Model.STUDY_ROOT,
}
MOVE_MODELS: Final = {
    "1.2.840.10008.5.1.4.1.2.1.2": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.2": Model.STUDY_ROOT,
}
GET_MODELS: Final = {
    "1.2.840.10008.5.1.4.1.2.1.3": Model.PATIENT_ROOT,
    "1.2.840.10008.5.1.4.1.2.2.3": Model.STUDY_ROOT,
}
VERIFICATION: Final = "1.2.840.10008.1.1"
#: Storage Commitment Push Model (PS3.4 Annex J).
COMMITMENT: Final = "1.2.840.10008.1.20.1"
#: Everything that is served beside storage.
SERVICE_CLASSES: Final = frozenset(
    {VERIFICATION, COMMITMENT, *FIND_MODELS, *MOVE_MODELS, *GET_MODELS}
)
#: In which transfer syntaxes: an identifier is never compressed.
SERVICE_TRANSFER_SYNTAXES: Final = frozenset(
    str(uid)
    for uid in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
)

#: At most this many contexts in an association: the odd ids up to 255 (PS3.8 9.3.2.2).
MAXIMUM_CONTEXTS: Final = 128

ACCEPTED: Final = 0
_USER_REJECTION: Final = 1
_ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
_TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4
#: Results other than acceptance, for people.
REASONS: Final = {
    _USER_REJECTION: "user rejection",
    _ABSTRACT_SYNTAX_NOT_SUPPORTED: "abstract syntax not supported",
    _TRANSFER_SYNTAXES_NOT_SUPPORTED: "transfer syntaxes not supported",
}

# Called storage, but of nothing that belongs to a study: directories of media, and the
# objects without a patient (PS3.4 GG): hanging protocols, palettes, implant templates,
# defined protocols, inventories.
_NO_PATIENT: Final = frozenset(
    {
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.3",
        "1.2.840.10008.5.1.4.1.1.200.7",
        "1.2.840.10008.5.1.4.1.1.201.1",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
    }
)
# What a transfer syntax looks like, known or not.
_NUMBERS: Final = re.compile(r"\d[\d.]{0,63}", re.ASCII)
# Named transfer syntaxes in which no data set is ever exchanged over an association.
_NOT_FOR_DATA_SETS: Final = (
    "1.2.840.10008.1.2.6.",  # MIME and XML encapsulation
    "1.2.840.10008.1.2.7.",  # SMPTE real-time video
)


@lru_cache(maxsize=1024)
def is_storage_class(uid: str) -> bool:
    """Whether objects of the SOP class `uid` are stored: all but those known as something else.

    Unknown and private classes are (PS3.4 B.2.2: storage is opaque to the class).
    """
    if uid in SERVICE_CLASSES or uid in _NO_PATIENT:
        return False
    if not is_uid(uid):
        return False
    known = UID(uid, IGNORE)
    if not known.type:  # not in the dictionary
        return True
    return known.type == "SOP Class" and "Storage" in known.name and "Commitment" not in known.name


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles a requestor proposes, or is given, for a SOP class (PS3.7 D.3.3.4)."""

    scu: bool
    scp: bool


class Proposed(NamedTuple):
    """A presentation context as a requestor proposes it."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class Answer(NamedTuple):
    """What a proposed presentation context is answered with (PS3.8 9.3.3.2)."""

    id: int
    result: int
    transfer_syntax: str
    """Not significant, but to be there, when the context is rejected."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The answer to a proposal."""

    contexts: dict[int, Context]
    answers: list[Answer]
    """One for each proposed context, accepted or not."""
    roles: dict[str, Roles]
    """The role selections to answer with."""


def negotiate(proposed: Iterable[Proposed], roles: Mapping[str, Roles]) -> Negotiated:
    """Answer the presentation contexts of an association request.

    Notes
    -----
    In each context one transfer syntax is accepted, the requestor's first, with two
    exceptions that keep more objects as they are: one that another context for the same
    SOP class has already is passed over while there are others, and so is the retired
    Explicit VR Big Endian (dcmtk, for one, proposes it in front of Implicit VR).
    """
    contexts: dict[int, Context] = {}
    answers: list[Answer] = []
    taken: dict[str, set[str]] = {}
    for context_id, abstract_syntax, offered in proposed:
        serves, uses = _roles_of(abstract_syntax, roles.get(abstract_syntax))
        chosen = _choose(abstract_syntax, offered, taken.setdefault(abstract_syntax, set()))
        if chosen is None:
            result = _ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif not chosen:
            result = _TRANSFER_SYNTAXES_NOT_SUPPORTED
        elif not (serves or uses):
            result = _USER_REJECTION
        else:
            result = ACCEPTED
            taken[abstract_syntax].add(chosen)
            contexts[context_id] = Context(context_id, abstract_syntax, chosen, serves, uses)
        named = chosen or next(iter(offered), str(ImplicitVRLittleEndian))
        answers.append(Answer(context_id, result, named))
    granted = {
        uid: Roles(scu=asked.scu, scp=asked.scp and is_storage_class(uid))
        for uid, asked in roles.items()
        if taken.get(uid)
    }
    return Negotiated(contexts, answers, granted)


def _roles_of(abstract_syntax: str, asked: Roles | None) -> tuple[bool, bool]:
    """Return whether this node serves, and whether it uses, what is asked of it."""
    if asked is None:
        return True, False
    return asked.scu, asked.scp and is_storage_class(abstract_syntax)


def _choose(abstract_syntax: str, offered: Sequence[str], taken: set[str]) -> str | None:
    """Return a transfer syntax; "" if none will do; None if the abstract syntax will not."""
    if abstract_syntax in SERVICE_CLASSES:
        possible = [uid for uid in offered if uid in SERVICE_TRANSFER_SYNTAXES]
    elif is_storage_class(abstract_syntax):
        possible = [
            uid
            for uid in offered
            if _NUMBERS.fullmatch(uid) and not uid.startswith(_NOT_FOR_DATA_SETS)
        ]
    else:
        return None
    # min() takes the first of equals: the requestor's order.
    return min(possible, key=lambda uid: (uid in taken, uid == ExplicitVRBigEndian), default="")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A presentation context to propose: an abstract syntax and transfer syntaxes by preference."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


def proposals_for(kinds: Iterable[tuple[str, str]]) -> list[Proposal]:
    """Return what to propose in order to send objects of `kinds`, as they are if possible.

    Parameters
    ----------
    kinds
        SOP class and transfer syntax of what is to be sent.

    Returns
    -------
    list of Proposal
        For each SOP class one context for every transfer syntax it is stored in, so that the
        peer can accept each of them, and one with what else it could be sent in.
    """
    stored: dict[str, list[str]] = {}
    for sop_class_uid, transfer_syntax_uid in kinds:
        syntaxes = stored.setdefault(sop_class_uid, [])
        if transfer_syntax_uid not in syntaxes:
            syntaxes.append(transfer_syntax_uid)
    proposals: list[Proposal] = []
    for sop_class_uid, syntaxes in stored.items():
        proposals += [Proposal(sop_class_uid, (syntax,)) for syntax in syntaxes]
        fallback = tuple(
            str(uid)
            for uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
            if uid not in syntaxes
        )
        if fallback:
            proposals.append(Proposal(sop_class_uid, fallback))
    return proposals
