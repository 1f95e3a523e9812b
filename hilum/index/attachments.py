"""Files that clients attach to resources: reports, thumbnails, what software has found.

By public id, as labels and metadata are (`hilum.index.attached`), in GridFS: MongoDB keeps
them in pieces, and one can be seen when all of it is there. A study that is sent again or
restored has them still.
"""

import hashlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorGridFSBucket

from hilum.core.errors import Conflict
from hilum.index.database import Database, Document
from hilum.index.faults import translated

#: The collections are ``attachments.files`` and ``attachments.chunks``.
_BUCKET: Final = "attachments"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file, and what is known of it without reading it."""

    id: str
    number: int
    size_bytes: int
    md5: str
    revision: int
    """How often it has been replaced."""
    copied: bool
    """It is another archive's, and nobody has put one in its place."""


class Attachments:
    """Reads and writes; runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._files = database.raw[f"{_BUCKET}.files"]
        self._bucket: Any = AsyncIOMotorGridFSBucket(database.raw, _BUCKET)

    async def of(self, public_id: str) -> dict[int, Attachment]:
        """Return the attachments of a resource by number, in order."""
        return (await self.of_all([public_id])).get(public_id, {})

    async def of_all(self, public_ids: Collection[str]) -> dict[str, dict[int, Attachment]]:
        """Return the attachments of those resources that have any, by number, in order."""
        with translated():
            # The newest of each number comes last, should an older one still be there.
            cursor = self._files.find({"metadata.resource": {"$in": list(public_ids)}})
            documents = await cursor.sort([("metadata.number", 1), ("uploadDate", 1)]).to_list(None)
        found: dict[str, dict[int, Attachment]] = {}
        for document in documents:
            described = document["metadata"]
            found.setdefault(described["resource"], {})[described["number"]] = _attachment(document)
        return found

    async def all(self) -> AsyncIterator[str]:
        """Yield the public ids of what has attachments, each once for each of them."""
        with translated():
            async for document in self._files.find({}, {"metadata.resource": 1}):
                yield document["metadata"]["resource"]

    async def put(
        self,
        public_id: str,
        number: int,
        pieces: AsyncIterator[bytes],
        *,
        copied: bool = False,
    ) -> Attachment:
        """Attach a file under a number, in place of the one that was there.

        Parameters
        ----------
        copied
            It is another archive's: then only one that was copied before gives way to it.

        Raises
        ------
        Conflict
            It does not.
        """
        former = (await self.of(public_id)).get(number)
        if copied and former is not None and not former.copied:
            raise Conflict(f"something else is attached here under {number}")
        digest = hashlib.md5(usedforsecurity=False)
        with translated():
            stream = self._bucket.open_upload_stream(f"{public_id}/{number}")
            try:
                async for piece in pieces:
                    digest.update(piece)
                    await stream.write(piece)
            except BaseException:
                await stream.abort()
                raise
            revision = 0 if former is None else former.revision + 1
            described = {
                "resource": public_id,
                "number": number,
                "md5": digest.hexdigest(),
                "revision": revision,
                "copied": copied,
            }
            await stream.set("metadata", described)
            await stream.close()
            written = await self._files.find_one({"_id": stream._id})
            if former is not None:
                await self._bucket.delete(ObjectId(former.id))
        assert written is not None
        return _attachment(written)

    async def pieces(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """Yield the bytes of an attachment."""
        with translated():
            stream = await self._bucket.open_download_stream(ObjectId(attachment.id))
            while piece := await stream.readchunk():
                yield bytes(piece)

    async def remove(self, attachment: Attachment) -> None:
        """Take an attachment away."""
        with translated():
            await self._bucket.delete(ObjectId(attachment.id))


def _attachment(document: Document) -> Attachment:
    described = document["metadata"]
    return Attachment(
        id=str(document["_id"]),
        number=described["number"],
        size_bytes=document["length"],
        md5=described["md5"],
        revision=described["revision"],
        copied=described.get("copied", False),
    )
