"""Indexes, the `frames` view, and the version of it all.

Nothing here changes a document by itself: a change of the documents' form raises
`VERSION` and adds a step to `_MIGRATIONS`.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.errors import DuplicateKeyError, OperationFailure

from hilum.core.errors import Invalid
from hilum.index.words import WORD_SOURCES, study_words

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

_Database: TypeAlias = "AsyncIOMotorDatabase[dict[str, Any]]"

#: Version of the documents' form that this code reads and writes.
VERSION: Final = 3

#: Version of MongoDB that joins by field and pipeline at once (`index.derive`).
_OLDEST_MONGODB: Final = (5, 0)
_MIGRATED_AT_ONCE: Final = 1000
_INDEX_NOT_FOUND: Final = 27
_NAMESPACE_EXISTS: Final = 48
_DAY_SECONDS: Final = 24 * 3600
_YEAR_SECONDS: Final = 366 * 24 * 60 * 60


def _index(name: str, *fields: str, only: dict[str, Any] | None = None) -> IndexModel:
    """Return an ascending index over `fields`; a leading hyphen makes one descending.

    Parameters
    ----------
    only
        Of documents like that.
    """
    keys = [
        (field.lstrip("-"), DESCENDING if field.startswith("-") else ASCENDING) for field in fields
    ]
    return IndexModel(keys, name=name, **({"partialFilterExpression": only} if only else {}))


# Of the few that have changed lately: what is stable costs nothing.
_UNSTABLE: Final = _index("unstable", "changed_at", only={"stable": False})


def _aged(field: str, seconds: int) -> IndexModel:
    """Return an index that has documents go so long after the time in `field`."""
    return IndexModel([(field, ASCENDING)], name="age", expireAfterSeconds=seconds)


INDEXES: Final[dict[str, list[IndexModel]]] = {
    "studies": [
        _index("uid", "StudyInstanceUID"),
        _index("newest", "-StudyDate", "-StudyTime", "_id"),
        _index("patient_newest", "PatientID", "-StudyDate", "-StudyTime", "_id"),
        _index("name_newest", "search.PatientName", "-StudyDate", "-StudyTime", "_id"),
        # With the beginning of a name, as people ask for patients.
        _index("public_patient", "patient"),
        _index("birth_date", "search.PatientBirthDate"),
        _index("accession_number", "search.AccessionNumber"),
        _index("modality", "ModalitiesInStudy", "-StudyDate", "-StudyTime", "_id"),
        _index("words", "words"),
        _index("received", "received_at", "_id"),
        _UNSTABLE,
    ],
    "series": [
        _index("uid", "SeriesInstanceUID"),
        _index("study", "study", "order"),
        _UNSTABLE,
    ],
    "instances": [
        _index("uid", "SOPInstanceUID"),
        # In order, and with all that the counts of a series are made of: they are derived
        # for every batch and must not fetch the documents.
        _index("series", "series", "order", "SOPClassUID", "frames", "blob.size"),
        _index("study_uid", "StudyInstanceUID", "SeriesInstanceUID"),
    ],
    "uploads": [_aged("at", _YEAR_SECONDS)],
    "outbox": [
        _index("last", "last", only={"last": {"$exists": True}}),
        _index("waiting", "added", only={"waiting": True}),
        _index("added", "added"),
    ],
    "deliveries": [
        # Of a lane, in order.
        _index("lane", "subscription", "state", "study", "sequence"),
        # As they are counted and shown.
        _index("state", "subscription", "state", "sequence"),
        IndexModel([("expires_at", ASCENDING)], name="expires", expireAfterSeconds=0, sparse=True),
    ],
    "lanes": [_index("due", "subscription", "due_at")],
    "attachments.files": [_index("resource", "metadata.resource", "metadata.number")],
    "queries": [_aged("created_at", _DAY_SECONDS)],
    "answers": [_index("query", "query", "number"), _aged("created_at", _DAY_SECONDS)],
    # Those that are over; of others the time is null.
    "jobs": [
        _aged("completed_at", _DAY_SECONDS),
        _index("next", "state", "-priority", "created_at"),
    ],
    # Notes of deletions, those that can be undone among them.
    "deletions": [_index("trash", "trash")],
    "trash": [_index("oldest", "state", "deleted_at")],
}

#: Names of indexes that earlier versions made and no query needs any more.
_RETIRED: Final[dict[str, tuple[str, ...]]] = {
    "studies": ("patient", "patient_id", "patient_name", "study_date")
}

#: One record a frame, in the field names that existing back ends read.
FRAMES_PIPELINE: Final[list[dict[str, Any]]] = [
    {
        "$project": {
            "_id": 0,
            "studyInstanceUID": "$StudyInstanceUID",
            "seriesInstanceUID": "$SeriesInstanceUID",
            "sopInstanceUID": "$SOPInstanceUID",
            "frameIndex": {"$range": [0, "$frames"]},
            "seriesNumber": "$SeriesNumber",
            "instanceNumber": "$InstanceNumber",
            "modality": "$Modality",
            "patientID": "$PatientID",
            "patientName": "$PatientName",
            "rows": "$Rows",
            "columns": "$Columns",
            "windowCenter": "$WindowCenter",
            "windowWidth": "$WindowWidth",
            "orthancInstanceId": "$_id",
            "orthancSeriesId": "$series",
            "orthancStudyId": "$study",
            "orthancPatientId": "$patient",
        }
    },
    {"$unwind": "$frameIndex"},
    {"$set": {"frameNumber": {"$add": ["$frameIndex", 1]}}},
]


async def _add_words(database: _Database) -> None:
    """Version 2: studies are searched by their words."""
    studies = database["studies"]
    updates: list[UpdateOne] = []
    async for document in studies.find({}, WORD_SOURCES):
        words = study_words(document)
        updates.append(UpdateOne({"_id": document["_id"]}, {"$set": {"words": words}}))
        if len(updates) == _MIGRATED_AT_ONCE:
            await studies.bulk_write(updates, ordered=False)
            updates = []
    if updates:
        await studies.bulk_write(updates, ordered=False)


async def _add_stability(database: _Database) -> None:
    """Version 3: what nothing new has come of is stable; that of old is."""
    for collection in ("studies", "series"):
        await database[collection].update_many(
            {"stable": {"$exists": False}},
            [{"$set": {"stable": True, "stable_at": "$updated_at", "changed_at": "$updated_at"}}],
        )


#: From each older version to the next one.
_MIGRATIONS: Final[dict[int, Callable[[_Database], Awaitable[None]]]] = {
    1: _add_words,
    2: _add_stability,
}


async def ensure(database: _Database) -> None:
    """Bring `database` to `VERSION`. Idempotent, and safe for several nodes at once.

    Raises
    ------
    Invalid
        The database has a version newer than this code knows, or MongoDB is too old.
    """
    build = await database.command("buildInfo")
    if tuple(build["versionArray"][:2]) < _OLDEST_MONGODB:
        raise Invalid(f"MongoDB {build['version']} is too old: 5.0 or later is needed")
    version = await _version(database)
    if version > VERSION:
        raise Invalid(
            f"the index has schema version {version}, and this Hilum knows {VERSION}: "
            "start the version that wrote it, or a newer one"
        )
    for older in range(version, VERSION):
        await _MIGRATIONS[older](database)
        await database["meta"].update_one(
            {"_id": "schema", "version": older}, {"$set": {"version": older + 1}}
        )
    for collection, indexes in INDEXES.items():
        await database[collection].create_indexes(indexes)
    for collection, names in _RETIRED.items():
        found = await database[collection].index_information()
        for name in found.keys() & names:
            await _drop_index(database, collection, name)
    await _ensure_view(database)


async def _drop_index(database: _Database, collection: str, name: str) -> None:
    try:
        await database[collection].drop_index(name)
    except OperationFailure as error:
        # Not there: another node starts at the same moment and was first.
        if error.code != _INDEX_NOT_FOUND:
            raise


async def _version(database: _Database) -> int:
    # A duplicate: another node starts at the same moment and was first.
    with suppress(DuplicateKeyError):
        await database["meta"].update_one(
            {"_id": "schema"}, {"$setOnInsert": {"version": VERSION}}, upsert=True
        )
    document = await database["meta"].find_one({"_id": "schema"})
    return int(document["version"]) if document else VERSION


async def _ensure_view(database: _Database) -> None:
    try:
        await database.create_collection(
            "frames", viewOn="instances", pipeline=FRAMES_PIPELINE, check_exists=False
        )
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
        # It is there, perhaps as an older version defined it.
        await database.command("collMod", "frames", viewOn="instances", pipeline=FRAMES_PIPELINE)
