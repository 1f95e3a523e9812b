"""The parts of a STOW-RS request: Part 10 files, or metadata with the bulk data it names.

Bulk data goes, part behind part, into one file of the spool that is never committed: of a
request that breaks off nothing is left, and no part of it has to be in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

import orjson

from hilum.core.errors import HilumError, Unsupported
from hilum.core.levels import json_tag
from hilum.http.body import BodyParser
from hilum.http.dicomweb.media_types import DICOM, OCTET_STREAM, parse_accept
from hilum.http.multipart import Malformed, PartBegins
from hilum.http.reception import Arrival, FilePart, Part, Reception, arrival_of, origin
from hilum.imaging.assembly import assemble
from hilum.services.ingest import ExpectedStudy, Ingest, Receipt
from hilum.storage.spool import SpoolWriter

DICOM_JSON: Final = "application/dicom+json"

_JSON: Final = frozenset({DICOM_JSON, "application/json"})
#: Of a request, in all; taken apart it is some ten times as large.
_METADATA_BYTES: Final = 32 << 20
_PIECE_BYTES: Final = 1 << 20
#: What a media type means that comes without a transfer syntax (PS3.18 tables 8.7.3-4, -5).
_DEFAULTS: Final = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
}
#: The lossy processes, by the second byte of their SOF marker.
_JPEG: Final = {0xC0: "1.2.840.10008.1.2.4.50", 0xC1: "1.2.840.10008.1.2.4.51"}
#: DHT, JPG and DAC.
_NO_SOF: Final = frozenset({0xC4, 0xC8, 0xCC})
_HEAD_BYTES: Final = 64 << 10


class StoreReception(Reception):
    """One STOW-RS request.

    Parameters
    ----------
    ingest
        Takes the instances.
    parser
        Of the body.
    media_type
        What the request says its parts are: DICOM files, or metadata and bulk data.
    study_instance_uid
        The only study that is stored into; None: any.
    """

    def __init__(
        self,
        ingest: Ingest,
        parser: BodyParser,
        media_type: str,
        study_instance_uid: str | None = None,
    ) -> None:
        super().__init__(parser)
        self._ingest = ingest
        self._media_type = media_type
        self._expected = ExpectedStudy(study_instance_uid) if study_instance_uid else None
        self._metadata = _Metadata()
        self._scratch = _Scratch(ingest)

    def _complete(self) -> None:
        """Make what metadata describes, now that all has come that will."""
        for data_set in self._metadata.data_sets:
            self.arrivals.append(arrival_of("", partial(self._make, data_set)))

    def close(self) -> None:
        """See `Reception.close`."""
        super().close()
        self._scratch.close()

    def _begin(self, begins: PartBegins) -> Part:
        kind, transfer_syntax_uid = _media_type(begins.content_type or self._media_type)
        if kind == DICOM or (kind == OCTET_STREAM and self._media_type == DICOM):
            return FilePart("", self._ingest, self.arrivals, self._expected)
        if self._media_type != DICOM_JSON:
            return _Refused(self.arrivals, kind)
        if kind in _JSON:
            return self._metadata
        return _BulkPart(self._scratch, begins.location, kind, transfer_syntax_uid)

    def _make(self, data_set: dict[str, Any]) -> Receipt:
        try:
            with self._ingest.begin(origin()) as writer:
                for piece in assemble(data_set, self._scratch.find):
                    writer.write(piece)
                return self._ingest.accept(writer, self._expected)
        except HilumError as fault:
            fault.sop_class_uid = _uid(data_set, "SOPClassUID")
            fault.sop_instance_uid = _uid(data_set, "SOPInstanceUID")
            raise


def _uid(data_set: dict[str, Any], keyword: str) -> str:
    element = data_set.get(json_tag(keyword))
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0])[:64] if isinstance(values, list) and values else ""


class _Refused:
    """A part of a kind that was not announced; what follows it may still be taken."""

    def __init__(self, arrivals: list[Arrival], kind: str) -> None:
        self.name = ""
        self._arrivals = arrivals
        self._kind = kind

    def write(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        self._arrivals.append(Arrival("", Unsupported(f"a part of type {self._kind[:80]}")))

    def drop(self) -> None:
        pass


class _Metadata:
    """The parts with data sets in DICOM JSON, one by one or in an array."""

    def __init__(self) -> None:
        self.name = ""
        self.data_sets: list[dict[str, Any]] = []
        self._text = bytearray()
        self._total = 0

    def write(self, data: bytes) -> None:
        self._total += len(data)
        if self._total > _METADATA_BYTES:
            raise Malformed(f"the metadata exceeds {_METADATA_BYTES} bytes")
        self._text += data

    def end(self) -> None:
        text, self._text = self._text, bytearray()
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Malformed("the metadata is not JSON") from error
        found = found if isinstance(found, list) else [found]
        if not all(isinstance(data_set, dict) for data_set in found):
            raise Malformed("the metadata is not in the DICOM JSON model")
        self.data_sets += found

    def drop(self) -> None:
        self._text.clear()


@dataclass
class _Bulk:
    """Where in the scratch file the parts lie that have one location."""

    scratch: "_Scratch"
    transfer_syntax_uid: str
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def pieces(self, index: int) -> Iterator[bytes]:
        return self.scratch.pieces(self.offsets[index], self.sizes[index])


class _Scratch:
    """The file that bulk data waits in for its metadata."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._writer: SpoolWriter | None = None
        self._file: BinaryIO | None = None
        self._bulk: dict[str, _Bulk] = {}
        self._fault: HilumError | None = None

    @property
    def size_bytes(self) -> int:
        return self._writer.size_bytes if self._writer is not None else 0

    def write(self, data: bytes) -> None:
        # After a fault the rest is read and dropped: what needs it gets the fault.
        if self._fault is not None:
            return
        try:
            if self._writer is None:
                self._writer = self._ingest.begin(origin())
            self._writer.write(data)
        except HilumError as error:
            self._fault = error

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        if self._file is None:
            assert self._writer is not None
            self._file = self._writer.open_for_reading()
        while size:
            self._file.seek(offset)
            piece = self._file.read(min(size, _PIECE_BYTES))
            assert piece, "the scratch file is as long as what was written"
            yield piece
            offset += len(piece)
            size -= len(piece)

    def add(self, location: str, transfer_syntax_uid: str, offset: int, size: int) -> None:
        bulk = self._bulk.setdefault(location, _Bulk(self, transfer_syntax_uid))
        bulk.offsets.append(offset)
        bulk.sizes.append(size)

    def find(self, uri: str) -> _Bulk | None:
        """Return what came under the name `uri`.

        Raises
        ------
        Temporary
            Bulk data could not be written.
        """
        if self._fault is not None:
            raise type(self._fault)(str(self._fault))  # for each that asks one of its own
        return self._bulk.get("".join(uri.split()))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._writer is not None:
            self._writer.abort()
            self._writer = None


class _BulkPart:
    """A part with the value, or one frame of the value, of an element."""

    def __init__(
        self, scratch: _Scratch, location: str, kind: str, transfer_syntax_uid: str
    ) -> None:
        self.name = ""
        self._scratch = scratch
        self._location = location
        self._kind = kind
        self._transfer_syntax_uid = transfer_syntax_uid
        self._offset = scratch.size_bytes
        self._head = b""

    def write(self, data: bytes) -> None:
        self._head += data[: max(0, _HEAD_BYTES - len(self._head))]
        self._scratch.write(data)

    def end(self) -> None:
        found = self._transfer_syntax_uid or _default(self._kind, self._head)
        size = self._scratch.size_bytes - self._offset
        self._scratch.add(self._location, found, self._offset, size)

    def drop(self) -> None:
        pass


def _media_type(content_type: str) -> tuple[str, str]:
    """Return the media type and the transfer syntax that a part's Content-Type names."""
    ranges = parse_accept(content_type)
    return (ranges[0].media_type, ranges[0].transfer_syntax_uid) if ranges else ("", "")


def _default(kind: str, head: bytes) -> str:
    if kind == "image/jpeg":
        # What a stream says of itself goes before what the table says of its media type.
        return _JPEG.get(_jpeg_process(head), _DEFAULTS[kind])
    return _DEFAULTS.get(kind, "")


def _jpeg_process(head: bytes) -> int:
    """Return the second byte of a JPEG stream's SOF marker; 0 if it is further behind."""
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker & 0xF0 == 0xC0 and marker not in _NO_SOF:
            return marker
        position += 2 + int.from_bytes(head[position + 2 : position + 4])
    return 0
