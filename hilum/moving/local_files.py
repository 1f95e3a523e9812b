"""Files of this machine that may be instances: as they lie, in archives, in Orthanc's storage.

Orthanc keeps attachments as ``ab/cd/abcd….``, named by a UUID and without an extension: the
files it received, and others that it made of them. Of the latter some are JSON, and some are
the beginnings of files up to their pixel data, which look like instances and are none. With
``StorageCompression`` each is a size of 8 bytes and a zlib stream.
"""

import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from hilum.core.errors import Corrupt
from hilum.http.archive import ArchiveLimits, Entry, entries, is_archive

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEAD_BYTES: Final = 132
_SIZE_BYTES: Final = 8
_ZLIB: Final = b"\x78"
_PIECE_BYTES: Final = 1 << 20
_IN_MEMORY_BYTES: Final = 16 << 20
#: The operator's own files, and the disk is looked at as they are taken in.
_LIMITS: Final = ArchiveLimits(entries=1_000_000, table_bytes=256 << 20, unpacked_bytes=1 << 50)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file, wherever it lies."""

    name: str
    """For people: its path, and what it is called in an archive."""
    open: Callable[[], BinaryIO]
    """Opens it, seekable; raises `Invalid` or `Corrupt` if it cannot be unpacked."""
    of_orthanc: bool = False
    """It is an attachment in Orthanc's storage, and may be the beginning of another."""


def local_files(path: Path) -> Iterator[LocalFile]:
    """Yield what is in a file: itself, or the files of an archive.

    They can be opened until the next one is asked for.

    Raises
    ------
    Invalid
        It is an archive that is damaged or of no measure.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if is_archive(head):
            for entry in entries(file, _LIMITS):
                yield LocalFile(f"{path}: {entry.name}", partial(_unpacked, entry))
            return
    if not is_attachment(path):
        yield LocalFile(str(path), partial(_opened, path))
    elif head[128:] != b"DICM" and head[_SIZE_BYTES : _SIZE_BYTES + 1] == _ZLIB:
        yield LocalFile(str(path), partial(_inflated, path), of_orthanc=True)
    else:
        yield LocalFile(str(path), partial(_opened, path), of_orthanc=True)


def is_part10(name: str, head: bytes) -> bool:
    """Return whether a file begins as PS3.10 7.1 says, and is no directory of a medium."""
    return head[128:132] == b"DICM" and Path(name).name.upper() != "DICOMDIR"


def is_attachment(path: Path) -> bool:
    """Return whether a file lies where Orthanc would have put it."""
    name = path.name
    folders = path.parts[-3:-1]
    return folders == (name[:2], name[2:4]) and _UUID.fullmatch(name) is not None


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _unpacked(entry: Entry) -> BinaryIO:
    return _filled(entry.pieces())


def _inflated(path: Path) -> BinaryIO:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            size_bytes = int.from_bytes(file.read(_SIZE_BYTES), "little")
            inflater = zlib.decompressobj()
            done = 0
            rest = file.read(_PIECE_BYTES)
            try:
                while rest:
                    piece = inflater.decompress(rest, _PIECE_BYTES)
                    done += len(piece)
                    if done > size_bytes:
                        break
                    yield piece
                    rest = inflater.unconsumed_tail or file.read(_PIECE_BYTES)
            except zlib.error as error:
                raise Corrupt("its compression is damaged") from error
            if done != size_bytes or not inflater.eof:
                raise Corrupt(f"it is compressed, and not the {size_bytes} bytes it says it is")

    return _filled(pieces())


def _filled(pieces: Iterator[bytes]) -> BinaryIO:
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller's
    try:
        for piece in pieces:
            file.write(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return cast("BinaryIO", file)
