"""What a DICOMweb service says of the instances it was sent: one outcome for each.

References
----------
PS3.18 10.5.3 and annex I: the Store Instances Response, its status, and Failure Reason.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import orjson

from hilum.core.errors import HilumError, Invalid, PeerUnreachable, Temporary
from hilum.core.levels import json_tag

#: What is wrong with an instance; None: the service has it.
Outcome: TypeAlias = HilumError | None

#: All stored; stored in part, or with warnings; none stored.
_OK, _ACCEPTED, _CONFLICT = 200, 202, 409
#: Something is wrong with what was sent, not with who is asked or how.
_REFUSALS: Final = frozenset({400, 406, 409, 411, 413, 415, 422})
#: It may be the instance, and others may be taken.
_BUSY: Final = frozenset({408, 425, 429, 500, 507})
#: Refused: Out of Resources.
_OUT_OF_RESOURCES: Final = 0xA7

_FAILED = json_tag("FailedSOPSequence")
_STORED = json_tag("ReferencedSOPSequence")
_UID = json_tag("ReferencedSOPInstanceUID")
_REASON = json_tag("FailureReason")


def outcomes(status: int, body: bytes, uids: Sequence[str]) -> list[Outcome]:
    """Return what became of instances.

    Parameters
    ----------
    status
        Of the answer to the request that they were sent with.
    body
        Of the answer: the Store Instances Response in DICOM JSON, or anything.
    uids
        Their SOP Instance UIDs.

    Returns
    -------
    list of HilumError or None
        In the order of `uids`: `Temporary` if the same request may succeed later, as
        `PeerUnreachable` if that goes for every other one too; `Invalid` if not. What is not
        said of each but of all is the same object.

    Notes
    -----
    Services differ in the status when some instances fail (Orthanc says 200), so what is said of
    an instance counts more than the status.
    """
    if status not in {_OK, _ACCEPTED, _CONFLICT}:
        fault = _refusal(status)
        return [fault] * len(uids)
    failed, stored = _read(body)
    unsaid = _unsaid(status)
    return [
        _failure(failed[uid]) if uid in failed else None if uid in stored else unsaid
        for uid in uids
    ]


def _refusal(status: int) -> HilumError:
    said = f"the service answers {status}"
    if status in _REFUSALS:
        return Invalid(said)
    if status in {401, 403}:
        said += ": it wants another user or password"
    elif 300 <= status < 400:
        said += ", and redirections are not followed"
    elif status in _BUSY:
        return Temporary(said)
    # Nothing is taken before a person or time has mended that.
    return PeerUnreachable(said)


def _failure(reason: int | None) -> HilumError:
    said = "the service refuses it"
    if reason is None:
        return Invalid(f"{said} without a reason")
    said = f"{said} with reason {reason:04X}"
    return Temporary(said) if reason >> 8 == _OUT_OF_RESOURCES else Invalid(said)


def _unsaid(status: int) -> Outcome:
    """Return what becomes of an instance that the answer does not name."""
    if status == _OK:
        return None
    return Invalid(f"the service answers {status} and does not say what became of it")


def _read(body: bytes) -> tuple[dict[str, int | None], set[str]]:
    """Return the reasons of what failed by UID, and the UIDs of what is stored."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}, set()
    data_sets = document if isinstance(document, list) else [document]
    failed: dict[str, int | None] = {}
    stored: set[str] = set()
    for data_set in data_sets:
        for item in _items(data_set, _FAILED):
            failed[str(_value(item, _UID))] = _number(_value(item, _REASON))
        stored.update(str(_value(item, _UID)) for item in _items(data_set, _STORED))
    return failed, stored


def _items(data_set: Any, tag: str) -> list[Any]:
    values = _values(data_set, tag)
    return [value for value in values if isinstance(value, dict)]


def _value(data_set: Any, tag: str) -> Any:
    return next(iter(_values(data_set, tag)), None)


def _values(data_set: Any, tag: str) -> list[Any]:
    element = data_set.get(tag) if isinstance(data_set, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _number(value: Any) -> int | None:
    """Return a number that some write as text."""
    try:
        return int(value) & 0xFFFF
    except (TypeError, ValueError, OverflowError):
        return None
