"""The upload of a form (RFC 7578): files, archives of files, and fields beside them."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from hilum.core.errors import HilumError, Invalid
from hilum.http.archive import ArchiveLimits, entries, is_archive
from hilum.http.multipart import Malformed, MultipartParser, PartBegins
from hilum.http.reception import SOURCE, Arrival, FilePart, Part, Reception, origin
from hilum.services.ingest import Ingest, Receipt
from hilum.storage.spool import SpoolWriter

_FILE_FIELD: Final = "file"
_FIELD_BYTES: Final = 1 << 10
_HEAD_BYTES: Final = 132
_NAME_CHARACTERS: Final = 255


class FormReception(Reception):
    """One form."""

    def __init__(self, ingest: Ingest, boundary: str, limits: ArchiveLimits | None = None) -> None:
        super().__init__(MultipartParser(boundary))
        self.fields: dict[str, str] = {}
        """The form's other fields."""
        self._ingest = ingest
        self._limits = limits or ArchiveLimits()

    def _begin(self, begins: PartBegins) -> Part:
        if begins.file_name is None and begins.name != _FILE_FIELD:
            return _Field(begins.name, self.fields)
        name = _shown(begins.file_name or begins.name)
        return UploadedFile(name, self._ingest, self.arrivals, self._limits)


class _Field:
    """A form field that is no file."""

    def __init__(self, name: str, fields: dict[str, str]) -> None:
        self.name = ""
        self._key = name
        self._fields = fields
        self._value = bytearray()

    def write(self, data: bytes) -> None:
        if len(self._value) + len(data) > _FIELD_BYTES:
            raise Malformed(f"the value of a field exceeds {_FIELD_BYTES} bytes")
        self._value += data

    def end(self) -> None:
        try:
            self._fields[self._key] = self._value.decode().strip()
        except UnicodeDecodeError as error:
            raise Malformed("the value of a field is not UTF-8") from error

    def drop(self) -> None:
        self._value.clear()


class UploadedFile(FilePart):
    """An uploaded file: an instance, or an archive of them; its content tells which.

    `is_archive` says which it was, once it has ended.

    Both are written to the spool. An archive is never committed there, so that nothing
    of it is left behind, not even by a crash.
    """

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        arrivals: list[Arrival],
        limits: ArchiveLimits,
        source: str = SOURCE,
    ) -> None:
        super().__init__(name, ingest, arrivals, source=source)
        self._limits = limits
        self._source = source
        self.is_archive = False

    def _accept(self, writer: SpoolWriter) -> None:
        self.is_archive = is_archive(writer.head(_HEAD_BYTES))
        if self.is_archive:
            self._unpack(writer)
        else:
            super()._accept(writer)

    def _unpack(self, archive: SpoolWriter) -> None:
        before = len(self._arrivals)
        try:
            with archive.open_for_reading() as file:
                for entry in entries(file, self._limits):
                    self._arrive(_shown(entry.name), partial(self._copy, entry.pieces()))
        except HilumError as error:
            self._arrivals.append(Arrival(self.name, error))
            return
        if len(self._arrivals) == before:
            self._arrivals.append(Arrival(self.name, Invalid("the archive holds no files")))

    def _copy(self, pieces: Iterable[bytes]) -> Receipt:
        with self._ingest.begin(origin(self._source)) as writer:
            for piece in pieces:
                writer.write(piece)
            return self._ingest.accept(writer)


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)[
        -_NAME_CHARACTERS:
    ]
