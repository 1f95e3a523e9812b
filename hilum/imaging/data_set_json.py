"""A whole data set in the DICOM JSON model (PS3.18 F), straight from its bytes.

One loop over the elements in front of the pixel data and behind them writes JSON as it goes:
no object is made for an element, and what the instances of a series have in common is
converted once. Values too long for metadata are not read at all, but named by a Bulk Data
URI. What the fast way does not take for granted goes to pydicom, element by element.

The text has `BASE`, a byte that JSON cannot contain, wherever the address of the instance
belongs, so that it can be kept and sent under any address.
"""

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import orjson
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from hilum.core.errors import NotDicom
from hilum.core.instance import PixelData
from hilum.imaging.careful_scan import (
    PYDICOM_ERRORS,
    bytes_of,
    codecs_of,
    read_carefully,
)
from hilum.imaging.charset import DEFAULT_CODECS, codecs_for, quietly
from hilum.imaging.dicom_json import Codecs, element
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    HEADER_BYTES,
    IMPLICIT_HEADER,
    IMPLICIT_VR_LITTLE_ENDIAN,
    ITEM,
    LENGTH_BYTES,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    UNDEFINED,
    Unusual,
    Window,
    skip_sequence,
)
from hilum.imaging.reader import Reader
from hilum.imaging.scan import PIXEL_DATA_TAGS, SPECIFIC_CHARACTER_SET, PixelElement

#: Stands for the address of the instance in front of ``/bulkdata/…``.
BASE: Final = b"\x01"

#: Binary values up to here are given inline, in base 64.
INLINE_LIMIT_BYTES: Final = 1 << 10
#: Text and numbers up to here are given as they are.
VALUE_LIMIT_BYTES: Final = 64 << 10
#: VRs, as explicit and implicit encodings have them, that do not tell what a value is.
_UNTOLD: Final = frozenset({b"", b"UN"})
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
#: VRs whose values may be bulk data (PS3.18 F.2.2); no others grow that long.
_MAY_BE_BULK: Final = _BINARY | frozenset(
    {"DS", "FD", "FL", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV"}
)
#: Of all sequences of a data set together: their JSON takes several times as much.
_SEQUENCES_LIMIT_BYTES: Final = 64 << 20
#: The same where pydicom reads them: an item costs it twenty times the time and memory.
_CAREFUL_SEQUENCES_LIMIT_BYTES: Final = 4 << 20
_DEPTH: Final = 32

_PIXEL_REPRESENTATION: Final = 0x00280103
_UTF8: Final = b'"00080005":{"vr":"CS","Value":["ISO_IR 192"]}'
# What is short is mostly the same in the next instance. Nobody changes what is kept.
_SHARED_VALUE_BYTES: Final = 64
_SHARED_SEQUENCE_BYTES: Final = 512

_short_header: Final = SHORT_HEADER.unpack_from
_implicit_header: Final = IMPLICIT_HEADER.unpack_from
_long_length: Final = LONG_LENGTH.unpack_from
_length_bytes: Final = LENGTH_BYTES.get


def data_set_json(
    reader: Reader,
    data_set_offset: int,
    transfer_syntax_uid: str,
    pixel_data: PixelData | None,
) -> bytes:
    """Return the data set of a stored file as one JSON object, UTF-8.

    Parameters
    ----------
    reader
        From `open_reader`.
    data_set_offset, transfer_syntax_uid, pixel_data
        As `read_header` has them.

    Raises
    ------
    NotDicom
        The bytes are no data set.
    Corrupt
        A deflated data set is damaged.

    Notes
    -----
    Group lengths are left out (PS3.18 F.2.2). Text is Unicode, so Specific Character Set is
    ISO_IR 192, once. Available Transfer Syntax UID (0008,3002) is that of the file.
    """
    explicit = transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
    little_endian = transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN
    text = _Text(reader, explicit, pixel_data)
    usual = little_endian and explicit == (reader.read_at(data_set_offset + 4, 2) in LENGTH_BYTES)
    if usual:
        try:
            text.add(data_set_offset)
        except Unusual:
            text = _Text(reader, explicit, pixel_data)
            usual = False
    if not usual:
        text.add_carefully(data_set_offset, little_endian)
    return text.finished(transfer_syntax_uid)


class _Text:
    """The members of one JSON object, as they are found."""

    def __init__(self, reader: Reader, explicit: bool, pixel_data: PixelData | None) -> None:
        self._reader = reader
        self._explicit = explicit
        self._pixel_data = pixel_data
        self._codecs: Codecs = DEFAULT_CODECS
        self._signed = False
        self._creators: dict[int, str] = {}
        self._members: list[bytes] = []
        self._sequences_left = _SEQUENCES_LIMIT_BYTES

    def finished(self, transfer_syntax_uid: str) -> bytes:
        """Return the object, with the two members that every one has, in the order of tags."""
        syntax = b'"00083002":{"vr":"UI","Value":[%b]}' % orjson.dumps(transfer_syntax_uid)
        members = self._members
        for member in (_UTF8, syntax):
            place = bisect_left(members, member[:10])
            told = place < len(members) and members[place].startswith(member[:10])
            members[place : place + told] = [member]
        return b"{%b}" % b",".join(members)

    def add(self, start: int) -> None:
        """Add what lies in front of the pixel data, the pixel data, and what lies behind."""
        behind = self._add_plainly(start)
        if behind is None:
            return
        count = len(self._members)
        try:
            self._add_plainly(behind)
        except Unusual:
            # Nobody has looked there before: padding of all kinds, in all kinds of files.
            del self._members[count:]

    # One loop, because a call an element would double its time.
    def _add_plainly(self, start: int) -> int | None:  # noqa: C901, PLR0912, PLR0915
        """Add elements from `start` up to the pixel data or the end.

        Returns
        -------
        int or None
            Where the pixel data ends, if there is any.
        """
        reader, explicit, members = self._reader, self._explicit, self._members
        creators, pixel_data = self._creators, self._pixel_data
        window = Window(reader, start)
        buffer, end, position, last = window.buffer, window.end, 0, 0
        while True:
            if position > end - HEADER_BYTES:
                if window.final:
                    if position == end:
                        return None
                    if position + 8 > end:
                        raise Unusual("bytes behind the last element")
                else:
                    window.move(position)
                    position, buffer, end = 0, window.buffer, window.end
                    continue
            if explicit:
                group, number, letters, length = _short_header(buffer, position)
                value = position + 8
                width = _length_bytes(letters)
                if width == 4:
                    (length,) = _long_length(buffer, value)
                    value += 4
                elif width is None:
                    raise Unusual("an unknown VR")
            else:
                group, number, length = _implicit_header(buffer, position)
                value = position + 8
                letters = b""
            tag = group << 16 | number
            if letters in _UNTOLD:
                creator = creators.get(tag >> 8) if group & 1 else None
                vr = known_vr(tag, self._signed, creator)
            else:
                vr = letters.decode()
            if tag <= last:
                raise Unusual("tags out of order")
            last = tag
            if (
                group == 0x7FE0
                and tag in PIXEL_DATA_TAGS
                and (pixel_data is None or pixel_data.tag == tag)
            ):
                members.append(_bulk(tag, vr, f"{tag:08X}") if length else _empty(tag, vr))
                if pixel_data is None:
                    return None
                behind = pixel_data.offset + pixel_data.length
                if length == UNDEFINED:
                    delimiter = reader.read_at(behind, 8)
                    behind += 8 if delimiter == b"\xfe\xff\xdd\xe0\0\0\0\0" else 0
                return behind
            if length == UNDEFINED:
                if explicit and letters not in {b"SQ", b"UN"}:
                    raise Unusual("an undefined length of no sequence")
                inner = explicit and letters != b"UN"
                first = window.base + value
                position = skip_sequence(window, value, explicit=inner)
                buffer, end = window.buffer, window.end
                length = window.base + position - 8 - first
                members.append(self._sequence(tag, first, length, inner))
                continue
            following = value + length
            if vr == "SQ":
                inner = explicit and letters != b"UN"
                if following <= end:
                    members.append(self._items(tag, buffer[value:following], inner))
                else:
                    members.append(self._sequence(tag, window.base + value, length, inner))
            elif number == 0:
                pass  # a group length
            elif length > INLINE_LIMIT_BYTES and is_bulk(vr, length):
                members.append(_bulk(tag, vr, f"{tag:08X}"))
            else:
                if following > end:
                    if window.final:
                        raise Unusual("a value runs past the end of the file")
                    window.move(position, following - position + HEADER_BYTES)
                    position, buffer, end = 0, window.buffer, window.end
                    last = tag - 1
                    continue
                raw = buffer[value:following]
                if tag == SPECIFIC_CHARACTER_SET:
                    self._codecs = codecs_for(raw)
                elif tag == _PIXEL_REPRESENTATION:
                    self._signed = raw[:1] == b"\1"
                elif group & 1 and 0x10 <= number <= 0xFF:
                    creators[group << 8 | number] = _creator(raw)
                write = _shared_member if length <= _SHARED_VALUE_BYTES else _member
                members.append(write(tag, vr, raw, self._codecs))
            position = following

    def _sequence(self, tag: int, offset: int, length: int, explicit: bool) -> bytes:
        if length > self._sequences_left:
            raise NotDicom("its sequences are longer than any metadata")
        raw = self._reader.read_at(offset, length)
        if len(raw) < length:
            raise Unusual("a sequence runs past the end of the file")
        return self._items(tag, raw, explicit)

    def _items(self, tag: int, raw: bytes, explicit: bool) -> bytes:
        self._sequences_left -= len(raw)
        return _sequence_member(tag, raw, self._codecs, explicit, self._signed, 0, "")

    def add_carefully(self, start: int, little_endian: bool) -> None:
        """Add the same, for whatever pydicom can make sense of."""
        pixels = self._add_by_pydicom(start, little_endian)
        if pixels is None:
            return
        vr = self._reader.read_at(pixels.offset - 8, 2) if self._explicit else b""
        encapsulated = pixels.length == UNDEFINED
        if vr not in LENGTH_BYTES:
            vr = b"OB" if encapsulated else known_vr(pixels.tag, False).encode()
        member = _bulk(pixels.tag, vr.decode(), f"{pixels.tag:08X}")
        self._members.append(member if pixels.length else _empty(pixels.tag, vr.decode()))
        if encapsulated:
            return
        count = len(self._members)
        try:
            self._add_by_pydicom(pixels.offset + pixels.length, little_endian)
        except NotDicom:
            del self._members[count:]

    def _add_by_pydicom(self, start: int, little_endian: bool) -> PixelElement | None:
        with quietly():
            data_set, pixels = read_carefully(
                self._reader, start, explicit=self._explicit, little_endian=little_endian
            )
            try:
                self._members += _careful_members(data_set, DEFAULT_CODECS, 0, "", _Allowance())
            except PYDICOM_ERRORS as error:
                raise NotDicom(f"an element cannot be read: {type(error).__name__}") from error
        return pixels


def is_bulk(vr: str, length: int) -> bool:
    """Return whether a value of `length` bytes is bulk data rather than part of metadata."""
    if length <= INLINE_LIMIT_BYTES:
        return False
    return vr in _BINARY or (length > VALUE_LIMIT_BYTES and vr in _MAY_BE_BULK)


@lru_cache(maxsize=4096)
def known_vr(tag: int, signed: bool, creator: str | None = None) -> str:
    """Return the VR of an element whose encoding does not tell it; UN if nobody knows.

    Parameters
    ----------
    tag
        Of the element.
    signed
        Whether Pixel Representation says so: some attributes follow it (PS3.5 A.1).
    creator
        Who has reserved the block that a private element is in.
    """
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    try:
        if tag >> 16 & 1:
            vr = private_dictionary_VR(tag, creator) if creator else "UN"
        else:
            vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if vr == "US or SS":
        return "SS" if signed else "US"
    return vr if len(vr) == 2 else "OW"


def _creator(raw: bytes) -> str:
    return raw.decode("latin-1").strip(" \0")


def _member(tag: int, vr: str, raw: bytes, codecs: Codecs) -> bytes:
    return b'"%08X":%b' % (tag, orjson.dumps(element(vr, raw, codecs)))


_shared_member: Final = lru_cache(maxsize=8192)(_member)


@lru_cache(maxsize=1024)
def _empty(tag: int, vr: str) -> bytes:
    return b'"%08X":{"vr":"%b"}' % (tag, vr.encode())


def _bulk(tag: int, vr: str, path: str) -> bytes:
    address = b"%b/bulkdata/%b" % (BASE, path.encode())
    return b'"%08X":{"vr":"%b","BulkDataURI":"%b"}' % (tag, vr.encode(), address)


def _sequence_member(
    tag: int, raw: bytes, codecs: Codecs, explicit: bool, signed: bool, depth: int, path: str
) -> bytes:
    if len(raw) <= _SHARED_SEQUENCE_BYTES:
        # Too short for bulk data, which alone depends on the path.
        return _shared_sequence(tag, raw, codecs, explicit, signed, depth)
    path = f"{path}{tag:08X}/"
    items, _ = _sequence_items(raw, 0, len(raw), codecs, explicit, signed, depth, path)
    return _of_items(tag, items)


@lru_cache(maxsize=2048)
def _shared_sequence(
    tag: int, raw: bytes, codecs: Codecs, explicit: bool, signed: bool, depth: int
) -> bytes:
    items, _ = _sequence_items(raw, 0, len(raw), codecs, explicit, signed, depth, "")
    return _of_items(tag, items)


def _of_items(tag: int, items: list[bytes]) -> bytes:
    if not items:
        return _empty(tag, "SQ")
    return b'"%08X":{"vr":"SQ","Value":[%b]}' % (tag, b",".join(items))


def _sequence_items(
    raw: bytes,
    position: int,
    end: int,
    codecs: Codecs,
    explicit: bool,
    signed: bool,
    depth: int,
    path: str,
) -> tuple[list[bytes], int]:
    """Return the items from `position` up to `end` or the delimiter, and where that was."""
    if depth > _DEPTH:
        raise Unusual("sequences nested too deeply")
    items: list[bytes] = []
    while position < end:
        if position + 8 > end:
            raise Unusual("an item's header is cut short")
        group, number, length = _implicit_header(raw, position)
        tag = group << 16 | number
        position += 8
        if tag == SEQUENCE_END:
            return items, position
        if tag != ITEM:
            raise Unusual("no item where one should be")
        stop = end if length == UNDEFINED else position + length
        if stop > end:
            raise Unusual("an item runs past its sequence")
        inside = f"{path}{len(items) + 1}/" if path else ""
        item, position = _item(raw, position, stop, codecs, explicit, signed, depth, inside)
        items.append(item)
    return items, position


def _item(  # noqa: C901, PLR0912, PLR0915 - one loop, as above
    raw: bytes,
    position: int,
    end: int,
    codecs: Codecs,
    explicit: bool,
    signed: bool,
    depth: int,
    path: str,
) -> tuple[bytes, int]:
    members: list[bytes] = []
    creators: dict[int, str] = {}
    last = 0
    while position < end:
        if position + 8 > end:
            raise Unusual("an element's header is cut short")
        letters = raw[position + 4 : position + 6]
        width = _length_bytes(letters) if explicit else None
        if width == 2:
            group, number, letters, length = _short_header(raw, position)
            position += 8
        elif width == 4 and position + HEADER_BYTES <= end:
            group, number, letters, length = _short_header(raw, position)
            (length,) = _long_length(raw, position + 8)
            position += 12
        else:
            group, number, length = _implicit_header(raw, position)
            position += 8
            if group == 0xFFFE and number == 0xE00D:
                break
            if explicit:
                raise Unusual("an unknown VR")
            letters = b""
        tag = group << 16 | number
        if tag <= last:
            raise Unusual("tags out of order")
        last = tag
        if letters in _UNTOLD:
            creator = creators.get(tag >> 8) if group & 1 else None
            vr = known_vr(tag, signed, creator)
        else:
            vr = letters.decode()
        inner = explicit and letters != b"UN"
        if length == UNDEFINED:
            if letters not in {b"SQ", b"UN", b""}:
                raise Unusual("an undefined length of no sequence")
            nested = f"{path}{tag:08X}/" if path else ""
            items, position = _sequence_items(
                raw, position, end, codecs, inner, signed, depth + 1, nested
            )
            members.append(_of_items(tag, items))
            continue
        following = position + length
        if following > end:
            raise Unusual("an element runs past its item")
        if vr == "SQ":
            value = raw[position:following]
            members.append(_sequence_member(tag, value, codecs, inner, signed, depth + 1, path))
        elif number == 0:
            pass
        elif tag == SPECIFIC_CHARACTER_SET:
            codecs = codecs_for(raw[position:following])
        elif length > INLINE_LIMIT_BYTES and is_bulk(vr, length):
            members.append(_bulk(tag, vr, f"{path}{tag:08X}"))
        else:
            value = raw[position:following]
            if group & 1 and 0x10 <= number <= 0xFF:
                creators[group << 8 | number] = _creator(value)
            write = _shared_member if length <= _SHARED_VALUE_BYTES else _member
            members.append(write(tag, vr, value, codecs))
        position = following
    return b"{%b}" % b",".join(members), position


class _Allowance:
    """The bytes of sequences that pydicom may still be asked to read."""

    def __init__(self) -> None:
        self._bytes_left = _CAREFUL_SEQUENCES_LIMIT_BYTES

    def spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise NotDicom("its sequences are longer than any metadata")


def _careful_members(
    data_set: Dataset,
    codecs: Codecs,
    depth: int,
    path: str,
    allowance: _Allowance,
    *,
    signed: bool = False,
) -> Iterator[bytes]:
    """Yield the elements of a data set or an item that pydicom has read."""
    if depth > _DEPTH:
        raise NotDicom("sequences nested too deeply")
    codecs = codecs_of(data_set, codecs)
    # All before any sequence is read: pydicom then converts what it needs for that.
    elements: list[tuple[BaseTag, RawDataElement | DataElement]] = [
        (tag, data_set.get_item(tag, keep_deferred=True)) for tag in sorted(data_set.keys())
    ]
    creators: dict[int, str] = {}
    for tag, found in elements:
        if tag.element == 0 or tag == SPECIFIC_CHARACTER_SET:
            continue
        raw = bytes_of(found) if isinstance(found, RawDataElement) else b""
        if tag.is_private_creator:
            creators[tag >> 8 & 0xFFFF00 | tag.element] = _creator(raw)
        if tag == _PIXEL_REPRESENTATION:
            signed = (raw[:1] == b"\1") if raw else found.value == 1
        vr = str(found.VR)
        if vr in {"None", "UN"}:
            vr = known_vr(tag, signed, creators.get(tag >> 8))
        if vr == "SQ":
            if depth == 0:
                allowance.spend(len(raw))
            inside = f"{path}{tag:08X}/"
            items = _careful_items(data_set, tag, codecs, depth, inside, allowance, signed)
            if items is not None:
                yield _of_items(tag, items)
                continue
            vr = "UN"  # no items: the bytes it has
        if isinstance(found, DataElement) and not found.is_empty:
            yield b'"%08X":%b' % (tag, orjson.dumps(found.to_json_dict(None, 0)))
        elif is_bulk(vr, len(raw)):
            yield _bulk(tag, vr, f"{path}{tag:08X}")
        else:
            yield _member(tag, vr, raw, codecs)


def _careful_items(
    data_set: Dataset,
    tag: int,
    codecs: Codecs,
    depth: int,
    path: str,
    allowance: _Allowance,
    signed: bool,
) -> list[bytes] | None:
    """Return the items of a sequence; None if it cannot be read as one."""
    try:
        return [
            b"{%b}"
            % b",".join(
                _careful_members(
                    item, codecs, depth + 1, f"{path}{place}/", allowance, signed=signed
                )
            )
            for place, item in enumerate(data_set[tag].value or [], 1)
        ]
    except PYDICOM_ERRORS:
        return None
