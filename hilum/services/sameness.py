"""Whether two files hold the same data set.

The same instance sent by C-STORE and uploaded as a file differs in its file meta
information only; that is no new version.
"""

import os
from typing import BinaryIO

from hilum.imaging.header import read_header

_CHUNK_BYTES = 1 << 20


def same_data_set(one: BinaryIO, other: BinaryIO) -> bool:
    """Compare two Part 10 files from behind their file meta information.

    Parameters
    ----------
    one, other
        Seekable files that `read_header` understands.

    Returns
    -------
    bool
        True if the transfer syntaxes and every byte of the data sets are equal.
    """
    headers = read_header(one), read_header(other)
    if headers[0].transfer_syntax_uid != headers[1].transfer_syntax_uid:
        return False
    if _data_set_bytes(one, headers[0].data_set_offset) != _data_set_bytes(
        other, headers[1].data_set_offset
    ):
        return False
    while True:
        chunk = one.read(_CHUNK_BYTES)
        if chunk != other.read(_CHUNK_BYTES):
            return False
        if not chunk:
            return True


def _data_set_bytes(file: BinaryIO, offset: int) -> int:
    """Return the length of the data set, and leave `file` at its first byte."""
    size = file.seek(0, os.SEEK_END)
    file.seek(offset)
    return size - offset
