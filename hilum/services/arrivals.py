"""What is told of arrivals: the events that instances give rise to."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Final

from hilum.core.events import Draft, Kind
from hilum.core.instance import Blob, Instance, Origin
from hilum.core.levels import Level, json_tag
from hilum.services.decision import Decision, Outcome

#: What those who follow the events most often want to know without asking for more.
_TOLD: Final = {
    keyword: json_tag(keyword)
    for keyword in ("PatientID", "AccessionNumber", "StudyDate", "StudyDescription", "Modality")
}
_LONGEST_CHARACTERS: Final = 256
#: How a conflict ended, as it is told.
_CONFLICTS: Final = {
    Outcome.REPLACED: "replaced",
    Outcome.ALREADY_STORED: "replaced",  # before a fault came between
    Outcome.KEPT_CURRENT: "kept-current",
}


def drafts(decisions: Sequence[Decision], begun: AbstractSet[str]) -> list[Draft]:
    """Return what is told of a batch that was written, in order.

    Parameters
    ----------
    decisions
        Those that were carried out.
    begun
        Public ids of the patients, studies and series that began with one of them.

    Notes
    -----
    What an instance began is told behind it and the narrowest first, as Orthanc does.
    """
    told: list[Draft] = []
    left = set(begun)
    tags: dict[str, dict[str, Any]] = {}  # by series: its instances share them
    for decision in decisions:
        if not decision.is_news:
            continue
        instance = decision.instance
        if decision.outcome is not Outcome.KEPT_CURRENT:
            series = instance.header.identity.series
            if series not in tags:
                tags[series] = _tags(instance)
            told.append(_new_instance(decision, tags[series]))
            told += _begun(decision, left)
        if decision.contradicts is not None:
            told.append(
                _conflict(
                    instance,
                    current=decision.contradicts,
                    outcome=_CONFLICTS[decision.outcome],
                    again=decision.again,
                )
            )
    return told


def refusal(instance: Instance, current: Blob) -> Draft:
    """Return what is told of an instance that is refused for the version that is there."""
    return _conflict(instance, current=current.digest, outcome="rejected", again=False)


def _new_instance(decision: Decision, tags: Mapping[str, Any]) -> Draft:
    instance = decision.instance
    header = instance.header
    details = {
        "origin": _origin(instance.origin),
        "received_at": instance.origin.received_at.isoformat(),
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "digest": instance.blob.digest,
        "size_bytes": instance.blob.size_bytes,
        "tags": tags,
    }
    if decision.pending.restored:
        details["restored"] = True
    return _draft(
        Kind.NEW_INSTANCE,
        Level.IMAGE,
        instance,
        details,
        perhaps=decision.again,
        restored=decision.pending.restored,
    )


def _begun(decision: Decision, left: set[str]) -> list[Draft]:
    """Return what is told of what an instance began; it is taken from `left`."""
    instance = decision.instance
    identity = instance.header.identity
    told = []
    for kind, level, resource in (
        (Kind.NEW_SERIES, Level.SERIES, identity.series),
        (Kind.NEW_STUDY, Level.STUDY, identity.study),
        (Kind.NEW_PATIENT, Level.PATIENT, identity.patient),
    ):
        if resource in left:
            left.remove(resource)
            details = {"origin": _origin(instance.origin)}
            told.append(
                _draft(
                    kind,
                    level,
                    instance,
                    details,
                    perhaps=decision.again,
                    restored=decision.pending.restored,
                )
            )
    return told


def _conflict(instance: Instance, *, current: str, outcome: str, again: bool) -> Draft:
    details = {
        "origin": _origin(instance.origin),
        "received_at": instance.origin.received_at.isoformat(),
        "outcome": outcome,
        "current": current,
        "received": instance.blob.digest,
    }
    return _draft(Kind.CONFLICT, Level.IMAGE, instance, details, perhaps=again)


def _draft(
    kind: Kind,
    level: Level,
    instance: Instance,
    details: Mapping[str, Any],
    *,
    perhaps: bool,
    restored: str = "",
) -> Draft:
    identity = instance.header.identity
    received_at = instance.origin.received_at
    resources = {
        Level.PATIENT: identity.patient,
        Level.STUDY: identity.study,
        Level.SERIES: identity.series,
        Level.IMAGE: identity.instance,
    }
    return Draft(
        kind=kind,
        level=level,
        resource=resources[level],
        study=identity.study,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=(
            identity.series_instance_uid if level in {Level.SERIES, Level.IMAGE} else None
        ),
        sop_instance_uid=identity.sop_instance_uid if level is Level.IMAGE else None,
        at=datetime.now(UTC),
        # What comes back from the trash has come before, and was told then.
        occasion=f"{instance.blob.digest} {received_at.isoformat()} {restored}".rstrip(),
        details=details,
        perhaps_since=received_at if perhaps else None,
    )


def _origin(origin: Origin) -> dict[str, str]:
    return {
        "source": origin.source,
        "remote_address": origin.remote_address,
        "called_ae_title": origin.called_ae_title,
    }


def _tags(instance: Instance) -> dict[str, Any]:
    """Return the first value of what is told of an instance's data set, by keyword."""
    attributes = instance.header.attributes
    values = {keyword: attributes.get(tag, {}).get("Value") for keyword, tag in _TOLD.items()}
    return {
        # Whatever senders put there, an event that cannot be written must not hold up the rest.
        keyword: str(value[0])[:_LONGEST_CHARACTERS].encode(errors="replace").decode()
        for keyword, value in values.items()
        if value
    }
