"""Stability: what nothing new has come of for a while is thought complete, and that is told.

DICOM has no word for the end of a study. What comes closest is silence: so an event says how
long it was, how much there is, and whether that is as much as the series themselves say.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from hilum.core.events import Draft, Kind
from hilum.core.levels import Level
from hilum.core.main_tags import expected_number, whole
from hilum.index.outbox import Outbox
from hilum.index.stability import AtRest, Stability

log = structlog.get_logger(__name__)

#: Between two looks.
_EVERY_SECONDS: Final = 1.0
#: What other workers have left in their spools comes first, before a study is called complete.
_SETTLING_SECONDS: Final = 5.0
_KINDS: Final = {Level.SERIES: Kind.STABLE_SERIES, Level.STUDY: Kind.STABLE_STUDY}
_TOLD: Final = {
    Level.SERIES: ("Modality", "SeriesDescription", "BodyPartExamined", "StationName"),
    Level.STUDY: ("PatientID", "AccessionNumber", "StudyDate", "StudyDescription"),
}


class Announcing:
    """Announces what has become stable; on the leader. Lives on the loop.

    Parameters
    ----------
    after_seconds
        How long nothing must have come.
    """

    def __init__(self, stability: Stability, outbox: Outbox, after_seconds: float) -> None:
        self._stability = stability
        self._outbox = outbox
        self._after_seconds = after_seconds
        self._again = True

    async def run(self) -> None:
        """Announce what becomes stable, and at first what did while nobody looked; until cancelled.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer. What is not announced yet is announced by the next run.
        """
        self._again = True
        await asyncio.sleep(min(self._after_seconds, _SETTLING_SECONDS))
        while True:
            if not await self.look():
                await asyncio.sleep(min(self._after_seconds, _EVERY_SECONDS))

    async def look(self) -> int:
        """Announce what has become stable, or part of a great many; return how many.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.

        Notes
        -----
        The event comes first and the note that it is stable after it: between the two a crash
        repeats the event, which the outbox then has already.
        """
        again, self._again = self._again, True
        # Series first: those of a study that is at rest are, too.
        series = await self._stability.at_rest(Level.SERIES, self._after_seconds)
        await self._announce(Level.SERIES, series, [], again=again)
        studies = await self._stability.at_rest(Level.STUDY, self._after_seconds)
        patients = await self._patients(studies)
        await self._announce(Level.STUDY, studies, patients, again=again)
        self._again = False
        return len(series) + len(studies)

    async def _announce(
        self, level: Level, found: Sequence[AtRest], patients: Sequence[AtRest], *, again: bool
    ) -> None:
        if not found:
            return
        ids = [each.id for each in found if level is Level.STUDY]
        below = await self._stability.main_tags_below(ids) if ids else {}
        drafts = [
            _draft(_KINDS[level], level, each, _details(each, below), again=again) for each in found
        ]
        drafts += [
            _draft(Kind.STABLE_PATIENT, Level.PATIENT, each, _quiet(each), again=again)
            for each in patients
        ]
        await self._outbox.add(drafts)
        await self._stability.settle(level, found, datetime.now(UTC))

    async def _patients(self, studies: Sequence[AtRest]) -> list[AtRest]:
        """Return for each patient who has come to rest with these studies the last of them."""
        ids = [study.id for study in studies]
        last = {study.patient: study for study in studies}
        return [
            study for study in last.values() if not await self._stability.has_unstable(study, ids)
        ]


def _draft(
    kind: Kind, level: Level, found: AtRest, details: Mapping[str, Any], *, again: bool
) -> Draft:
    return Draft(
        kind=kind,
        level=level,
        resource=found.patient if level is Level.PATIENT else found.id,
        study=found.study,
        study_instance_uid=found.study_instance_uid,
        series_instance_uid=found.series_instance_uid,
        at=datetime.now(UTC),
        occasion=str(found.revision),
        details=details,
        perhaps_since=found.changed_at if again else None,
    )


def _quiet(found: AtRest) -> dict[str, Any]:
    return {"quiet_seconds": round(found.quiet_seconds, 3)}


def _details(found: AtRest, below: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """Return why a series or study is thought complete.

    ``expected_instances`` and ``complete`` are there if all its series say how many they have.
    """
    details: dict[str, Any] = {**_quiet(found), "instances": found.instances}
    said = [found.main]
    if found.level is Level.STUDY:
        details["series"] = found.series
        said = list(below.get(found.id, ()))
    expected = [_expected(main) for main in said]
    if expected and all(expected):
        details["expected_instances"] = sum(number or 0 for number in expected)
        details["complete"] = details["expected_instances"] == found.instances
    details["tags"] = {
        keyword: found.main[keyword] for keyword in _TOLD[found.level] if found.main.get(keyword)
    }
    return details


def _expected(main: Mapping[str, str]) -> int | None:
    """Return how many instances a series says it has; 0 or None if it does not say."""
    return expected_number(main) or whole(main.get("ImagesInAcquisition", "").strip())
