"""The order of a study's instances, kept for the studies that are being looked at."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hilum.core.errors import NotFound
from hilum.index.database import Database
from hilum.index.instance_documents import STORED_FIELDS, stored_instance
from hilum.index.stored import StudyLayout

#: Instances in the layouts that are kept: some 1 KB each. The last layout is kept whatever
#: its size.
_INSTANCES_KEPT: Final = 20_000

#: How long the marks of this node's workers are trusted alone. They are always right about
#: each other; who else writes to their database, by hand perhaps, is seen after so long.
_TRUST_SECONDS: Final = 1.0

_Revisions = tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Kept:
    layout: StudyLayout
    revisions: _Revisions
    mark: int
    """Of the study, from before its revisions were read the last time,"""
    read_at: float
    """and when that was."""


class Layouts:
    """Makes layouts, and keeps the last ones together with the revision they were read at.

    A viewer that scrolls asks for the layout with each frame. While the study's mark is the
    same nobody in this node has written to it (`index.changes`), and nothing is asked of
    MongoDB. Else the revision is, one small document: it is raised after the instances of a
    write and before that write is reported done (`index.derive`), so a layout read before
    is never taken for one after.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes = database.changes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def of(self, study_instance_uid: str) -> StudyLayout:
        """Return the layout of a study.

        Raises
        ------
        NotFound
            There is no such study.
        """
        kept = self._kept.get(study_instance_uid)
        if kept is None or not self._trusted(study_instance_uid, kept):
            kept = await self._checked(study_instance_uid)
        else:
            self._kept.move_to_end(study_instance_uid)
        return kept.layout

    def _trusted(self, study_instance_uid: str, kept: _Kept) -> bool:
        """Return whether what is kept of a study is true without a look at MongoDB."""
        return (
            self._changes is not None
            and self._changes.mark(study_instance_uid) == kept.mark
            and time.monotonic() - kept.read_at < _TRUST_SECONDS
        )

    async def _checked(self, study_instance_uid: str) -> _Kept:
        """Return what is kept of a study, read anew if MongoDB has another revision of it."""
        read_at = time.monotonic()
        mark = self._changes.mark(study_instance_uid) if self._changes is not None else 0
        # Two patients may have a study of one UID each; to a caller with nothing but the UID
        # it is one study.
        cursor = self._database.studies.find(
            {"StudyInstanceUID": study_instance_uid}, {"revision": 1}
        ).sort("_id", 1)
        revisions = tuple([(each["_id"], each["revision"]) async for each in cursor])
        if not revisions:
            self._kept.pop(study_instance_uid, None)
            raise NotFound(f"no study {study_instance_uid}")
        kept = self._kept.get(study_instance_uid)
        if kept is not None and kept.revisions == revisions:
            layout = kept.layout
        else:
            layout = await self._read(study_instance_uid, [key for key, _ in revisions])
        kept = _Kept(layout, revisions, mark, read_at)
        self._kept[study_instance_uid] = kept
        self._kept.move_to_end(study_instance_uid)
        self._forget()
        return kept

    def _forget(self) -> None:
        """Let go of the layouts that were not asked for longest, down to the limit."""
        total = sum(len(kept.layout.instances) for kept in self._kept.values())
        while total > _INSTANCES_KEPT and len(self._kept) > 1:
            _, kept = self._kept.popitem(last=False)
            total -= len(kept.layout.instances)

    async def _read(self, study_instance_uid: str, studies: list[str]) -> StudyLayout:
        cursor = self._database.series.find({"study": {"$in": studies}}, {"order": 1}).sort(
            [("order", 1), ("_id", 1)]
        )
        in_order = [series["_id"] async for series in cursor]
        places = {series: place for place, series in enumerate(in_order)}
        # Not one by one: awaiting each of three thousand takes longer than reading them.
        cursor = self._database.instances.find({"series": {"$in": in_order}}, STORED_FIELDS)
        documents = await cursor.to_list(None)
        documents.sort(key=lambda each: (places[each["series"]], each["order"], each["_id"]))
        return StudyLayout(study_instance_uid, tuple(map(stored_instance, documents)))
