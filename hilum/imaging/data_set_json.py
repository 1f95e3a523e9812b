"""A whole data set in the DICOM JSON model (PS3.18 F), straight from its bytes.

One loop over the elements in front of the pixel data and behind them writes JSON as it goes:
no object is made for an element, and what the instances of a series have in common is
converted once. Values too long for metadata are not read at all, but named by a Bulk Data
URI. What the fast way does not take for granted goes to pydicom, element by element.

The text has `BASE`, a byte that JSON cannot contain, wherever the address of the instance
belongs, so that it can be kept and sent under any address.
"""

from bisect import bisect_left
from typing import Final

import orjson

from hilum.core.errors import NotDicom
from hilum.core.instance import PixelData
from hilum.imaging.careful_scan import PYDICOM_ERRORS, read_carefully
from hilum.imaging.charset import DEFAULT_CODECS, codecs_for, quietly
from hilum.imaging.dicom_json import Codecs
from hilum.imaging.encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    HEADER_BYTES,
    IMPLICIT_HEADER,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LENGTH_BYTES,
    LONG_LENGTH,
    SHORT_HEADER,
    STANDARD_LENGTH_BYTES,
    UNDEFINED,
    Unusual,
    Window,
    skip_sequence,
)
from hilum.imaging.json_careful import Allowance, careful_members
from hilum.imaging.json_items import sequence_member
from hilum.imaging.json_members import (
    BASE,
    INLINE_LIMIT_BYTES,
    SHARED_VALUE_BYTES,
    UNTOLD,
    bulk,
    creator_of,
    empty,
    is_bulk,
    known_vr,
    member,
    shared_member,
)
from hilum.imaging.reader import Reader
from hilum.imaging.scan import PIXEL_DATA_TAGS, SPECIFIC_CHARACTER_SET, PixelElement

__all__ = ["BASE", "data_set_json"]

#: Of all sequences of a data set together: their JSON takes several times as much.
_SEQUENCES_LIMIT_BYTES: Final = 64 << 20

_PIXEL_REPRESENTATION: Final = 0x00280103
_UTF8: Final = b'"00080005":{"vr":"CS","Value":["ISO_IR 192"]}'

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
        for always in (_UTF8, syntax):
            place = bisect_left(members, always[:10])
            told = place < len(members) and members[place].startswith(always[:10])
            members[place : place + told] = [always]
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
            if letters in UNTOLD:
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
                members.append(bulk(tag, vr, f"{tag:08X}") if length else empty(tag, vr))
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
                members.append(bulk(tag, vr, f"{tag:08X}"))
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
                    creators[group << 8 | number] = creator_of(raw)
                write = shared_member if length <= SHARED_VALUE_BYTES else member
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
        return sequence_member(tag, raw, self._codecs, explicit, self._signed, 0, "")

    def add_carefully(self, start: int, little_endian: bool) -> None:
        """Add the same, for whatever pydicom can make sense of."""
        pixels = self._add_by_pydicom(start, little_endian)
        if pixels is None:
            return
        vr = self._reader.read_at(pixels.offset - 8, 2) if self._explicit else b""
        encapsulated = pixels.length == UNDEFINED
        if vr not in STANDARD_LENGTH_BYTES:
            vr = b"OB" if encapsulated else known_vr(pixels.tag, False).encode()
        address = bulk(pixels.tag, vr.decode(), f"{pixels.tag:08X}")
        self._members.append(address if pixels.length else empty(pixels.tag, vr.decode()))
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
                self._members += careful_members(data_set, DEFAULT_CODECS, 0, "", Allowance())
            except PYDICOM_ERRORS as error:
                raise NotDicom(f"an element cannot be read: {type(error).__name__}") from error
        return pixels
