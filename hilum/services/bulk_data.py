"""Bulk data: the value of one element of a stored instance, from its place in the file."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from hilum.core.errors import Corrupt, NotDicom
from hilum.imaging.data_set_values import Value, find_value
from hilum.imaging.dicom_json import swapped
from hilum.imaging.reader import DEFLATED, Reader, open_reader
from hilum.index.stored import StoredInstance
from hilum.storage.store import Store

_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """The bytes of a value, little endian. To be closed."""

    size_bytes: int
    offset: int = 0
    open: Callable[[], BinaryIO] | None = None
    """Opens the file they lie in, from `offset` on."""
    raw: bytes = b""
    """The bytes themselves, where there is no such file."""
    copy: BinaryIO | None = None
    """A temporary file that they are in."""

    def close(self) -> None:
        """Delete the copy, if there is one."""
        if self.copy is not None:
            self.copy.close()


class BulkData:
    """Finds values. Runs on the loop, works in threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, instance: StoredInstance, path: tuple[int, ...]) -> Found:
        """Return the value of an element.

        Parameters
        ----------
        path
            Its tag, or sequence, item from 1, tag.

        Raises
        ------
        NotFound
            There is no such element, it is a sequence, or the file is gone.
        Corrupt
            The file is damaged.

        Notes
        -----
        What is deflated or big endian is copied, uncompressed and little endian, to a
        temporary file, so that no value is ever whole in memory.
        """
        return await asyncio.to_thread(self._find, instance, path)

    def _find(self, instance: StoredInstance, path: tuple[int, ...]) -> Found:
        open_file = partial(self._store.open, instance.blob.digest)
        syntax, offset = instance.transfer_syntax_uid, instance.data_set_offset
        with open_file() as file:
            reader = open_reader(file, syntax, offset)
            try:
                value = find_value(reader, offset, syntax, instance.pixel_data, path)
            except NotDicom as error:
                uid = instance.identity.sop_instance_uid
                raise Corrupt(f"instance {uid}: {error}") from error
            if value.raw is not None:
                return Found(value.length, raw=value.raw)
            if syntax in DEFLATED or value.big_endian_vr:
                copy = _copy(reader, value)
                return Found(value.length, open=partial(_reopened, copy), copy=copy)
        return Found(value.length, value.offset, open_file)


def _copy(reader: Reader, value: Value) -> BinaryIO:
    """Return a value as a file of its own."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who is done with it
    try:
        for block in _blocks(reader, value):
            copy.write(block)
        copy.flush()
    except BaseException:
        copy.close()
        raise
    return copy


def _reopened(file: BinaryIO) -> BinaryIO:
    return os.fdopen(os.dup(file.fileno()), "rb")


def _blocks(reader: Reader, value: Value) -> Iterator[bytes]:
    position = value.offset
    end = value.offset + value.length
    while position < end:
        block = reader.read_at(position, min(_BLOCK_BYTES, end - position))
        if not block:
            raise Corrupt("the value ends early")
        position += len(block)
        yield swapped(value.big_endian_vr, block)
