"""ZIP archives as uploads bring them: a folder or a CD, packed by whoever was at hand.

Entries are unpacked one at a time, in pieces. What an archive may make of itself is
bounded before anything is unpacked: `zipfile` never yields more of an entry than the
table of contents says, so the table is where a bomb shows.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from hilum.core.errors import Invalid, Unsupported

_PIECE_BYTES: Final = 1 << 20
_LOCAL_HEADER: Final = b"PK\x03\x04"
_EMPTY_ARCHIVE: Final = b"PK\x05\x06"
_ENCRYPTED: Final = 0x1
# LZMA and bzip2 let an entry choose how much memory reading it takes.
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What `zipfile` raises over archives with flipped bytes, by trial.
_DAMAGES: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
    struct.error,
)
#: What operating systems leave in folders, and the directory of a CD (PS3.10 8.6), which
#: lists instances and is none.
_JUNK_NAMES: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})
_JUNK_FOLDER: Final = "__MACOSX"
_JUNK_PREFIX: Final = "._"


class Archive(Invalid):
    """The archive cannot be read, or would grow beyond all measure."""

    code = "bad-archive"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What one archive may hold."""

    entries: int = 100_000
    table_bytes: int = 16 << 20
    """Of the table of contents, which is read whole."""
    unpacked_bytes: int = 64 << 30
    ratio: int = 100
    """Unpacked to packed; black images reach 1000 honestly, so small archives may."""
    ratio_free_bytes: int = 1 << 30
    """Unpacked size up to which the ratio does not matter."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    name: str
    _archive: zipfile.ZipFile
    _info: zipfile.ZipInfo

    def pieces(self) -> Iterator[bytes]:
        """Yield the unpacked content.

        Raises
        ------
        Unsupported
            It is encrypted, or packed in a way that is not deflate.
        Archive
            It is damaged.
        """
        if self._info.flag_bits & _ENCRYPTED:
            raise Unsupported("the archive's entry is encrypted")
        if self._info.compress_type not in _METHODS:
            raise Unsupported("the archive's entry is packed in another way than deflate")
        try:
            with self._archive.open(self._info) as content:
                while piece := content.read(_PIECE_BYTES):
                    yield piece
        except _DAMAGES as error:
            raise Archive("the archive's entry is damaged") from error


def is_archive(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a ZIP archive and no Part 10 file."""
    return head.startswith((_LOCAL_HEADER, _EMPTY_ARCHIVE)) and head[128:132] != b"DICM"


def entries(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Entry]:
    """Yield the files of an archive, without folders and what systems leave in them.

    They can be read, in any order, as long as `file` is open.

    Raises
    ------
    Archive
        It is damaged or exceeds `limits`; nothing has been yielded then.
    """
    packed_bytes = file.seek(0, 2)
    try:
        # Not closed: it owns nothing but `file`, and entries are read from it later.
        archive = zipfile.ZipFile(_Bounded(file, limits.table_bytes))
    except _DAMAGES as error:
        raise Archive("the archive is damaged") from error
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    _check(infos, packed_bytes, limits)
    for info in infos:
        if not _is_junk(info.filename):
            yield Entry(info.filename, archive, info)


def _check(infos: list[zipfile.ZipInfo], packed_bytes: int, limits: ArchiveLimits) -> None:
    if len(infos) > limits.entries:
        raise Archive(f"the archive has more than {limits.entries} files")
    unpacked_bytes = sum(info.file_size for info in infos)
    if unpacked_bytes > limits.unpacked_bytes:
        raise Archive(f"the archive unpacks to more than {limits.unpacked_bytes} bytes")
    if unpacked_bytes > max(limits.ratio_free_bytes, limits.ratio * packed_bytes):
        raise Archive(f"the archive unpacks to more than {limits.ratio} times its size")


def _is_junk(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return (
        path.name.lower() in _JUNK_NAMES
        or path.name.startswith(_JUNK_PREFIX)
        or _JUNK_FOLDER in path.parts
    )


class _Bounded:
    """A file that refuses to be read in large pieces.

    `zipfile` reads the table of contents in one piece, as long as the archive says it is,
    and makes an object of each entry. Everything else it reads in pieces of our choosing.
    """

    def __init__(self, file: BinaryIO, piece_bytes: int) -> None:
        self._file = file
        self._piece_bytes = piece_bytes
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        whole = 0 <= size <= self._piece_bytes
        piece = self._file.read(size if whole else self._piece_bytes + 1)
        if len(piece) > self._piece_bytes:
            raise Archive("the archive's table of contents is too long")
        return piece
