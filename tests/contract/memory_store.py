"""The store in memory: for tests, and as a second reading of what a store has to do."""

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from hilum.core.errors import Corrupt, NotFound
from hilum.core.identifiers import parse_digest
from hilum.core.instance import Origin
from hilum.storage.disk import faults
from hilum.storage.spool import SpoolEntry


class MemoryStore:
    """A `hilum.storage.store.Store` in a dictionary. Its durability is the process's."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._origins: dict[str, Origin] = {}
        # Only `path` needs a disk.
        self._folder = Path(tempfile.mkdtemp(prefix="hilum-"))
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def put(self, entries: Sequence[SpoolEntry]) -> None:
        """See `Store.put`."""
        for entry in entries:
            blob = entry.blob
            parse_digest(blob.digest)
            if blob.digest in self._files:
                continue
            with faults("store a file"):
                data = entry.path.read_bytes()
            if hashlib.sha256(data).hexdigest() != blob.digest:
                raise Corrupt(f"the copy of {blob.digest} came out different")
            self._files[blob.digest] = data
            self._origins[blob.digest] = entry.origin

    def open(self, digest: str) -> BinaryIO:
        """See `Store.open`."""
        return BytesIO(self._get(digest))

    def read(self, digest: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        data = self._get(digest)
        return data[offset:] if length is None else data[offset : offset + length]

    def path(self, digest: str) -> Path:
        """See `Store.path`."""
        path = self._folder / digest
        path.write_bytes(self._get(digest))
        return path

    def size(self, digest: str) -> int:
        """See `Store.size`."""
        return len(self._get(digest))

    def origin(self, digest: str) -> Origin:
        """See `Store.origin`."""
        self._get(digest)
        return self._origins[digest]

    def contains(self, digest: str) -> bool:
        """See `Store.contains`."""
        return parse_digest(digest) in self._files

    def digests(self) -> Iterator[str]:
        """See `Store.digests`."""
        yield from sorted(self._files)

    def verify(self, digest: str) -> None:
        """See `Store.verify`."""
        found = hashlib.sha256(self._get(digest)).hexdigest()
        if found != digest:
            raise Corrupt(f"the stored file {digest} is damaged: its SHA-256 is {found}")

    def remove(self, digest: str) -> None:
        """See `Store.remove`."""
        self._files.pop(parse_digest(digest), None)

    def discard(
        self,
        digests: Collection[str],
        wanted: Callable[[], Collection[str]],
        keep_in: Path | None = None,
    ) -> None:
        """See `Store.discard`."""
        taken = {
            each: self._files.pop(parse_digest(each)) for each in digests if each in self._files
        }
        try:
            kept = wanted()
        except BaseException:
            self._files |= taken
            raise
        self._files |= {digest: data for digest, data in taken.items() if digest in kept}
        if keep_in is not None:
            keep_in.mkdir(parents=True, exist_ok=True)
            for digest in taken.keys() - set(kept):
                (keep_in / digest).write_bytes(taken[digest])

    def check(self) -> None:
        """See `Store.check`: memory can always be written."""

    def _get(self, digest: str) -> bytes:
        try:
            return self._files[parse_digest(digest)]
        except KeyError as error:
            raise NotFound(f"no file {digest} is stored") from error
