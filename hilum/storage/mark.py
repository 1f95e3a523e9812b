"""The mark of a committed file: an extended attribute that says what the file must be.

It is set on a file that has its name already, and brought to disk by the same sync as the
file's bytes. Which of the two gets there first is open until that sync has ended. So a mark
is a claim, and recovery holds the bytes to it.

The value is binary and small on purpose: with a calling AE title (16 characters) it has 64
bytes, which is what an ext4 inode of 256 bytes has room for. One byte more, and each file
costs another block.
"""

import errno
import os
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from hilum.core.instance import Blob, Origin

_NAME: Final = "user.hilum"
# SHA-256, size, microseconds since 1970; the sender follows in UTF-8, and what he called us.
_FIXED: Final = struct.Struct("<32sQq")
_SOURCE_BYTES: Final = 160
#: In front of the called AE title, if there is one; no byte of UTF-8.
_BETWEEN: Final = b"\xff"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# There is no such attribute, or the file system does not have any.
_ABSENT: Final = frozenset({errno.ENODATA, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Mark:
    """What a mark says."""

    blob: Blob
    origin: Origin

    def __bytes__(self) -> bytes:
        microseconds = (self.origin.received_at - _EPOCH) // _MICROSECOND
        digest, source = bytes.fromhex(self.blob.digest), self.origin.source.encode()
        mark = _FIXED.pack(digest, self.blob.size_bytes, microseconds) + source[:_SOURCE_BYTES]
        if not self.origin.by_alias:
            return mark
        return mark + _BETWEEN + self.origin.called_ae_title.encode()

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """Return what `value` says, or None if it was not written here."""
        try:
            digest, size_bytes, microseconds = _FIXED.unpack_from(value)
            received_at = _EPOCH + microseconds * _MICROSECOND
        except (struct.error, OverflowError):
            return None
        sender, _, called = value[_FIXED.size :].partition(_BETWEEN)
        source = sender.decode(errors="ignore")  # the last character may be cut
        origin = origin_of(source, received_at, called.decode(errors="ignore"))
        return cls(Blob(digest.hex(), size_bytes), origin)

    @classmethod
    def of(cls, file: Path | int) -> Self | None:
        """Return the mark of a file, given by its path or a descriptor, if it has one.

        Raises
        ------
        OSError
            The file cannot be asked.
        """
        try:
            return cls.parse(os.getxattr(file, _NAME))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def set(self, descriptor: int) -> None:
        """Mark the file behind `descriptor`. Lasts when the file is synced (``fsync``).

        Raises
        ------
        OSError
            It cannot be marked.
        """
        os.setxattr(descriptor, _NAME, bytes(self))


def origin_of(source: str, received_at: datetime, called_ae_title: str) -> Origin:
    """Return the origin of a file as far as it is written down with its bytes."""
    return Origin(
        source, received_at, called_ae_title=called_ae_title, by_alias=bool(called_ae_title)
    )


def origin_unknown(status: os.stat_result) -> Origin:
    """Return what is left to say of a file without a mark: when it was last written."""
    return Origin("unknown", datetime.fromtimestamp(status.st_mtime, UTC))
