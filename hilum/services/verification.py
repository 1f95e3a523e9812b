"""Verification: every stored file against its name, and store and index against each other.

It changes nothing, and may be done beside a node that receives and deletes: what looks wrong
is looked at once more at the end.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from hilum.core.errors import HilumError, NotFound
from hilum.imaging.header import read_header
from hilum.index.references import References
from hilum.storage.store import Store

#: Files that are handed to the threads at once; then it is told how far it is.
_BATCH_SIZE: Final = 256


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that the index refers to and the store does not have."""

    digest: str
    sop_instance_uid: str


@dataclass
class Verified:
    """What was found. Nothing is wrong if `faults` is 0."""

    files: int = 0
    size_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    """By digest, what is wrong with a stored file."""
    missing: list[Missing] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    """Digests of stored files that no document refers to."""

    @property
    def faults(self) -> int:
        """How many findings there are."""
        return len(self.damaged) + len(self.missing) + len(self.unindexed)


class Verification:
    """Verifies a store and its index. Lives on the loop.

    Parameters
    ----------
    threads
        How many files are read at a time.
    """

    def __init__(self, store: Store, references: References, threads: int = 4) -> None:
        self._store = store
        self._references = references
        self._threads = threads

    async def run(self, on_progress: Callable[[int, int, int], None] | None = None) -> Verified:
        """Read every stored file and every document.

        Parameters
        ----------
        on_progress
            Is called now and then, from a thread, with the number of files read, of all
            files, and the bytes read.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            MongoDB or the disk does not answer.
        """
        found = Verified()
        digests = await asyncio.to_thread(lambda: list(self._store.digests()))
        await asyncio.to_thread(self._read_all, digests, found, on_progress)
        await self._compare(digests, found)
        return found

    def _read_all(
        self,
        digests: list[str],
        found: Verified,
        on_progress: Callable[[int, int, int], None] | None,
    ) -> None:
        remaining = iter(digests)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="verify") as pool:
            while batch := list(islice(remaining, _BATCH_SIZE)):
                for digest, read in zip(batch, pool.map(self._read, batch), strict=True):
                    if isinstance(read, str):
                        found.damaged[digest] = read
                    elif read is not None:
                        found.size_bytes += read
                    found.files += read is not None
                if on_progress is not None:
                    on_progress(found.files, len(digests), found.size_bytes)

    def _read(self, digest: str) -> int | str | None:
        """Return the size of a file that is well, or what is wrong; None if it was deleted."""
        try:
            self._store.verify(digest)
            return self._store.size(digest)
        except NotFound:
            return None
        except HilumError as error:  # a sector that cannot be read, too: the others can
            return str(error)

    async def _compare(self, digests: list[str], found: Verified) -> None:
        # Half the size of their text: this is all that grows with the number of files.
        stored = set(map(bytes.fromhex, digests))
        unseen = set(stored)
        suspects: list[tuple[str, Missing]] = []
        async for reference in self._references.all():
            for digest in reference.digests:
                raw = bytes.fromhex(digest)
                unseen.discard(raw)
                if raw not in stored:
                    missing = Missing(digest, reference.sop_instance_uid)
                    suspects.append((reference.instance, missing))
        await self._look_again(suspects, found)
        for raw in sorted(unseen):
            if raw.hex() in found.damaged or not await self._is_indexed(raw.hex()):
                found.unindexed.append(raw.hex())

    async def _look_again(self, suspects: list[tuple[str, Missing]], found: Verified) -> None:
        for start in range(0, len(suspects), _BATCH_SIZE):
            batch = suspects[start : start + _BATCH_SIZE]
            known = await self._references.of({instance for instance, _ in batch})
            for instance, missing in batch:
                reference = known.get(instance)
                if reference is None or missing.digest not in reference.digests:
                    continue  # deleted since
                if not await asyncio.to_thread(self._store.contains, missing.digest):
                    found.missing.append(missing)

    async def _is_indexed(self, digest: str) -> bool:
        """Return whether a stored file was indexed, or deleted, since the index was read."""
        try:
            instance = await asyncio.to_thread(self._instance_in, digest)
        except NotFound:
            return True
        except HilumError:
            return False
        reference = (await self._references.of([instance])).get(instance)
        return reference is not None and digest in reference.digests

    def _instance_in(self, digest: str) -> str:
        with self._store.open(digest) as file:
            return read_header(file).identity.instance
