"""Taking in the files of one upload as their bytes arrive, in a thread.

No socket here: `upload` feeds pieces of the request's body, of any size, and gets back
what became of each file.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from hilum.core.errors import HilumError, Invalid
from hilum.core.instance import Origin
from hilum.core.levels import json_tag
from hilum.http.archive import ArchiveLimits, entries, is_archive
from hilum.http.multipart import (
    Malformed,
    MultipartParser,
    PartBegins,
    PartData,
    PartEnds,
)
from hilum.services.ingest import Ingest, Receipt
from hilum.storage.spool import SpoolWriter

#: `Origin.source` of everything that comes this way.
SOURCE: Final = "http"
_FILE_FIELD: Final = "file"
_FIELD_BYTES: Final = 1 << 10
_PARTS: Final = 100_000
_HEAD_BYTES: Final = 132
_NAME_CHARACTERS: Final = 255
_TOLD: Final = (json_tag("PatientName"),)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one file, uploaded by itself or in an archive."""

    name: str
    """As the client called it, for the answer alone: it may hold a patient's name."""
    result: Receipt | HilumError
    frame_count: int = 0
    original: str | None = None
    """SOP Instance UID of what was uploaded, if `result` was made from it."""


class Reception:
    """One upload. For one thread at a time; `close` it in any case."""

    def __init__(self, ingest: Ingest, boundary: str, limits: ArchiveLimits | None = None) -> None:
        self.arrivals: list[Arrival] = []
        """One for each file, in the order of the request."""
        self.fields: dict[str, str] = {}
        """The form's other fields."""
        self._ingest = ingest
        self._parser = MultipartParser(boundary)
        self._limits = limits or ArchiveLimits()
        self._parts = 0
        self._part: _File | _Field | None = None

    def feed(self, data: bytes) -> None:
        """Take in the next piece of the body.

        Raises
        ------
        Malformed
            The body is no multipart message; feed no more of it, but `finish`.
        """
        for event in self._parser.feed(data):
            match event:
                case PartBegins():
                    self._part = self._begin(event)
                case PartData(data=content):
                    assert self._part is not None
                    self._part.write(content)
                case PartEnds():
                    assert self._part is not None
                    self._part.end()
                    self._part = None

    def finish(self, fault: HilumError | None = None) -> None:
        """End the upload: `fault` if one ended it, else it is looked for here.

        What a broken body took with it is an arrival too: the file it broke off in, or
        one without a name for whatever would have come.
        """
        if fault is None and not self._parser.complete:
            fault = Malformed("the upload ended before its closing boundary")
        if fault is not None:
            name = self._part.name if isinstance(self._part, _File) else ""
            self.arrivals.append(Arrival(name, fault))
        self.close()

    def close(self) -> None:
        """Drop what is incomplete. Idempotent."""
        if isinstance(self._part, _File):
            self._part.drop()
        self._part = None

    def _begin(self, begins: PartBegins) -> "_File | _Field":
        self._parts += 1
        if self._parts > _PARTS:
            raise Malformed(f"more than {_PARTS} parts")
        if begins.file_name is None and begins.name != _FILE_FIELD:
            return _Field(begins.name, self.fields)
        name = _shown(begins.file_name or begins.name)
        return _File(name, self._ingest, self._limits, self.arrivals)


class _Field:
    """A form field that is no file."""

    def __init__(self, name: str, fields: dict[str, str]) -> None:
        self._name = name
        self._fields = fields
        self._value = bytearray()

    def write(self, data: bytes) -> None:
        if len(self._value) + len(data) > _FIELD_BYTES:
            raise Malformed(f"the value of a field exceeds {_FIELD_BYTES} bytes")
        self._value += data

    def end(self) -> None:
        try:
            self._fields[self._name] = self._value.decode().strip()
        except UnicodeDecodeError as error:
            raise Malformed("the value of a field is not UTF-8") from error


class _File:
    """An uploaded file: an instance, or an archive of them; its content tells which.

    Both are written to the spool. An archive is never committed there, so that nothing
    of it is left behind, not even by a crash.
    """

    def __init__(
        self, name: str, ingest: Ingest, limits: ArchiveLimits, arrivals: list[Arrival]
    ) -> None:
        self.name = name
        self._ingest = ingest
        self._limits = limits
        self._arrivals = arrivals
        self._writer: SpoolWriter | None = None
        self._fault: HilumError | None = None
        try:
            self._writer = ingest.begin(origin())
        except HilumError as error:
            self._fault = error

    def write(self, data: bytes) -> None:
        # After a fault the rest of the file is read and dropped: what follows it in the
        # request may still be taken.
        if self._writer is None or self._fault is not None:
            return
        try:
            self._writer.write(data)
        except HilumError as error:
            self._fault = error

    def end(self) -> None:
        if self._writer is None or self._fault is not None:
            assert self._fault is not None
            self._arrivals.append(Arrival(self.name, self._fault))
            return
        with self._writer as writer:
            if is_archive(writer.head(_HEAD_BYTES)):
                self._unpack(writer)
            else:
                self._take(self.name, partial(self._ingest.accept, writer))

    def drop(self) -> None:
        if self._writer is not None:
            self._writer.abort()

    def _unpack(self, archive: SpoolWriter) -> None:
        before = len(self._arrivals)
        try:
            with archive.open_for_reading() as file:
                for entry in entries(file, self._limits):
                    self._take(_shown(entry.name), partial(self._copy, entry.pieces()))
        except HilumError as error:
            self._arrivals.append(Arrival(self.name, error))
            return
        if len(self._arrivals) == before:
            self._arrivals.append(Arrival(self.name, Invalid("the archive holds no files")))

    def _copy(self, pieces: Iterable[bytes]) -> Receipt:
        with self._ingest.begin(origin()) as writer:
            for piece in pieces:
                writer.write(piece)
            return self._ingest.accept(writer)

    def _take(self, name: str, accept: Callable[[], Receipt]) -> None:
        try:
            receipt = accept()
        except HilumError as error:
            self._arrivals.append(Arrival(name, error))
        else:
            self._arrivals.append(arrived(name, receipt))


def arrived(name: str, receipt: Receipt) -> Arrival:
    """Return the arrival of an accepted file, with no more of its header than is told.

    An archive may hold 100,000 of them.
    """
    header = receipt.header
    frame_count = header.pixel_data.frame_count if header.pixel_data is not None else 0
    kept = {tag: header.attributes[tag] for tag in _TOLD if tag in header.attributes}
    lighter = replace(receipt, header=replace(header, attributes=kept, pixel_data=None))
    return Arrival(name, lighter, frame_count)


def origin() -> Origin:
    """Return where an upload comes from, and that it comes now."""
    return Origin(SOURCE, datetime.now(UTC))


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)[
        -_NAME_CHARACTERS:
    ]
