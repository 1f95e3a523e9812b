"""The two sides of a comparison, whatever is asked for them: a server, or a data folder."""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, Protocol, cast

from hilum.core.errors import NotFound
from hilum.holdings import OpenIndex
from hilum.moving.folder_notes import FolderNotes
from hilum.moving.notes import NoteSource
from hilum.moving.orthanc import Orthanc
from hilum.moving.server_notes import ServerNotes
from hilum.moving.threads import in_thread

_IN_MEMORY_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that a node received and could not store."""

    name: str
    """In the folder ``quarantine``."""
    reason: str


class Side(Protocol):
    """One of two that are compared."""

    @property
    def notes(self) -> NoteSource:
        """What people have noted."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many patients, studies, series and instances there are."""
        ...

    async def instances(self) -> set[str]:
        """Return the ids of all instances."""
        ...

    async def sop_instance_uid(self, instance: str) -> str | None:
        """Return the UID of an instance; None if it is not there."""
        ...

    async def md5(self, instance: str) -> str:
        """Return the MD5 of an instance's file.

        Raises
        ------
        NotFound
            It is not there.
        """
        ...

    def open(self, instance: str) -> AbstractAsyncContextManager[BinaryIO]:
        """Have an instance's file, seekable."""
        ...

    async def quarantined(self) -> dict[str, Quarantined]:
        """Return by MD5 what was received and could not be stored, as far as it can be known."""
        ...


class Server:
    """A `Side` that is an Orthanc, or a node that speaks its language.

    Parameters
    ----------
    names
        Numbers of metadata by name, if it does not tell.
    """

    def __init__(self, server: Orthanc, names: Mapping[str, int]) -> None:
        self._server = server
        self.notes: NoteSource = ServerNotes(server, names)

    async def counts(self) -> dict[str, int]:
        """See `Side.counts`."""
        return await self._server.statistics()

    async def instances(self) -> set[str]:
        """See `Side.instances`."""
        return {each async for page in self._server.ids("instances") for each in page}

    async def sop_instance_uid(self, instance: str) -> str | None:
        """See `Side.sop_instance_uid`."""
        found = await self._server.describe(instance)
        return None if found is None else found.get("MainDicomTags", {}).get("SOPInstanceUID", "")

    async def md5(self, instance: str) -> str:
        """See `Side.md5`: as the server states it, or from the bytes where it does not."""
        stated = await self._server.md5(instance)
        if stated is not None:
            return stated
        async with self.open(instance) as file:
            return await in_thread(_md5, file)

    @asynccontextmanager
    async def open(self, instance: str) -> AsyncIterator[BinaryIO]:
        """See `Side.open`: fetched first."""

        async def fetch() -> IO[bytes]:
            file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115

            async def write(piece: bytes) -> None:
                await in_thread(file.write, piece)

            try:
                await self._server.download(f"/instances/{instance}/file", write)
            except BaseException:
                file.close()
                raise
            return file

        with await self._server.patiently(fetch) as file:
            file.seek(0)
            yield cast("BinaryIO", file)

    async def quarantined(self) -> dict[str, Quarantined]:
        """See `Side.quarantined`: a server does not tell."""
        return {}


class Folder:
    """A `Side` that is a data folder and its index."""

    def __init__(self, opened: OpenIndex) -> None:
        self._opened = opened
        self.notes: NoteSource = FolderNotes(opened.database)
        # Of a million instances a quarter of a gigabyte; all else of them is asked for.
        self._digests: dict[str, bytes] = {}

    async def counts(self) -> dict[str, int]:
        """See `Side.counts`."""
        found = await self._opened.catalogue.statistics()
        return {
            "patients": found.patients,
            "studies": found.studies,
            "series": found.series,
            "instances": found.instances,
        }

    async def instances(self) -> set[str]:
        """See `Side.instances`."""
        self._digests = {
            each.instance: bytes.fromhex(each.current.digest)
            async for each in self._opened.references.all()
        }
        return set(self._digests)

    async def sop_instance_uid(self, instance: str) -> str | None:
        """See `Side.sop_instance_uid`."""
        found = (await self._opened.references.of([instance])).get(instance)
        return None if found is None else found.sop_instance_uid

    async def md5(self, instance: str) -> str:
        """See `Side.md5`."""
        async with self.open(instance) as file:
            return await in_thread(_md5, file)

    @asynccontextmanager
    async def open(self, instance: str) -> AsyncIterator[BinaryIO]:
        """See `Side.open`."""
        digest = self._digests.get(instance)
        if digest is None:
            raise NotFound(f"no instance {instance}")
        with await in_thread(self._opened.store.open, digest.hex()) as file:
            yield file

    async def quarantined(self) -> dict[str, Quarantined]:
        """See `Side.quarantined`."""

        def read() -> dict[str, Quarantined]:
            found = {}
            for each in self._opened.quarantine.entries():
                with each.path.open("rb") as file:
                    found[_md5(file)] = Quarantined(each.path.name, each.reason)
            return found

        return await in_thread(read)


def _md5(file: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
