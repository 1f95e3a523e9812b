"""The log of uploads: who sent files over HTTP, when, how much, and what came of it.

It says of an upload what an administrator asks about later, and names no patient and no
file: names of files are often patients' names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson.errors import InvalidId
from bson.objectid import ObjectId
from pymongo import ASCENDING, DESCENDING

from hilum.core.errors import Invalid
from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: The collection. Its index forgets an upload after a year (`hilum.index.schema`).
COLLECTION = "uploads"


@dataclass(frozen=True, slots=True)
class Upload:
    """One request that brought files."""

    at: datetime
    """When its answer was given."""
    kind: str
    """By which interface: ``upload``, ``stow``, ``orthanc``."""
    user: str | None
    """None where nobody is asked for a name."""
    client: str | None
    """Address it came from."""
    files: int
    size_bytes: int
    """Of what was stored."""
    seconds: float
    outcomes: Mapping[str, int]
    """How many files were ``stored``, ``already-stored``, …, or refused, by error code."""
    study_instance_uids: Sequence[str] = ()
    """Of what was stored; the first few."""
    id: str = field(default="", compare=False)
    """Newer ones have greater ids."""


class UploadLog:
    """Writes and reads the log; runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._uploads = database.raw[COLLECTION]

    async def add(self, upload: Upload) -> None:
        """Write an upload down.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            await self._uploads.insert_one(
                {
                    "at": upload.at,
                    "kind": upload.kind,
                    "user": upload.user,
                    "client": upload.client,
                    "files": upload.files,
                    "size": upload.size_bytes,
                    "seconds": upload.seconds,
                    "outcomes": dict(upload.outcomes),
                    "studies": list(upload.study_instance_uids),
                }
            )

    async def newest(self, limit: int, before: str | None = None) -> list[Upload]:
        """Return uploads, newest first.

        Parameters
        ----------
        limit
            How many at most.
        before
            Id of one: only those before it.

        Raises
        ------
        Invalid
            `before` is no id.
        IndexUnavailable
            MongoDB does not answer.
        """
        condition: dict[str, Any] = {} if before is None else {"_id": {"$lt": _object_id(before)}}
        with translated():
            cursor = self._uploads.find(condition).sort("_id", DESCENDING).limit(limit)
            return [_upload(document) for document in await cursor.to_list(limit)]

    async def after(self, upload_id: str, limit: int = 1000) -> list[Upload]:
        """Return uploads that came after one, oldest first.

        Parameters
        ----------
        upload_id
            Its id; empty: all.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        condition: dict[str, Any] = {"_id": {"$gt": _object_id(upload_id)}} if upload_id else {}
        with translated():
            cursor = self._uploads.find(condition).sort("_id", ASCENDING).limit(limit)
            return [_upload(document) for document in await cursor.to_list(limit)]


def _object_id(text: str) -> ObjectId:
    try:
        return ObjectId(text)
    except InvalidId:
        raise Invalid("not the id of an upload") from None


def _upload(document: Document) -> Upload:
    return Upload(
        at=document["at"],
        kind=document["kind"],
        user=document["user"],
        client=document["client"],
        files=document["files"],
        size_bytes=document["size"],
        seconds=document["seconds"],
        outcomes=document["outcomes"],
        study_instance_uids=document["studies"],
        id=str(document["_id"]),
    )
