"""Events as an outbox would give them, for tests of what comes after it."""

from collections.abc import Iterable
from datetime import UTC, datetime

from hilum.core.events import Event, Kind
from hilum.core.levels import Level


def event(sequence: int, study: str = "study-a", kind: Kind = Kind.NEW_INSTANCE) -> Event:
    """An event of the instance that has the number of the event."""
    return Event(
        sequence=sequence,
        kind=kind,
        level=Level.STUDY if kind.value.endswith("study") else Level.IMAGE,
        resource=f"instance-{sequence}",
        study=study,
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid=f"1.2.3.{sequence}",
        at=datetime(2026, 11, 22, 12, 0, sequence % 60, tzinfo=UTC),
        details={"number": sequence},
    )


def events(numbers: Iterable[int], study: str = "study-a") -> list[Event]:
    return [event(number, study) for number in numbers]
