"""Bodies that are compressed as a whole (RFC 9110 8.4.1.3, RFC 1952), unpacked as they come.

In the thread that takes the upload in, a piece at a time: what a few bytes make of themselves
is bounded as that of archives is.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from hilum.http.archive import ArchiveLimits
from hilum.http.body import BodyParser
from hilum.http.multipart import Event, Malformed

_PIECE_BYTES: Final = 1 << 20
#: Of `zlib`: with the header and the checksums of gzip.
_GZIP: Final = 31


class Gunzip:
    """A `BodyParser` of what another one understands, compressed by gzip."""

    def __init__(self, parser: BodyParser, limits: ArchiveLimits | None = None) -> None:
        self._parser = parser
        self._limits = limits or ArchiveLimits()
        self._member = zlib.decompressobj(_GZIP)
        self._packed_bytes = 0
        self._unpacked_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """See `BodyParser.feed`.

        Raises
        ------
        hilum.http.multipart.Malformed
            It is not what gzip makes, or unpacks to more than an archive may.
        """
        self._packed_bytes += len(data)
        while data:
            if self._member.eof:  # another one follows, RFC 1952 2.2
                self._member = zlib.decompressobj(_GZIP)
            try:
                piece = self._member.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise Malformed("the body is not compressed by gzip, or damaged") from error
            self._unpacked_bytes += len(piece)
            self._check()
            if piece:
                yield from self._parser.feed(piece)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def end(self) -> Iterator[Event]:
        """See `BodyParser.end`."""
        if not self._member.eof:
            raise Malformed("the body breaks off inside what gzip has made")
        yield from self._parser.end()

    def _check(self) -> None:
        limits = self._limits
        honest = max(limits.ratio_free_bytes, limits.ratio * self._packed_bytes)
        if self._unpacked_bytes > min(honest, limits.unpacked_bytes):
            raise Malformed("the body unpacks to beyond all measure")
