"""Counts and lists over what a series and a study contain.

Concurrent writers, in one process or several, may touch the same series at once. What is
derived is right all the same once they are done, without a lock, for this reason:

- Each writer first writes its instances, then gives the series a new `revision`, a random
  number, then derives: it reads the revision, aggregates the instances, and writes the
  result on condition that the revision is still the one it read.
- Take the last new revision there ever is. A result written under that revision was
  aggregated after it, so after every writer's instances: it is the right one. The writer
  of that revision does write its result, as nobody changes the revision again under it; a
  result read under an earlier revision can no longer be written.
- A study is derived from its series in the same manner. A writer gives the study a new
  revision only after its series' results are written, or were left to a writer who gave
  the series a later revision and so comes to the study later. The last revision of the
  study therefore follows the last result of each of its series.

A writer that dies in between is made good by its replay from the spool, which goes through
the same steps again; deriving adds to no count, so that may happen any number of times.

A deletion is a writer like any other: it deletes instances, then gives their series a new
revision, then derives. Whoever derives a series without instances, or a study without series,
deletes it, on condition that the revision is still the one it read: a writer who inserts an
instance meanwhile gives a new revision afterwards, to the series that is there or to one
that it makes anew.

A writer whose batch says nothing new of a series but that there are more instances adds to
its counts instead (`index.tally`), with a new revision, on condition that the revision is
the one at which this writer left the counts right before it inserted any of the batch. The
sums are what would have been derived:

- Nobody has changed the revision since, so nobody has derived since: the counts have none
  of the batch's instances. Where a rival has inserted instances of his own, a new revision
  of his is still to come; and he derives, as he cannot have left the one that he finds.
- Only what was inserted just now is added. An instance that was there already, as all are
  in a replay, may have been counted: its series is derived.
- A study is added to only where all its series of the batch were. A rival who writes a
  series' result in between gives the study a new revision after it, and derives.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from pymongo import DeleteOne, UpdateOne

from hilum.index.database import Database, Document
from hilum.index.words import WORD_SOURCES, study_words

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

#: How often a result that came too late is derived anew before it is left to the writer who
#: was faster. One would do for correctness; more make it likely that what a sender was told
#: is counted is counted already.
_ATTEMPTS: Final = 5

_SERIES_PIPELINE: Final[list[Document]] = [
    {"$project": {"revision": 1}},
    {
        "$lookup": {
            "from": "instances",
            "localField": "_id",
            "foreignField": "series",
            "as": "found",
            "pipeline": [
                {
                    "$group": {
                        "_id": "$SOPClassUID",
                        "instances": {"$sum": 1},
                        "frames": {"$sum": "$frames"},
                        "size": {"$sum": "$blob.size"},
                    }
                }
            ],
        }
    },
]

_STUDY_PIPELINE: Final[list[Document]] = [
    {"$project": {"revision": 1, **WORD_SOURCES}},
    {
        "$lookup": {
            "from": "series",
            "localField": "_id",
            "foreignField": "study",
            "as": "found",
            "pipeline": [
                {
                    "$project": {
                        "Modality": 1,
                        "SOPClassesInSeries": 1,
                        "instances": "$NumberOfSeriesRelatedInstances",
                        "frames": 1,
                        "size": 1,
                    }
                }
            ],
        }
    },
]


async def derive_series(database: Database, ids: Collection[str]) -> dict[str, Document]:
    """Bring the counts of these series up to their instances.

    Returns
    -------
    dict
        By public id, the revision and what is derived at it, without those that were found
        empty and are deleted; nothing if rivals were faster.
    """
    return await _derive(database.series, ids, _SERIES_PIPELINE, _series_fields)


async def derive_studies(database: Database, ids: Collection[str]) -> dict[str, Document]:
    """Bring the counts and lists of these studies up to their series, and their words.

    Returns
    -------
    dict
        As `derive_series` does.
    """
    return await _derive(database.studies, ids, _STUDY_PIPELINE, _study_fields)


async def _derive(
    collection: "AsyncIOMotorCollection[Document]",
    ids: Collection[str],
    pipeline: list[Document],
    fields: Callable[[Document], Document],
) -> dict[str, Document]:
    for _ in range(_ATTEMPTS):
        # One pass reads a revision and only then what belongs to it: never the other way.
        cursor = collection.aggregate([{"$match": {"_id": {"$in": list(ids)}}}, *pipeline])
        derived = {
            entity["_id"]: {"revision": entity["revision"], **fields(entity)}
            async for entity in cursor
        }
        if not derived:
            break
        updates = [_update(key, found) for key, found in derived.items()]
        result = await collection.bulk_write(updates, ordered=False)
        if result.matched_count + result.deleted_count == len(updates):
            return {key: found for key, found in derived.items() if not _is_empty(found)}
    return {}


def _update(key: str, derived: Document) -> UpdateOne | DeleteOne:
    read = {"_id": key, "revision": derived["revision"]}
    return DeleteOne(read) if _is_empty(derived) else UpdateOne(read, {"$set": derived})


def _is_empty(derived: Document) -> bool:
    contained = ("NumberOfStudyRelatedSeries", "NumberOfSeriesRelatedInstances")
    return not any(derived.get(keyword) for keyword in contained)


def _series_fields(entity: Document) -> Document:
    classes: list[Document] = entity["found"]
    return {
        "NumberOfSeriesRelatedInstances": _sum(classes, "instances"),
        "SOPClassesInSeries": sorted(each["_id"] for each in classes),
        "frames": _sum(classes, "frames"),
        "size": _sum(classes, "size"),
    }


def _study_fields(entity: Document) -> Document:
    series: list[Document] = entity["found"]
    modalities = {each["Modality"] for each in series if each.get("Modality")}
    classes = {uid for each in series for uid in each.get("SOPClassesInSeries", ())}
    return {
        "ModalitiesInStudy": sorted(modalities),
        "SOPClassesInStudy": sorted(classes),
        "NumberOfStudyRelatedSeries": len(series),
        "NumberOfStudyRelatedInstances": _sum(series, "instances"),
        "frames": _sum(series, "frames"),
        "size": _sum(series, "size"),
        "words": study_words(entity),
    }


def _sum(documents: list[Document], field: str) -> int:
    return sum(document.get(field) or 0 for document in documents)
