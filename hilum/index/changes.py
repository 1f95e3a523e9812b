"""Which studies have changed: what all workers of a node tell each other, in shared memory.

Whoever keeps something that was read from the index must know when it is no longer true. To
ask MongoDB each time costs more than to send a picture. So a writer puts a mark on each
study it has written, before it reports the write done; a reader notes the mark before it
reads, and what it keeps is true for as long as the mark is the same. Nobody who was told
that an instance is stored is shown a study without it.

A mark is a random number: of two writers who put theirs at the same moment neither undoes
the other's, as with a counter, and none is ever put a second time.
"""

import mmap
import os
import secrets
from collections.abc import Iterable
from typing import Final
from zlib import crc32

#: Places for marks; studies that share one are only looked up once more than they had to be.
_PLACES: Final = 8192
_MARK_BYTES: Final = 8
_SIZE_BYTES: Final = _PLACES * _MARK_BYTES


def shared_memory() -> int:
    """Return a file descriptor of memory for marks, to be handed to other processes."""
    descriptor = os.memfd_create("hilum-changes")
    os.truncate(descriptor, _SIZE_BYTES)
    return descriptor


class Changes:
    """The marks of all studies.

    Parameters
    ----------
    descriptor
        Of memory that other processes have too, from `shared_memory`; by default nobody
        else sees the marks.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE_BYTES)
        # A whole mark is written, and read, by one instruction.
        self._marks = memoryview(memory).cast("Q")

    def put(self, study_instance_uids: Iterable[str]) -> None:
        """Mark studies that were written to; after the write, and before it is reported."""
        for place in set(map(_place, study_instance_uids)):
            self._marks[place] = secrets.randbits(8 * _MARK_BYTES)

    def mark(self, study_instance_uid: str) -> int:
        """Return the mark of a study. To be read before what it is to vouch for."""
        return self._marks[_place(study_instance_uid)]


def _place(study_instance_uid: str) -> int:
    # Not hash(): every process has its own.
    return crc32(study_instance_uid.encode()) % _PLACES
