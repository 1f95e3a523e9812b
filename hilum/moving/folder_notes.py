"""The notes of a data folder: they are in its database."""

from collections.abc import AsyncIterator, Collection
from typing import Final

from hilum.core.errors import NotFound
from hilum.core.levels import Level
from hilum.index.attached import Attached
from hilum.index.attachments import Attachments
from hilum.index.database import Database
from hilum.index.protections import Protections
from hilum.index.resources import Resources
from hilum.moving.notes import Notes
from hilum.moving.orthanc import Pieces

_PAGE: Final = 1000


class FolderNotes:
    """A `NoteTarget`."""

    def __init__(self, database: Database) -> None:
        self._attached = Attached(database)
        self._attachments = Attachments(database)
        self._protections = Protections(database)
        self._resources = Resources(database)

    async def resources(self, level: Level) -> AsyncIterator[list[str]]:
        """See `NoteSource.resources`. Of those that have attachments, all levels."""
        found = {each async for each in self._attached.all(level)}
        found.update([each async for each in self._attachments.all()])
        found |= (await self._protections.all()).get(level, set())
        ids = sorted(found)
        for start in range(0, len(ids), _PAGE):
            yield await self._at(level, ids[start : start + _PAGE])

    async def of(self, level: Level, public_id: str) -> Notes | None:
        """See `NoteSource.of`."""
        if not await self._at(level, [public_id]):
            return None
        metadata = (await self._attached.metadata([public_id])).get(public_id, {})
        labels = (await self._attached.labels([public_id])).get(public_id, [])
        attachments = await self._attachments.of(public_id)
        protected = level is Level.PATIENT and bool(await self._protections.among([public_id]))
        return Notes(
            {number: entry.value for number, entry in metadata.items()},
            {number: each.md5 for number, each in attachments.items()},
            frozenset(labels),
            protected,
        )

    async def note(self, level: Level, public_id: str, number: int, value: bytes) -> None:
        """See `NoteTarget.note`."""
        await self._require(level, public_id)
        await self._attached.copy_metadata(level, public_id, number, value)

    async def attach(
        self,
        level: Level,
        public_id: str,
        number: int,
        pieces: Pieces,
        size_bytes: int,  # noqa: ARG002 - GridFS counts
    ) -> None:
        """See `NoteTarget.attach`."""
        await self._require(level, public_id)
        await self._attachments.put(public_id, number, pieces(), copied=True)

    async def label(self, level: Level, public_id: str, label: str) -> None:
        """See `NoteTarget.label`."""
        await self._require(level, public_id)
        await self._attached.add_label(level, public_id, label)

    async def protect(self, public_id: str) -> None:
        """See `NoteTarget.protect`."""
        await self._require(Level.PATIENT, public_id)
        await self._protections.put(Level.PATIENT, public_id)

    async def _require(self, level: Level, public_id: str) -> None:
        if not await self._at(level, [public_id]):
            raise NotFound(f"no {level.value.lower()} {public_id}")

    async def _at(self, level: Level, ids: Collection[str]) -> list[str]:
        """Return those of the resources that are there, and of this level."""
        return [each.id for each in await self._resources.some(level, list(ids))]
