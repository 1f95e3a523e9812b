"""Protection: patients and studies that retention leaves alone.

As in Orthanc, it is no more than that: who deletes a protected patient by name, deletes it.
"""

from collections.abc import Collection

import structlog

from hilum.core.levels import Level
from hilum.index.protections import Protections

log = structlog.get_logger(__name__)


class Protection:
    """Protects patients and studies. Lives on the loop."""

    def __init__(self, protections: Protections) -> None:
        self._protections = protections

    async def is_protected(self, public_id: str) -> bool:
        """Return whether a patient, or a study by itself, is protected.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return bool(await self._protections.among([public_id]))

    async def among(self, public_ids: Collection[str]) -> set[str]:
        """Return which patients and studies of these are protected.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._protections.among(public_ids)

    async def protect(self, level: Level, public_id: str, *, protected: bool = True) -> None:
        """Protect a patient or a study, or do so no longer.

        Parameters
        ----------
        level
            PATIENT or STUDY.
        public_id
            Whether there is such a one is for the caller to know.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        if protected:
            await self._protections.put(level, public_id)
        else:
            await self._protections.remove(public_id)
        log.info("protection", level=level.value, resource=public_id, protected=protected)

    async def protect_study(self, study_instance_uid: str, *, protected: bool = True) -> None:
        """Protect a study, or do so no longer.

        Raises
        ------
        NotFound
            There is no such study.
        IndexUnavailable
            MongoDB does not answer.
        """
        for study in await self._protections.studies(study_instance_uid):
            await self.protect(Level.STUDY, study, protected=protected)
