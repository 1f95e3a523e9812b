"""The order of a study's instances, kept for the studies that are being looked at."""

from collections import OrderedDict
from typing import Final

from hilum.core.errors import NotFound
from hilum.index.database import Database
from hilum.index.documents import STORED_FIELDS, stored_instance
from hilum.index.stored import StudyLayout

#: Instances in the layouts that are kept: some 1 KB each. The last layout is kept whatever
#: its size.
_INSTANCES_KEPT: Final = 20_000

_Revisions = tuple[tuple[str, int], ...]


class Layouts:
    """Makes layouts, and keeps the last ones together with the revision they were read at.

    A viewer that scrolls asks for the layout with each frame; the revision is one small
    document. It is raised after the instances of a write and before that write is reported
    done (`index.derive`), so a layout read before is never taken for one after.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[str, tuple[_Revisions, StudyLayout]] = OrderedDict()

    async def of(self, study_instance_uid: str) -> StudyLayout:
        """Return the layout of a study.

        Raises
        ------
        NotFound
            There is no such study.
        """
        # Two patients may have a study of one UID each; to a caller with nothing but the UID
        # it is one study.
        cursor = self._database.studies.find(
            {"StudyInstanceUID": study_instance_uid}, {"revision": 1}
        ).sort("_id", 1)
        revisions = tuple([(each["_id"], each["revision"]) async for each in cursor])
        if not revisions:
            raise NotFound(f"no study {study_instance_uid}")
        kept = self._kept.get(study_instance_uid)
        if kept is None or kept[0] != revisions:
            kept = revisions, await self._read(study_instance_uid, [key for key, _ in revisions])
            self._kept[study_instance_uid] = kept
        self._kept.move_to_end(study_instance_uid)
        self._forget()
        return kept[1]

    def _forget(self) -> None:
        """Let go of the layouts that were not asked for longest, down to the limit."""
        total = sum(len(layout.instances) for _, layout in self._kept.values())
        while total > _INSTANCES_KEPT and len(self._kept) > 1:
            _, (_, layout) = self._kept.popitem(last=False)
            total -= len(layout.instances)

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
