"""Events: what happened to patients, studies, series and instances, for whoever follows it.

A draft is an event that has no number yet. It is written where the thing happens, by any
worker; its number is given later, in one place (`hilum.index.outbox`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from hilum.core.levels import Level


class Kind(StrEnum):
    """What happened."""

    NEW_INSTANCE = "new-instance"
    """An instance can be found: it is new, or another version of it became current."""
    NEW_SERIES = "new-series"
    NEW_STUDY = "new-study"
    NEW_PATIENT = "new-patient"
    STABLE_SERIES = "stable-series"
    """Nothing new of it has come for a while."""
    STABLE_STUDY = "stable-study"
    STABLE_PATIENT = "stable-patient"
    DELETED = "deleted"
    CONFLICT = "conflict"
    """Other content came under the identifiers of an instance that was there."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way into the outbox."""

    kind: Kind
    level: Level
    """Of the resource."""
    resource: str
    """Public id."""
    study: str
    """Public id of its study; of a patient, the study that the event came about by."""
    study_instance_uid: str
    at: datetime
    """When it happened (UTC)."""
    occasion: str
    """Tells this event from others of its kind about the same resource, and is the same when
    it is written again after a fault."""
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    perhaps_since: datetime | None = None
    """Since when it may be in the outbox already; None: it cannot be. Looking for it has its
    price, and what is new need not pay it."""

    @property
    def key(self) -> bytes:
        """Return what is the same of two drafts exactly if they are one event."""
        text = f"{self.kind}|{self.resource}|{self.occasion}"
        return hashlib.blake2b(text.encode(), digest_size=12).digest()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in its place among all that did."""

    sequence: int
    """From 1. A later event has a greater number; whoever has read one never finds a smaller
    one that was not there before. Some numbers are never given."""
    kind: Kind
    level: Level
    resource: str
    study: str
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    at: datetime
    details: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the event as a JSON object, times in ISO 8601 (UTC)."""
        return {
            "sequence": self.sequence,
            "kind": self.kind.value,
            "level": self.level.value,
            "resource": self.resource,
            "study": self.study,
            "study_instance_uid": self.study_instance_uid,
            "series_instance_uid": self.series_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "at": self.at.isoformat(),
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the event that `as_json` gave."""
        return cls(
            sequence=value["sequence"],
            kind=Kind(value["kind"]),
            level=Level(value["level"]),
            resource=value["resource"],
            study=value["study"],
            study_instance_uid=value["study_instance_uid"],
            series_instance_uid=value["series_instance_uid"],
            sop_instance_uid=value["sop_instance_uid"],
            at=datetime.fromisoformat(value["at"]),
            details=value["details"],
        )
