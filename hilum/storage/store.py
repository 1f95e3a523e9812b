"""The store: what every place for the bytes of instances has to do.

A file is named by the SHA-256 of its bytes. Stored bytes therefore never change, may be
cached for ever, and can be checked by anybody. ``tests/contract/test_store_contract.py``
holds each implementation to what is written here.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from hilum.core.instance import Origin
from hilum.storage.spool import SpoolEntry


class Store(Protocol):
    """Content-addressed files. Every method may be called from any thread.

    A digest is a SHA-256 in lower-case hexadecimal; whatever else is passed as one is
    `Invalid` and never gets near a path. Every method raises `StorageUnavailable` when
    the store cannot be reached, and `put` also `StorageFull`.
    """

    def put(self, entries: Sequence[SpoolEntry]) -> None:
        """Store the files of `entries` under their digests.

        Durable when it returns, all of them; after an error any of them may be stored.
        Idempotent either way: what is stored already stays, and a stored file of the
        wrong size is replaced. The entries stay in the spool.

        Raises
        ------
        Corrupt
            A file of the spool is no longer what it was when it was committed, as far
            as the store had to read it.
        """
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open a file for reading; seekable. The caller closes it.

        Raises
        ------
        NotFound
            It is not stored.
        """
        ...

    def read(self, digest: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of a file in one positioned read.

        Parameters
        ----------
        digest
            The file.
        offset
            First byte, from 0.
        length
            Number of bytes; None: up to the end. Where the file ends earlier, so does
            the answer.

        Raises
        ------
        NotFound
            It is not stored.
        """
        ...

    def path(self, digest: str) -> Path:
        """Return a path of this machine where a helper process may read the file.

        Raises
        ------
        NotFound
            It is not stored.
        """
        ...

    def size(self, digest: str) -> int:
        """Return the number of bytes of a file.

        Raises
        ------
        NotFound
            It is not stored.
        """
        ...

    def origin(self, digest: str) -> Origin:
        """Return who sent a file and when, as far as the store can tell without an index.

        Where it cannot, the source is ``unknown`` and the time about that of its arrival.

        Raises
        ------
        NotFound
            It is not stored.
        """
        ...

    def contains(self, digest: str) -> bool:
        """Return whether a file is stored."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the digest of every stored file, in ascending order.

        What is stored or removed meanwhile may or may not be among them.
        """
        ...

    def verify(self, digest: str) -> None:
        """Read a file whole and compare it with its name.

        Raises
        ------
        NotFound
            It is not stored.
        Corrupt
            Its bytes are not those that were stored.
        """
        ...

    def remove(self, digest: str) -> None:
        """Delete a file; it stays deleted when this returns. Idempotent."""
        ...

    def discard(
        self,
        digests: Collection[str],
        wanted: Callable[[], Collection[str]],
        keep_in: Path | None = None,
    ) -> None:
        """Delete files, except those that somebody wants after all. Idempotent.

        They cannot be found any more when `wanted` is asked, and those that it returns are
        back when this does. So whoever stores one of them at this moment, and looks for it
        after he has made his want known, either misses it and stores it again, or has it.

        Parameters
        ----------
        digests
            The files; such as are not stored are passed over.
        wanted
            Returns the digests that are to stay. If it raises, all of them do.
        keep_in
            A folder that the files are moved to instead of being deleted, each under its
            digest; made if missing.

        Notes
        -----
        Durable when it returns. After a crash in between files may be missing from their
        addresses that nobody has deleted: discarding the same digests again begins by
        bringing them back. With `keep_in` a file is at every moment at its address, on its
        way, or in that folder.
        """
        ...

    def check(self) -> None:
        """Raise if nothing can be stored at the moment.

        Raises
        ------
        StorageFull, StorageUnavailable
            With the reason.
        """
        ...
