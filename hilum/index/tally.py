"""What a writer remembers of the series and studies it wrote last, so that it may add to them.

The next batch of a stream most often says nothing new of its series and its study: there
are more instances, and that is all. Then one update adds to the counts what would have to
be counted anew, over every instance of the series, with each batch. `index.derive` says why
the sums are right.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pymongo import UpdateOne

from hilum.core.instance import Instance
from hilum.core.levels import Level
from hilum.index.database import Document
from hilum.index.entity_documents import entity_update
from hilum.index.instance_documents import frame_count

#: Series and studies. Those that several hundred associations store into at once.
_REMEMBERED: Final = 1000
_NUMBER_OF_INSTANCES: Final = {
    Level.STUDY: "NumberOfStudyRelatedInstances",
    Level.SERIES: "NumberOfSeriesRelatedInstances",
}


class Tally:
    """The fields of entities as a writer left them, by public id, the latest ones."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, Document] = OrderedDict()

    def take(self, keys: Iterable[str]) -> dict[str, Document]:
        """Forget these entities, and return what was remembered of them."""
        return {key: self._left.pop(key) for key in keys if key in self._left}

    def keep(self, key: str, fields: Document) -> None:
        """Remember an entity whose counts are right at the revision in `fields`."""
        self._left[key] = fields
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)


class Addition(NamedTuple):
    """An update that adds instances to an entity."""

    update: UpdateOne
    left: Document
    """For the `Tally`: the fields as the update leaves them."""


def addition(
    level: Level,
    key: str,
    left: Document,
    instances: Sequence[Instance],
    arrived: Instance | None,
) -> Addition | None:
    """Return what adds new `instances` to an entity; None if they say more.

    Parameters
    ----------
    left
        From a `Tally`: the update applies only where the entity is still like that.
    arrived
        See `hilum.index.entity_documents.entity_update`.
    """
    update = entity_update(level, instances, arrived)
    said = update["$set"]
    revision = said.pop("revision")
    changed = {"stable": said.pop("stable")} if arrived else {}
    if not said.items() <= left.items():
        return None
    if level is Level.SERIES and not {each.header.sop_class_uid for each in instances} <= set(
        left["SOPClassesInSeries"]
    ):
        return None
    counts = {
        _NUMBER_OF_INSTANCES[level]: len(instances),
        "frames": sum(frame_count(instance.header) for instance in instances),
        "size": sum(instance.blob.size_bytes for instance in instances),
    }
    return Addition(
        UpdateOne(
            {"_id": key, "revision": left["revision"]},
            {
                "$set": {"revision": revision, **changed},
                "$min": update["$min"],
                "$max": update["$max"],
                **({"$currentDate": update["$currentDate"]} if arrived else {}),
                "$inc": counts,
            },
        ),
        {**left, "revision": revision},
    )
