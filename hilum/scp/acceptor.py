"""Accepting associations: from a connection to an `Association`, or to a rejection.

States Sta2 and Sta3 of PS3.8 9.2. A connection that says nothing is closed when the ARTIM
timer runs out (PS3.8 9.1.5); port probes leave nothing behind.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

import structlog
from pydicom.config import IGNORE
from pydicom.uid import UID

from hilum.scp.associate import (
    APPLICATION_CONTEXT_NAME,
    AssociateRequest,
    UserInformation,
    read_request,
    write_answer,
)
from hilum.scp.association import Association, TimeLimits
from hilum.scp.contexts import (
    ACCEPTED,
    FIND_MODELS,
    GET_MODELS,
    MOVE_MODELS,
    REASONS,
    Negotiated,
    negotiate,
)
from hilum.scp.negotiation import read_pdu
from hilum.scp.upper_layer import PduType
from hilum.scp.wire import AssociationLost, Wire

log = structlog.get_logger(__name__)

# Extended negotiation (PS3.4 C.5.1.1, C.5.2.1, C.5.3.1). C-FIND: relational queries, combined
# date-time matching and fuzzy names are served, time zones and views of enhanced multi-frame
# objects are not. C-MOVE and C-GET: relational retrieval is, conversion is not.
_OPTIONS: Final = {
    **dict.fromkeys(FIND_MODELS, bytes((1, 1, 1))),
    **dict.fromkeys((*MOVE_MODELS, *GET_MODELS), bytes((1,))),
}
_REJECTION_LINGER_SECONDS: Final = 5.0


class Rejection(Enum):
    """Result, source and reason of a rejection (PS3.8 Table 9-21)."""

    APPLICATION_CONTEXT = (1, 1, 2)
    CALLING_AE_TITLE = (1, 1, 3)
    CALLED_AE_TITLE = (1, 1, 7)
    PROTOCOL_VERSION = (1, 2, 2)
    LOCAL_LIMIT = (2, 3, 2)


class Rejected(AssociationLost):
    """The association request was answered with an A-ASSOCIATE-RJ."""

    code: ClassVar[str] = "rejected"


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom to let in, and what to tell them."""

    ae_title: str
    check_called_aet: bool = False
    """Reject callers that use another title than `ae_title`."""
    known_callers: Collection[str] | None = None
    """The only calling titles to accept; None: any."""
    maximum_pdu_bytes: int = 128 * 1024
    """Longest P-DATA PDU to announce; 0 is unlimited (PS3.8 D.1)."""


def accept(
    wire: Wire,
    address: str,
    admission: Admission,
    limits: TimeLimits,
    admit: Callable[[], bool],
) -> Association:
    """Answer the association request that is to come over `wire`.

    Parameters
    ----------
    admit
        Asked last of all, when nothing else is wrong with the request: whether one more
        association fits in. If so, the place is taken.

    Raises
    ------
    Rejected
        It was rejected.
    AssociationLost
        There was none in time, or it was no association request; if anything is to be
        said to the peer about it, that has been said.
    """
    wire.allow(total_seconds=limits.acse_seconds)
    _, data = read_pdu(wire, PduType.ASSOCIATE_RQ)
    asked = read_request(data)
    caller = asked.calling_ae_title
    rejection = _reason_to_reject(asked, admission, admit)
    if rejection is not None:
        _reject(wire, rejection)
        log.warning(
            "association rejected",
            caller=caller,
            address=address,
            called=asked.called_ae_title,
            reason=rejection.name,
        )
        raise Rejected(f"rejected {caller}: {rejection.name}")
    negotiated = negotiate(asked.proposed, asked.information.roles)
    options = _granted_options(asked.information.extended)
    information = UserInformation(
        maximum_pdu_bytes=admission.maximum_pdu_bytes,
        roles=negotiated.roles,
        extended=options,
        wants_asynchronous=asked.information.wants_asynchronous,
    )
    wire.write(write_answer(asked.titles, negotiated.answers, information))
    _log_outcome(address, asked, negotiated)
    return Association(
        wire,
        peer_ae_title=caller,
        peer_address=address,
        contexts=negotiated.contexts,
        options=options,
        peer_maximum_pdu_bytes=asked.information.maximum_pdu_bytes,
        limits=limits,
        called_ae_title=asked.called_ae_title,
    )


def _reason_to_reject(
    asked: AssociateRequest, admission: Admission, admit: Callable[[], bool]
) -> Rejection | None:
    if not asked.protocol_version & 1:
        return Rejection.PROTOCOL_VERSION
    if asked.application_context_name != APPLICATION_CONTEXT_NAME:
        return Rejection.APPLICATION_CONTEXT
    if admission.check_called_aet and asked.called_ae_title != admission.ae_title:
        return Rejection.CALLED_AE_TITLE
    known = admission.known_callers
    if known is not None and asked.calling_ae_title not in known:
        return Rejection.CALLING_AE_TITLE
    if not admit():
        return Rejection.LOCAL_LIMIT
    return None


def _reject(wire: Wire, rejection: Rejection) -> None:
    wire.write(bytes((PduType.ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, *rejection.value)))
    wire.hang_up(_REJECTION_LINGER_SECONDS)


def _granted_options(asked: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the options granted, as many bytes as were asked about (PS3.4 C.5.1.1.2)."""
    return {
        uid: bytes(
            one & other
            for one, other in zip(options, served.ljust(len(options), b"\0"), strict=False)
        )
        for uid, options in asked.items()
        if options and (served := _OPTIONS.get(uid)) is not None
    }


def _log_outcome(address: str, asked: AssociateRequest, negotiated: Negotiated) -> None:
    log.info(
        "association accepted",
        caller=asked.calling_ae_title,
        address=address,
        called=asked.called_ae_title,
        implementation=asked.information.implementation_version_name,
        contexts=len(negotiated.contexts),
    )
    for context, answer in zip(asked.proposed, negotiated.answers, strict=True):
        if answer.result != ACCEPTED:
            # The modality's log says "failed"; this one says what was asked for and why not.
            log.warning(
                "presentation context rejected",
                caller=asked.calling_ae_title,
                address=address,
                abstract_syntax=name_of(context.abstract_syntax),
                transfer_syntaxes=[name_of(uid) for uid in context.transfer_syntaxes],
                reason=REASONS[answer.result],
            )


def name_of(uid: str) -> str:
    """Return the name and number of a UID, for people."""
    name = UID(uid, IGNORE).name
    return uid if name == uid else f"{name} ({uid})"
