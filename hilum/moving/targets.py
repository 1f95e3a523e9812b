"""Where files go that move in: into a data folder, or through the door of a running node."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

from hilum.core.errors import HilumError, Invalid, NotFound, Temporary
from hilum.core.instance import MIGRATION, Origin
from hilum.holdings import Core
from hilum.moving.folder_notes import FolderNotes
from hilum.moving.notes import NoteTarget
from hilum.moving.orthanc import Orthanc, ServerFault
from hilum.moving.server_notes import ServerNotes
from hilum.moving.threads import in_thread
from hilum.services.ingest import Receipt
from hilum.storage.spool import SpoolWriter

_INDEX_SECONDS: Final = 300.0
#: Of a file that waits for its digest to be compared before it is sent on; larger ones go to disk.
_IN_MEMORY_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 20


class Reception(Protocol):
    """One file on its way in. Ended by `accept` or `drop`, of which the latter may follow."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    async def accept(self, instance: str, md5: str) -> None:
        """Have the node keep the file.

        Parameters
        ----------
        instance
            The id that it has where it comes from.
        md5
            Of what was written.

        Raises
        ------
        Invalid
            The node does not take it, or gives it another id.
        """
        ...

    async def drop(self) -> None:
        """Forget what was written; nothing happens after `accept`."""
        ...


class Target(Protocol):
    """A node that instances move to."""

    @property
    def notes(self) -> NoteTarget:
        """Where what people have noted moves to."""
        ...

    async def present(self, instances: Collection[str]) -> set[str]:
        """Return which of these ids the node has, with their bytes."""
        ...

    async def begin(self) -> Reception:
        """Begin to take a file in."""
        ...

    async def settle(self) -> dict[str, str]:
        """Wait until what was accepted can be found, and look at its bytes once more.

        Returns
        -------
        dict
            By id, what went wrong with an instance that had been accepted.
        """
        ...


class DataFolder:
    """A data folder that no node uses, opened."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._receipts: dict[str, Receipt] = {}
        self.notes: NoteTarget = FolderNotes(core.database)

    async def present(self, instances: Collection[str]) -> set[str]:
        """See `Target.present`."""
        known = await self._core.references.of(instances)

        def stored() -> set[str]:
            store = self._core.store
            return {key for key, each in known.items() if store.contains(each.current.digest)}

        return await in_thread(stored)

    async def begin(self) -> "_Spooling":
        """See `Target.begin`."""
        writer = await in_thread(self._core.ingest.begin, Origin(MIGRATION, datetime.now(UTC)))
        return _Spooling(self._core, writer, self._receipts)

    async def settle(self) -> dict[str, str]:
        """See `Target.settle`."""
        receipts, self._receipts = self._receipts, {}
        return await in_thread(self._settle, receipts)

    def _settle(self, receipts: dict[str, Receipt]) -> dict[str, str]:
        if not self._core.ingest.wait_visible(receipts.values(), _INDEX_SECONDS):
            raise Temporary("the index does not follow; start again to go on")
        faults = {}
        for instance, receipt in receipts.items():
            try:
                receipt.outcome.result()
                # Not if it is there by the same data set behind other file meta information.
                with suppress(NotFound):
                    self._core.store.verify(receipt.blob.digest)
            except HilumError as error:
                faults[instance] = str(error)
        return faults


class _Spooling:
    """A `Reception` in the spool of a data folder."""

    def __init__(self, core: Core, writer: SpoolWriter, receipts: dict[str, Receipt]) -> None:
        self._core = core
        self._writer = writer
        self._receipts = receipts

    async def write(self, data: bytes) -> None:
        """See `Reception.write`."""
        await in_thread(self._writer.write, data)

    async def accept(self, instance: str, md5: str) -> None:  # noqa: ARG002 - compared before
        """See `Reception.accept`. What cannot be stored is in quarantine, once."""
        receipt = await in_thread(self._accept)
        self._receipts[instance] = receipt
        _require_id(instance, receipt.header.identity.instance)

    def _accept(self) -> Receipt:
        for each in self._core.quarantine.entries():
            if each.blob.digest == self._writer.digest:
                raise Invalid(f"{each.reason} (in quarantine: {each.path.name})")
        return self._core.ingest.accept(self._writer)

    async def drop(self) -> None:
        """See `Reception.drop`."""
        await in_thread(self._writer.abort)


class RunningNode:
    """A node that serves, asked as a client of Orthanc asks."""

    def __init__(self, node: Orthanc, names: Mapping[str, int]) -> None:
        self._node = node
        self.notes: NoteTarget = ServerNotes(node, names)
        self._instances: set[str] | None = None

    async def present(self, instances: Collection[str]) -> set[str]:
        """See `Target.present`. All ids are listed once, which is cheaper than to ask for each."""
        if self._instances is None:
            self._instances = {each async for page in self._node.ids("instances") for each in page}
        return self._instances.intersection(instances)

    async def begin(self) -> "_Posting":
        """See `Target.begin`."""
        return _Posting(self._node, self._taken)

    async def settle(self) -> dict[str, str]:
        """See `Target.settle`: a node answers when that is so."""
        return {}

    def _taken(self, instance: str) -> None:
        if self._instances is not None:
            self._instances.add(instance)


class _Posting:
    """A `Reception` that is posted when it is whole, and its digest known to be right."""

    def __init__(self, node: Orthanc, on_taken: Callable[[str], None]) -> None:
        self._node = node
        self._on_taken = on_taken
        self._size_bytes = 0
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115

    async def write(self, data: bytes) -> None:
        """See `Reception.write`."""
        self._size_bytes += len(data)
        await in_thread(self._file.write, data)

    async def accept(self, instance: str, md5: str) -> None:
        """See `Reception.accept`."""
        try:
            given = await self._node.upload(self._pieces, self._size_bytes)
        except ServerFault as error:  # full, most often: of no use to go on with the next one
            raise Temporary(f"{error}; start again to go on") from error
        self._on_taken(given)
        _require_id(instance, given)
        kept = await md5_of(self._node, instance)
        if kept != md5:
            raise Invalid("the node has other bytes under this id")

    async def _pieces(self) -> AsyncIterator[bytes]:
        await in_thread(self._file.seek, 0)
        while piece := await in_thread(self._file.read, _CHUNK_BYTES):
            yield piece

    async def drop(self) -> None:
        """See `Reception.drop`."""
        self._file.close()


async def md5_of(server: Orthanc, instance: str) -> str:
    """Return the MD5 of an instance's file: as the server states it, or from its bytes.

    Raises
    ------
    NotFound
        The server does not have it.
    """
    stated = await server.md5(instance)
    if stated is not None:
        return stated

    async def ignore(_piece: bytes) -> None:
        await asyncio.sleep(0)

    return (
        await server.patiently(lambda: server.download(f"/instances/{instance}/file", ignore))
    ).md5


def _require_id(instance: str, given: str) -> None:
    if given != instance:
        raise Invalid(f"stored, and has another id here: {given}")
