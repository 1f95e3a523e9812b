"""Positioned reads from a file, deflated or not: nothing here reads a file whole.

Every offset in `hilum.core.instance` counts in the file as a `Reader` shows it, so the
code that uses them never asks whether the data set was deflated.
"""

import os
import zlib
from io import UnsupportedOperation
from typing import BinaryIO, Final, Protocol

from hilum.core.errors import Corrupt

#: Transfer syntaxes whose data set is one raw deflate stream (PS3.5 A.5, A.7, A.12).
DEFLATED: Final = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)

#: Deflate packs at most about 1000 to 1, so that a small file can claim any size.
INFLATED_LIMIT_BYTES: Final = 1 << 30
_KEPT_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 256 << 10


class Reader(Protocol):
    """Bytes that can be read at any offset."""

    @property
    def size(self) -> int:
        """All the bytes there are."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only where the bytes end."""


class FileReader:
    """Reads a file as it lies, by ``pread`` where it has a descriptor.

    Parameters
    ----------
    head_bytes
        So many bytes from the beginning are read at once and kept. A header is understood
        in a handful of small steps, and each call into the system lets another thread take
        the interpreter's lock: it pays where many instances arrive at once.
    """

    def __init__(self, file: BinaryIO, head_bytes: int = 0) -> None:
        self._file = file
        self._head_bytes = head_bytes
        self._head: bytes | None = None
        try:
            self._descriptor = file.fileno()
        except (UnsupportedOperation, AttributeError):
            self._descriptor = -1

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._descriptor >= 0:
            return os.fstat(self._descriptor).st_size
        return self._file.seek(0, os.SEEK_END)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only where the file ends."""
        if offset + length > self._head_bytes:
            return self._read(offset, length)
        if self._head is None:
            self._head = self._read(0, self._head_bytes)
        return self._head[offset : offset + length]

    def _read(self, offset: int, length: int) -> bytes:
        if self._descriptor < 0:
            self._file.seek(offset)
            return self._file.read(length)
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        # The kernel moves at most 2 GiB a call, and may always move less than asked.
        parts = [data]
        while data and (got := sum(map(len, parts))) < length:
            data = os.pread(self._descriptor, length - got, offset + got)
            parts.append(data)
        return b"".join(parts)


class InflatedReader:
    """Reads a file as it would be with its data set inflated.

    Memory stays bounded: a window of what was inflated last is kept, and a read behind
    it inflates from the start again. Reads that move forward cost one pass in all.

    Raises
    ------
    Corrupt
        From any method: the stream is damaged, cut short, or inflates to more than
        `INFLATED_LIMIT_BYTES`.
    """

    def __init__(self, file: Reader, data_set_offset: int) -> None:
        self._file = file
        self._data_set_offset = data_set_offset
        self._size: int | None = None
        self._rewind()

    def _rewind(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._source = self._data_set_offset
        self._window = bytearray(self._file.read_at(0, self._data_set_offset))
        self._start = 0

    @property
    def size(self) -> int:
        """Bytes of the inflated file; the first call inflates to its end."""
        if self._size is None:
            while self._inflate():
                pass
            self._size = self._start + len(self._window)
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only where the data set ends."""
        if offset < self._start:
            self._rewind()
        while self._start + len(self._window) < offset + length:
            if not self._inflate(keep_from=offset):
                break
        first = max(offset - self._start, 0)
        return bytes(self._window[first : first + length])

    def _inflate(self, keep_from: int | None = None) -> bool:
        """Inflate one chunk more; return whether there was one."""
        if self._inflater.eof:
            return False
        packed = self._inflater.unconsumed_tail
        if not packed:
            packed = self._file.read_at(self._source, _CHUNK_BYTES)
            self._source += len(packed)
            if not packed:
                raise Corrupt("the deflated data set is cut short")
        try:
            self._window += self._inflater.decompress(packed, _CHUNK_BYTES)
        except zlib.error as error:
            raise Corrupt(f"the deflated data set is damaged: {error}") from error
        end = self._start + len(self._window)
        if end > INFLATED_LIMIT_BYTES:
            raise Corrupt(f"the data set inflates to more than {INFLATED_LIMIT_BYTES} bytes")
        # What a read in progress asked for must stay, whatever its size.
        surplus = min(len(self._window) - _KEPT_BYTES, (keep_from or end) - self._start)
        if surplus > _KEPT_BYTES:
            del self._window[:surplus]
            self._start += surplus
        return True


def open_reader(file: BinaryIO, transfer_syntax_uid: str = "", data_set_offset: int = 0) -> Reader:
    """Return positioned reads over a Part 10 file, as `PixelData` counts its offsets.

    Parameters
    ----------
    file
        Seekable; stays the caller's to close, and must outlive the reader.
    transfer_syntax_uid, data_set_offset
        As in `Header`; they matter for deflated data sets only.
    """
    return inflated(FileReader(file), transfer_syntax_uid, data_set_offset)


def inflated(reader: FileReader, transfer_syntax_uid: str, data_set_offset: int) -> Reader:
    """Return `reader`, or one that shows the data set inflated if it is deflated."""
    if transfer_syntax_uid in DEFLATED:
        return InflatedReader(reader, data_set_offset)
    return reader
