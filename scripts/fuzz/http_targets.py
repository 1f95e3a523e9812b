"""What comes over HTTP besides DICOM files: bodies, archives, parameters and headers."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

import orjson
from multidict import MultiDict

from hilum.core.errors import HilumError, Invalid
from hilum.core.levels import Level
from hilum.core.qido_query import parse_qido
from hilum.http.archive import ArchiveLimits, entries
from hilum.http.dicomweb.media_types import Form, choose, parse_accept
from hilum.http.dicomweb.rendering_query import parse_rendering_query
from hilum.http.multipart import Event, MultipartParser, PartBegins, PartData, PartEnds, boundary_of
from hilum.http.overrides import Patient, with_patient
from hilum.imaging.assembly import assemble
from hilum.imaging.data_set_json import BASE, data_set_json
from hilum.imaging.header import read_header
from hilum.imaging.reader import open_reader
from scripts.fuzz import corpus
from scripts.fuzz.elements import STRUCTURE
from scripts.fuzz.mutations import ANYWHERE
from scripts.fuzz.target import target

_PIECES: Final = (1, 7, 64, 4096)
_MOST_PIECES: Final = 5000
_UNPACKED_BYTES: Final = 256 << 20


@cache
def _bodies() -> tuple[bytes, ...]:
    """Return messages, each behind the Content-Type it comes with and a line break."""
    form = (
        b"multipart/form-data; boundary=cut\n"
        b'preamble\r\n--cut\r\nContent-Disposition: form-data; name="file"; filename="a.dcm"\r\n'
        b"Content-Type: application/dicom\r\n\r\n" + bytes(128) + b"DICM\r\n"
        b"--cut \t\r\nContent-Disposition: form-data; name*=utf-8''patient%20ID\r\n\r\n1\r\n"
        b"--cut\r\n\r\n\r\n--cut--\r\nepilogue"
    )
    related = (
        b'multipart/related; type="application/dicom+json"; boundary="a b:=?"\n'
        b"--a b:=?\r\nContent-Type: application/dicom+json\r\nContent-Length: 2\r\n\r\n[]\r\n"
        b"--a b:=?\r\nContent-Type: image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90\r\n"
        b"Content-Location: /bulk/1\r\n\r\n--a b:=\r\n--a b:=?--"
    )
    return (form, related, b"multipart/mixed; boundary=x\n--x\r\n\r\n--x--")


@target("multipart", "multipart bodies of uploads and of STOW-RS", _bodies, ANYWHERE)
def split(data: bytes) -> None:
    """Split a body; however it is cut into pieces, its parts are the same."""
    content_type, _, body = data.partition(b"\n")
    boundary = boundary_of(content_type.decode("latin-1"))
    whole = _parts(boundary, body, len(body) or 1)
    for size in _PIECES:
        if len(body) // size < _MOST_PIECES:
            assert _parts(boundary, body, size) == whole, f"other parts in pieces of {size}"


def _parts(boundary: str, body: bytes, size: int) -> tuple[list[object], bool, str]:
    """Return the headers and contents of the parts, whether that is all, and what is wrong."""
    parser = MultipartParser(boundary)
    parts: list[object] = []
    try:
        for at in range(0, len(body), size):
            for event in parser.feed(body[at : at + size]):
                _add(parts, event)
    except Invalid as error:
        # In smaller pieces a part's beginning is told of before the fault behind it.
        return parts, parser.complete, str(error)
    return parts, parser.complete, ""


def _add(parts: list[object], event: Event) -> None:
    match event:
        case PartData(data) if parts and isinstance(parts[-1], bytes):
            parts[-1] += data
        case PartData(data):
            parts.append(data)
        case PartBegins() | PartEnds():
            parts.append(event)


@cache
def _archives() -> tuple[bytes, ...]:
    return tuple(map(_archive, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))


def _archive(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/b.dcm", bytes(128) + b"DICM" + bytes(2000))
        archive.writestr("DICOMDIR", b"")
        archive.writestr("ü/\\..\\c", b"x" * 500)
        archive.comment = b"PK\5\6"
    return file.getvalue()


@target("archive", "ZIP archives", _archives, ANYWHERE)
def unpack(data: bytes) -> None:
    """Unpack an archive, what can be."""
    unpacked, limits = 0, ArchiveLimits()
    for entry in entries(io.BytesIO(data), limits):
        try:
            for piece in entry.pieces():
                unpacked += len(piece)
                if unpacked > _UNPACKED_BYTES:
                    return
        except HilumError:
            continue


_QUERIES: Final = (
    b"StudyDate=20200101-20201231&PatientName=A*%20B?&limit=10&offset=0&fuzzymatching=true",
    b"00100020=1&includefield=all&includefield=00081030,StudyTime&ModalitiesInStudy=CT\\MR",
    b"RequestAttributesSequence.ScheduledProcedureStepID=1&StudyInstanceUID=1.2,1.3&StudyTime=-12",
    b"PatientBirthDate=19700101&00400275.00400009=x&SeriesNumber=1&AccessionNumber=%2a",
)


@target("qido", "parameters of QIDO-RS", lambda: _QUERIES, ANYWHERE)
def search(data: bytes) -> None:
    """Read a query string as a query at every level."""
    level = list(Level)[zlib.crc32(data) % len(Level)]
    parse_qido(level, parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True))


_ACCEPTS: Final = (
    b'multipart/related; type="application/dicom"; transfer-syntax=*, */*;q=0.1',
    b"multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
    b'image/png, image/jpeg;q=0.8, multipart/related; type="image/*"; boundary="a\\"b"',
    b"application/dicom+json, application/*; charset=utf-8;;, text/html",
)
_FORMS: Final = (
    Form("application/dicom", "1.2.840.10008.1.2.1", multipart=True),
    Form("application/octet-stream", "1.2.840.10008.1.2.1", multipart=True),
    Form("image/jp2", "1.2.840.10008.1.2.4.90", multipart=True, default=False),
    Form("application/dicom+json"),
    Form("image/png"),
)


@target("accept", "Accept headers of DICOMweb", lambda: _ACCEPTS, ANYWHERE)
def negotiate(data: bytes) -> None:
    """Choose a form by an Accept header."""
    choose([parse_accept(data.decode("utf-8", "surrogateescape"))], _FORMS)


_RENDERINGS: Final = (
    b"window=40,400,linear&viewport=512,512&quality=80",
    b"viewport=100,200,10,,-20.5,1e3&annotation=patient,technique&iccprofile=no",
    b"window=-1e300,1e-9,sigmoid&window=1,2&quality=100",
)


@target("rendering", "parameters of rendered resources", lambda: _RENDERINGS, ANYWHERE)
def ask_for_picture(data: bytes) -> None:
    """Read a query string as a rendering."""
    pairs = parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)
    parse_rendering_query(MultiDict(pairs), "jpeg")


@cache
def _stored_metadata() -> tuple[bytes, ...]:
    found = []
    for data in corpus.images():
        file = io.BytesIO(data)
        header = read_header(file)
        reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
        place = (header.data_set_offset, header.transfer_syntax_uid, header.pixel_data)
        found.append(data_set_json(reader, *place).replace(BASE, b""))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Bulk:
    """Bulk data of two parts."""

    transfer_syntax_uid: str
    sizes: list[int]

    def pieces(self, index: int) -> Iterator[bytes]:
        yield bytes(self.sizes[index])


@target("assembly", "metadata and bulk data of STOW-RS", _stored_metadata, ANYWHERE)
def put_together(data: bytes) -> None:
    """Make a file of metadata in JSON and of bulk data."""
    try:
        data_set = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Invalid("no JSON") from None
    syntaxes = ("", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.102")
    bulk = _Bulk(syntaxes[zlib.crc32(data) % len(syntaxes)], [100, 51])
    if not isinstance(data_set, dict):
        raise Invalid("no object")
    for _ in assemble(data_set, lambda uri: None if "x" in uri else bulk):
        pass


@target(
    "overrides",
    "uploaded files rewritten for another patient",
    corpus.images,
    STRUCTURE * 2 + ANYWHERE,
)
def rename(data: bytes) -> None:
    """Rewrite a file that the node would have taken."""
    read_header(io.BytesIO(data))
    for _ in with_patient(io.BytesIO(data), Patient("1", "Döe^J")):
        pass
