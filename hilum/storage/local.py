"""The store on a local file system: ``objects/ab/cd/abcd…``, read-only files.

A file gets its address as a second name (a hard link) of the file in the spool: nothing
is copied. ``docs/storage-format.md`` is the written format.
"""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import Corrupt, Invalid, NotFound
from hilum.core.identifiers import parse_digest
from hilum.core.instance import Blob, Origin
from hilum.storage.disk import as_domain_error, faults, probe
from hilum.storage.durable import link_or_copy, make_folder, sync_file_system, sync_folder
from hilum.storage.mark import Mark, origin_unknown
from hilum.storage.spool import SpoolEntry

_PARTS: Final = ".parts"
_DISCARDED: Final = ".discarded"
# No copy takes this long: an older part is of a process that died.
_STALE_SECONDS: Final = 24 * 60 * 60
# Digests scatter: a hundred files lie in nearly two hundred folders, and each folder's sync
# is at least one flush of the disk. Measured on ext4 with 100 files: 150 to 350 ms for the
# folders one by one, 2 to 14 ms for the file system as a whole.
_FOLDERS_SYNCED_SINGLY: Final = 4


class LocalStore:
    """A `hilum.storage.store.Store` in a folder.

    Any number of processes may work on the same folder.

    Parameters
    ----------
    root
        The folder ``objects``; made if missing.

    Raises
    ------
    StorageUnavailable
        The folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # Folders whose own names this process knows to last.
        self._lasting: set[str] = set()
        with faults(f"open the store {root}"):
            make_folder(root / _PARTS)
            make_folder(root / _DISCARDED)
            self._drop_stale_parts()

    def put(self, entries: Sequence[SpoolEntry]) -> None:
        """See `Store.put`. Everything is linked first, then synced at once."""
        root = str(self._root)
        with faults("store a file"):
            folders: set[str] = set()
            for entry in entries:
                digest = parse_digest(entry.blob.digest)
                upper = f"{root}/{digest[:2]}"
                folder = f"{upper}/{digest[2:4]}"
                self._place(entry, upper, folder)
                folders.add(folder)
                if folder not in self._lasting:
                    # Another process may have made it and not have come to the sync.
                    folders.update((upper, root))
            self._sync(folders)
            self._lasting |= folders

    def _sync(self, folders: set[str]) -> None:
        if len(folders) > _FOLDERS_SYNCED_SINGLY:
            sync_file_system(self._root)
            return
        for folder in sorted(folders, reverse=True):
            sync_folder(Path(folder))

    def _place(self, entry: SpoolEntry, upper: str, folder: str) -> None:
        """Give the file of `entry` its address in `folder`, which is in `upper`."""
        digest = entry.blob.digest
        try:
            os.link(entry.path, f"{folder}/{digest}")
        except FileNotFoundError:  # the folder is: sooner tried than asked for each file
            self._make_folders(upper, folder)
        except OSError:
            pass  # whatever it is, the careful way below meets it again
        else:
            return
        address = Path(folder, digest)
        # An address that is taken must hold the file: one torn elsewhere, by a copy or a
        # restored backup, would otherwise pass for stored.
        if _size_or_none(address) == entry.blob.size_bytes:
            return
        part = self._root / _PARTS / secrets.token_hex(8)
        link_or_copy(entry.path, address, part, entry.blob)

    def _make_folders(self, *folders: str) -> None:
        for folder in folders:
            with suppress(FileExistsError):
                Path(folder).mkdir()
                self._lasting.discard(folder)

    def open(self, digest: str) -> BinaryIO:
        """See `Store.open`."""
        with self._reading(digest) as address:
            return address.open("rb", buffering=0)  # nobody reads it a few bytes at a time

    def read(self, digest: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        with self._reading(digest) as address, address.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            available = max(0, os.fstat(descriptor).st_size - offset)
            return _pread(
                descriptor, offset, available if length is None else min(length, available)
            )

    def path(self, digest: str) -> Path:
        """See `Store.path`."""
        with self._reading(digest) as address:
            address.stat()
            return address

    def size(self, digest: str) -> int:
        """See `Store.size`."""
        with self._reading(digest) as address:
            return address.stat().st_size

    def origin(self, digest: str) -> Origin:
        """See `Store.origin`: the mark it was committed with, else its time of modification."""
        with self._reading(digest) as address:
            mark = Mark.of(address)
            # That of another file is on a file that was written over.
            if mark is not None and mark.blob.digest == digest:
                return mark.origin
            return origin_unknown(address.stat())

    def contains(self, digest: str) -> bool:
        """See `Store.contains`."""
        with faults("look into the store"):
            return _size_or_none(self._address(digest)) is not None

    def digests(self) -> Iterator[str]:
        """See `Store.digests`. Files that are no objects are passed over."""
        with faults("list the store"):
            for first in _names(self._root):
                for second in _names(self._root / first):
                    for name in _names(self._root / first / second):
                        if _is_digest(name) and name.startswith(first + second):
                            yield name

    def verify(self, digest: str) -> None:
        """See `Store.verify`."""
        with self._reading(digest) as address, address.open("rb", buffering=0) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise Corrupt(f"the stored file {digest} is damaged: its SHA-256 is {found}")

    def remove(self, digest: str) -> None:
        """See `Store.remove`."""
        address = self._address(digest)
        with faults("remove a stored file"):
            address.unlink(missing_ok=True)
            if address.parent.is_dir():
                sync_folder(address.parent)

    def discard(
        self,
        digests: Collection[str],
        wanted: Callable[[], Collection[str]],
        keep_in: Path | None = None,
    ) -> None:
        """See `Store.discard`. Files on their way out lie in ``.discarded``."""
        outlets = {digest: self._address(digest) for digest in digests}
        with faults("remove stored files"):
            if keep_in is not None:
                make_folder(keep_in)
            self._bring_back(outlets)
            taken = dict(self._take_out(outlets))
        try:
            kept = wanted()
        except BaseException:
            with faults("bring stored files back"):
                self._bring_back(outlets)
            raise
        with faults("remove stored files"):
            for digest, place in taken.items():
                if digest in kept:
                    _put_back(place, outlets[digest])
                elif keep_in is not None:
                    _move(place, keep_in / digest)
                else:
                    place.unlink(missing_ok=True)
            if keep_in is not None:
                sync_folder(keep_in)
            folders = {str(outlets[digest].parent) for digest in taken}
            self._sync({str(self._root / _DISCARDED), *folders} if taken else set())

    def _take_out(self, addresses: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
        # The names are new ones: two who discard a file at once must not delete each other's.
        token = secrets.token_hex(8)
        for digest, address in addresses.items():
            place = self._root / _DISCARDED / f"{digest}.{token}"
            with suppress(FileNotFoundError):
                address.rename(place)
                yield digest, place

    def _bring_back(self, addresses: Mapping[str, Path]) -> None:
        """Give files their addresses that are on their way out, as of somebody who died."""
        for name in _names(self._root / _DISCARDED):
            if (address := addresses.get(name.partition(".")[0])) is not None:
                _put_back(self._root / _DISCARDED / name, address)

    def check(self) -> None:
        """See `Store.check`."""
        probe(self._root)

    def _address(self, digest: str) -> Path:
        parse_digest(digest)
        return self._root / digest[:2] / digest[2:4] / digest

    @contextmanager
    def _reading(self, digest: str) -> Iterator[Path]:
        """Yield the address of `digest`; that nothing is there means `NotFound`."""
        address = self._address(digest)
        try:
            yield address
        except FileNotFoundError as error:
            raise NotFound(f"no file {digest} is stored") from error
        except OSError as error:
            raise as_domain_error(error, "read a stored file") from error

    def _drop_stale_parts(self) -> None:
        oldest = time.time() - _STALE_SECONDS
        for name in _names(self._root / _PARTS):
            part = self._root / _PARTS / name
            with suppress(FileNotFoundError):  # it was just given its address
                if part.stat().st_mtime < oldest:
                    part.unlink()


def _put_back(place: Path, address: Path) -> None:
    address.parent.mkdir(parents=True, exist_ok=True)
    # It is not there: somebody else did, or has deleted it, as he had it taken out too.
    with suppress(FileNotFoundError):
        place.rename(address)
    # A second name of the file that is at the address by now is left where it was.
    place.unlink(missing_ok=True)


def _move(place: Path, target: Path) -> None:
    """Give a file another name; whole under one of the two at every moment.

    Within a file system that is one step. To another one it is copied, and the copy's name
    made to last before the file goes.
    """
    try:
        place.rename(target)
    except FileNotFoundError:
        if not place.exists():
            return  # somebody else brought it back, and will see to it
        # Nothing was in the folder, and it was removed.
        make_folder(target.parent)
        place.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        blob = Blob(target.name, place.stat().st_size)
        link_or_copy(place, target, target.with_suffix(".part"), blob)
        sync_folder(target.parent)
    # What has the name already is the same file: then a rename leaves both.
    place.unlink(missing_ok=True)


def _size_or_none(address: Path) -> int | None:
    try:
        return address.stat().st_size
    except FileNotFoundError:
        return None


def _names(folder: Path) -> list[str]:
    """Return what is in `folder` in order: nothing if it is no folder."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_digest(name: str) -> bool:
    try:
        parse_digest(name)
    except Invalid:
        return False
    return True


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`: one system call reads no more than 2 GiB."""
    data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    while data and (length := length - len(data)):
        offset += len(data)
        data = os.pread(descriptor, length, offset)
        pieces.append(data)
    return b"".join(pieces)
