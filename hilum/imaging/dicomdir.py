"""The directory of a file set, a DICOMDIR: made while its files go by, written at the end.

Of each instance a few hundred bytes are kept: the keys of its directory record as they lie in
its file, with its character set, so that nothing is converted and nothing can be lost.

References
----------
PS3.3 F (records and their keys), PS3.10 8 (file sets and File IDs)
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hilum.core.levels import tag_of
from hilum.imaging.description import encoding_of
from hilum.imaging.dicom_json import swapped
from hilum.imaging.directory_keys import CODES, RECORDS, Key, mime_type, record_type
from hilum.imaging.elements import Elements, read_elements
from hilum.imaging.encoding import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_HEADER,
    LENGTH_BYTES,
    LONG_LENGTH,
    SHORT_HEADER,
)
from hilum.imaging.part10 import file_meta
from hilum.imaging.scan import SPECIFIC_CHARACTER_SET

_MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_IN_USE: Final = 0xFFFF
_NEXT, _USED, _LOWER, _TYPE, _FILE_ID, _CLASS, _INSTANCE, _SYNTAX = map(
    tag_of,
    (
        "OffsetOfTheNextDirectoryRecord",
        "RecordInUseFlag",
        "OffsetOfReferencedLowerLevelDirectoryEntity",
        "DirectoryRecordType",
        "ReferencedFileID",
        "ReferencedSOPClassUIDInFile",
        "ReferencedSOPInstanceUIDInFile",
        "ReferencedTransferSyntaxUIDInFile",
    ),
)
_SET_ID, _FIRST, _LAST, _CONSISTENT, _SEQUENCE = (
    0x00041130,
    0x00041200,
    0x00041202,
    0x00041212,
    0x00041220,
)
_ITEM: Final = (0xFFFE, 0xE000)
_ITEM_HEADER_BYTES: Final = 8
_U32: Final = struct.Struct("<I")
_U16: Final = struct.Struct("<H")

_WANTED: Final = frozenset(
    {SPECIFIC_CHARACTER_SET} | {key.tag for keys in RECORDS.values() for key in keys}
) | frozenset(tag for keys in RECORDS.values() for key in keys for tag in key.instead)

#: A value field in little endian, and its VR, by tag.
Fields = dict[int, tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory has to know of one file."""

    file_id: str
    """Components of up to eight upper-case letters, digits and underscores, ``\\`` between."""
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    patient: str
    study: str
    series: str
    """Whatever tells the patients, studies and series of a file set apart."""
    head: bytes
    """The data set, inflated, or as much of it as holds the keys."""


@dataclass(slots=True)
class _Record:
    kind: str
    fields: Fields
    below: "list[_Record]" = field(default_factory=list)
    offset: int = 0


class Directory:
    """Records of a file set, by patient, study and series.

    Parameters
    ----------
    file_set_id
        Up to sixteen upper-case letters, digits and underscores.
    sop_instance_uid
        Of the DICOMDIR itself.
    extended
        Say what a series is, which no standard profile asks for.
    """

    def __init__(self, file_set_id: str, sop_instance_uid: str, *, extended: bool = False) -> None:
        self._file_set_id = file_set_id
        self._sop_instance_uid = sop_instance_uid
        self._extended = extended
        self._patients: list[_Record] = []
        self._known: dict[tuple[str, ...], _Record] = {}

    def add(self, entry: Entry) -> None:
        """Add the records of an instance, and of what contains it unless they are there."""
        view = memoryview(entry.head)
        encoding = encoding_of(view, entry.transfer_syntax_uid)
        elements = read_elements(view, encoding, _WANTED)
        series = self._series(entry, elements)
        kind = record_type(entry.sop_class_uid)
        fields = {
            _FILE_ID: ("CS", entry.file_id.encode("ascii")),
            _CLASS: ("UI", entry.sop_class_uid.encode("ascii", "replace")),
            _INSTANCE: ("UI", entry.sop_instance_uid.encode("ascii", "replace")),
            _SYNTAX: ("UI", entry.transfer_syntax_uid.encode("ascii", "replace")),
            **_fields(kind, elements, len(series.below) + 1, entry.sop_class_uid),
        }
        series.below.append(_Record(kind, fields))

    def _series(self, entry: Entry, elements: Elements) -> _Record:
        """Return the record of the instance's series, made with those above it if need be."""
        siblings = self._patients
        key: tuple[str, ...] = ()
        record: _Record | None = None
        for kind, name in (
            ("PATIENT", entry.patient),
            ("STUDY", entry.study),
            ("SERIES", entry.series),
        ):
            key = (*key, name)
            record = self._known.get(key)
            if record is None:
                extended = kind == "SERIES" and self._extended
                record_fields = _fields(
                    "SERIES+" if extended else kind, elements, len(siblings) + 1
                )
                record = self._known[key] = _Record(kind, record_fields)
                siblings.append(record)
            siblings = record.below
        assert record is not None
        return record

    def encoded(self) -> bytes:
        """Return the DICOMDIR as a file, Explicit VR Little Endian (PS3.10 8.6)."""
        meta = file_meta(
            _MEDIA_STORAGE_DIRECTORY, self._sop_instance_uid, EXPLICIT_VR_LITTLE_ENDIAN
        )
        in_front = len(meta) + sum(map(len, self._about(0, 0))) + 12
        end = self._place(in_front)
        first = self._patients[0].offset if self._patients else 0
        last = self._patients[-1].offset if self._patients else 0
        header = SHORT_HEADER.pack(_SEQUENCE >> 16, _SEQUENCE & 0xFFFF, b"SQ", 0)
        return b"".join(
            (
                meta,
                *self._about(first, last),
                header + LONG_LENGTH.pack(end - in_front),
                *_written(self._patients),
            )
        )

    def _about(self, first: int, last: int) -> tuple[bytes, ...]:
        """Return the elements in front of the records."""
        return (
            _element(_SET_ID, "CS", self._file_set_id.encode("ascii")),
            _element(_FIRST, "UL", _U32.pack(first)),
            _element(_LAST, "UL", _U32.pack(last)),
            _element(_CONSISTENT, "US", _U16.pack(0)),
        )

    def _place(self, position: int) -> int:
        """Give every record its offset from `position` on; return where the last one ends."""
        for record in _walked(self._patients):
            record.offset = position
            position += _ITEM_HEADER_BYTES + len(_body(record, 0))
        return position


def _walked(records: list[_Record]) -> Iterator[_Record]:
    for record in records:
        yield record
        yield from _walked(record.below)


def _written(records: list[_Record]) -> Iterator[bytes]:
    for place, record in enumerate(records):
        following = records[place + 1].offset if place + 1 < len(records) else 0
        body = _body(record, following)
        yield IMPLICIT_HEADER.pack(*_ITEM, len(body)) + body
        yield from _written(record.below)


def _body(record: _Record, following: int) -> bytes:
    fields: Fields = {
        _NEXT: ("UL", _U32.pack(following)),
        _USED: ("US", _U16.pack(_IN_USE)),
        _LOWER: ("UL", _U32.pack(record.below[0].offset if record.below else 0)),
        _TYPE: ("CS", record.kind.encode("ascii")),
        **record.fields,
    }
    return _elements(fields)


def _elements(fields: Mapping[int, tuple[str, bytes]]) -> bytes:
    return b"".join(_element(tag, *fields[tag]) for tag in sorted(fields))


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in {"UI", "OB"} else b" "
    letters = vr.encode()
    if LENGTH_BYTES[letters] == 2:
        return SHORT_HEADER.pack(tag >> 16, tag & 0xFFFF, letters, len(value)) + value
    header = SHORT_HEADER.pack(tag >> 16, tag & 0xFFFF, letters, 0)
    return header + LONG_LENGTH.pack(len(value)) + value


def _fields(kind: str, elements: Elements, number: int, sop_class_uid: str = "") -> Fields:
    """Return the keys of a record, those that must have a value with one at all events."""
    made = {
        "number": str(number),
        "nobody": f"NOID{number}",
        "mime": mime_type(sop_class_uid),
    }
    fields: Fields = {}
    texts = False
    for key in RECORDS[kind]:
        value = _value(elements, key)
        if not value.strip(b" \0") and key.vr != "SQ":
            value = made.get(key.otherwise, key.otherwise).encode("ascii")
        if value or not key.optional:
            fields[key.tag] = (key.vr, value)
        texts = texts or not value.isascii() or b"\x1b" in value
    character_set = elements.get(SPECIFIC_CHARACTER_SET)
    if character_set is not None and (texts or kind in {"PATIENT", "STUDY"}):
        fields[SPECIFIC_CHARACTER_SET] = ("CS", bytes(character_set.data))
    return fields


def _value(elements: Elements, key: Key) -> bytes:
    """Return the value of a key, or of what stands in for it; nothing without one."""
    if key.vr == "SQ":
        return b"".join(map(_code, elements.items(key.tag, frozenset(CODES))[:1]))
    for tag in (key.tag, *key.instead):
        element = elements.get(tag)
        if element is not None and element.data.nbytes:
            data = bytes(element.data)
            return data if element.encoding.little_endian else swapped(key.vr, data)
    return b""


def _code(item: Elements) -> bytes:
    """Return an item of a code sequence with what identifies the code (PS3.3 8.8)."""
    fields: Fields = {}
    for tag, vr in CODES.items():
        element = item.get(tag)
        if element is not None:
            fields[tag] = (vr, bytes(element.data))
    body = _elements(fields)
    return IMPLICIT_HEADER.pack(*_ITEM, len(body)) + body
