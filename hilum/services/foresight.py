"""What a viewer will ask for first, made before it asks: the metadata of studies gone quiet.

Each worker notes the studies it writes to. When one has had nothing new for a while its
metadata is made, into the disk cache. Several workers may have written to a study: each goes
through it in an order of its own and leaves out what another has kept meanwhile, so that
hardly anything is made twice and nobody has to agree with anybody.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import structlog

from hilum.core.errors import HilumError, NotFound
from hilum.services.metadata import Metadata

log = structlog.get_logger(__name__)

#: More that wait are forgotten, the oldest first: a day's studies of a large hospital.
_STUDIES_NOTED: Final = 10_000
_LOOK_SECONDS: Final = 1.0
#: For each second of work, so many of rest: to receive and to answer comes first.
_REST: Final = 3.0


class Foresight:
    """Notes studies, and prepares those that have gone quiet. Lives on the loop.

    Parameters
    ----------
    metadata
        Makes and keeps.
    quiet_seconds
        Without a new instance, before a study is prepared.
    """

    def __init__(self, metadata: Metadata, quiet_seconds: float) -> None:
        self._metadata = metadata
        self._quiet_seconds = quiet_seconds
        self._noted: OrderedDict[str, float] = OrderedDict()

    def note(self, study_instance_uids: Iterable[str]) -> None:
        """Note studies that were just written to."""
        now = time.monotonic()
        for uid in study_instance_uids:
            self._noted[uid] = now
            self._noted.move_to_end(uid)
        while len(self._noted) > _STUDIES_NOTED:
            self._noted.popitem(last=False)

    async def run(self) -> None:
        """Prepare what goes quiet, until cancelled."""
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, self._quiet_seconds))
            while (uid := self._quiet()) is not None:
                try:
                    await self._prepare(uid)
                except NotFound:
                    pass  # deleted
                except HilumError as error:  # made at the first request, then
                    log.warning("metadata not prepared", study=uid, reason=str(error))
                except Exception:  # a fault here must not end the node
                    log.exception("metadata not prepared", study=uid)

    def _quiet(self) -> str | None:
        """Take the study that was noted first, if it has gone quiet."""
        uid = next(iter(self._noted), None)
        if uid is None or time.monotonic() - self._noted[uid] < self._quiet_seconds:
            return None
        del self._noted[uid]
        return uid

    async def _prepare(self, study_instance_uid: str) -> None:
        batches = await self._metadata.select(study_instance_uid)
        random.shuffle(batches)
        for batch in batches:
            started = time.monotonic()
            if study_instance_uid in self._noted:
                return  # there is more of it: later, all at once
            await self._metadata.data_sets(batch)
            await asyncio.sleep((time.monotonic() - started) * _REST)
