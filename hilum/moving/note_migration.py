"""The migration of notes: what people have noted of resources of an Orthanc, into a node.

What is there already is not copied again. What was copied before and has changed since in
Orthanc is replaced; what somebody has noted in the node itself never is.
"""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Final

from hilum.core.errors import Conflict, Invalid, NotFound
from hilum.core.levels import Level
from hilum.http.orthanc.resources import PLURALS
from hilum.moving.each import for_each
from hilum.moving.notes import Notes, NoteTarget, no_number
from hilum.moving.orthanc import Orthanc, ServerFault
from hilum.moving.server_notes import ServerNotes
from hilum.moving.threads import in_thread

_IN_MEMORY_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 20


class NoteMigration:
    """Copies notes from one server to one node.

    Parameters
    ----------
    names
        Numbers of metadata by name, if Orthanc does not tell.
    jobs
        How many resources are looked at at a time.
    """

    def __init__(
        self, source: Orthanc, target: NoteTarget, names: dict[str, int], jobs: int
    ) -> None:
        self._source = source
        self._notes = ServerNotes(source, names)
        self._target = target
        self._jobs = jobs
        self.copied = 0
        self.failures: dict[str, str] = {}

    async def copy_all(self) -> None:
        """Copy the notes of all resources.

        Raises
        ------
        Temporary
            Orthanc or the node does not answer any more. What was copied is kept.
        """
        for level in Level:
            async for page in self._notes.resources(level):
                await self.copy((level, each) for each in page)

    async def copy_labelled(self) -> None:
        """Copy the notes of what has labels, which no log tells of.

        Raises
        ------
        Temporary
            See `copy_all`.
        """
        for level in Level:
            await self.copy((level, each) for each in await self._notes.labelled(level))

    async def copy(self, resources: Iterable[tuple[Level, str]]) -> None:
        """Copy the notes of some resources.

        Raises
        ------
        Temporary
            See `copy_all`.
        """
        await for_each(resources, self._jobs, self._copy)

    async def _copy(self, resource: tuple[Level, str]) -> None:
        level, public_id = resource
        there = await self._notes.of(level, public_id)
        if not there:
            return
        path = f"/{PLURALS[level]}/{public_id}"
        here = await self._target.of(level, public_id)
        if here is None:
            self.failures[path] = "it has notes in Orthanc, and is not here"
            return
        faults = [no_number(name) for name in sorted(there.unnumbered)]
        for copying in self._missing(level, public_id, here, there):
            try:
                await copying
                self.copied += 1
            except (Conflict, Invalid, NotFound, ServerFault) as error:
                faults.append(str(error))
        self.failures.pop(path, None)
        if faults:
            self.failures[path] = "; ".join(faults)

    def _missing(
        self, level: Level, public_id: str, here: Notes, there: Notes
    ) -> Iterable[Awaitable[None]]:
        """Yield what is to be done, not begun yet."""
        target = self._target
        for number, value in there.metadata.items():
            if here.metadata.get(number) != value:
                yield target.note(level, public_id, number, value)
        for number, md5 in there.attachments.items():
            if here.attachments.get(number) != md5:
                yield self._attach(level, public_id, number, md5)
        for label in there.labels - here.labels:
            yield target.label(level, public_id, label)
        if there.protected and not here.protected:
            yield target.protect(public_id)

    async def _attach(self, level: Level, public_id: str, number: int, md5: str) -> None:
        path = f"/{PLURALS[level]}/{public_id}/attachments/{number}/data"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:

            async def write(piece: bytes) -> None:
                await in_thread(file.write, piece)

            async def fetch() -> int:
                await in_thread(file.seek, 0)
                await in_thread(file.truncate)
                received = await self._source.download(path, write)
                if received.md5 != md5:
                    raise ServerFault(f"MD5 of what came is {received.md5}, Orthanc has {md5}")
                return received.size_bytes

            async def pieces() -> AsyncIterator[bytes]:
                await in_thread(file.seek, 0)
                while piece := await in_thread(file.read, _PIECE_BYTES):
                    yield piece

            size = await self._source.patiently(fetch)
            await self._target.attach(level, public_id, number, pieces, size)
