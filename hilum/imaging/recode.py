"""Data elements from one encoding into another (PS3.5 7, A.1 to A.3), value by value.

A value's bytes stay as they are but for their order; nothing is parsed that need not be,
so that malformed values survive as well as sound ones. Values pass in chunks, whatever
their size. Sequences come out with undefined lengths, group lengths not at all.
"""

import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom.datadict import dictionary_VR

from hilum.core.errors import Corrupt
from hilum.imaging.dicom_json import WORD_BYTES
from hilum.imaging.elements import Encoding
from hilum.imaging.encoding import (
    HEADER_BYTES,
    IMPLICIT_HEADER,
    ITEM,
    ITEM_END,
    LENGTH_BYTES,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    UNDEFINED,
)
from hilum.imaging.reader import Reader
from hilum.imaging.scan import PIXEL_DATA, PIXEL_DATA_TAGS

_BLOCK_BYTES: Final = 64 << 10
_CHUNK_BYTES: Final = 1 << 20
_DEPTH: Final = 64
_PIXEL_REPRESENTATION: Final = 0x00280103
_WORDS: Final = {2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the source: what it is, and where its value lies."""

    tag: int
    vr: str
    """Empty where the encoding does not tell."""
    offset: int
    length: int


@dataclass(slots=True)
class _Scope:
    """A data set or item: how it is written, and what ambiguous VRs in it depend on."""

    encoding: Encoding
    signed: bool = False
    depth: int = 0


class Recoder:
    """Writes elements of one file into another, little endian.

    Parameters
    ----------
    reader
        The source.
    out
        Takes the elements and nothing else.
    source
        How the source's data set is encoded.
    explicit
        Whether the target states VRs.
    """

    def __init__(self, reader: Reader, out: BinaryIO, source: Encoding, *, explicit: bool) -> None:
        self._reader = reader
        self._out = out
        self._explicit = explicit
        self._scope = _Scope(source)
        self._block = b""
        self._block_offset = 0

    def elements(self, offset: int, changes: Mapping[int, bytes | None]) -> Element | None:
        """Write the elements from `offset` up to the pixel data or the end.

        Parameters
        ----------
        offset
            Of the first element in the source.
        changes
            By tag, a value to write instead of the source's or beside it, or None to
            leave an element out.

        Returns
        -------
        Element or None
            The pixel data element, of which nothing is written yet; None at the end.

        Raises
        ------
        Corrupt
            The source's elements cannot be read to their end.
        """
        pending = sorted(changes.items(), reverse=True)
        end = self._reader.size
        pixels = None
        while end - offset >= 8:  # less is padding
            element = self._read(offset, end, self._scope.encoding)
            if element.tag in PIXEL_DATA_TAGS:
                pixels = element
                break
            while pending and pending[-1][0] < element.tag:
                self._write_change(*pending.pop())
            if pending and pending[-1][0] == element.tag:
                self._write_change(*pending.pop())
                offset = element.offset + element.length
            else:
                offset = self._write(element, end, self._scope)
        while pending:
            self._write_change(*pending.pop())
        return pixels

    def write_header(self, tag: int, vr: str, length: int) -> None:
        """Write an element's header in the target's encoding."""
        group, number = tag >> 16, tag & 0xFFFF
        letters = vr.encode()
        if not self._explicit:
            self._out.write(IMPLICIT_HEADER.pack(group, number, length))
        elif LENGTH_BYTES[letters] == 2 and length <= 0xFFFF:
            self._out.write(SHORT_HEADER.pack(group, number, letters, length))
        else:
            # What is too long for its VR's length field is UN (PS3.5 6.2.2, note 1).
            letters = letters if LENGTH_BYTES[letters] == 4 else b"UN"
            self._out.write(SHORT_HEADER.pack(group, number, letters, 0))
            self._out.write(LONG_LENGTH.pack(length))

    def write(self, data: bytes) -> None:
        """Write bytes of a value."""
        self._out.write(data)

    def rest(self, offset: int) -> None:
        """Write the elements behind the pixel data, as far as there are any.

        Files end in all manner of padding: what makes no sense there is left out.
        """
        behind_last = self._out.tell()
        end = self._reader.size
        try:
            while offset < end:
                element = self._read(offset, end, self._scope.encoding)
                if element.tag <= PIXEL_DATA:
                    break
                offset = self._write(element, end, self._scope)
                behind_last = self._out.tell()
        except Corrupt:
            self._out.seek(behind_last)
            self._out.truncate()

    def copy(self, offset: int, length: int, word_bytes: int = 1) -> None:
        """Write a value of the source, its words turned round if they have several bytes."""
        while length:
            chunk = self._reader.read_at(offset, min(length, _CHUNK_BYTES))
            if not chunk:
                raise Corrupt(f"a value ends {length} bytes early")
            offset += len(chunk)
            length -= len(chunk)
            self._out.write(_turned(chunk, word_bytes))

    def _write_change(self, tag: int, value: bytes | None) -> None:
        if value is not None:
            value += (b"\0" if self._vr(tag) in {"UI", "OB"} else b" ") * (len(value) % 2)
            self.write_header(tag, self._vr(tag), len(value))
            self._out.write(value)

    def _read(self, offset: int, end: int, encoding: Encoding) -> Element:
        """Return the element whose header lies at `offset`."""
        header = self._peek(offset)
        order = encoding.order
        group, number, length = struct.unpack_from(f"{order}HHI", header)
        tag = group << 16 | number
        vr = ""
        value = offset + 8
        if encoding.explicit and group != 0xFFFE:
            letters = header[4:6]
            width = LENGTH_BYTES.get(letters)
            if width is None:
                raise Corrupt(f"({group:04X},{number:04X}) has an unknown VR")
            vr = letters.decode()
            if width == 2:
                (length,) = struct.unpack_from(f"{order}H", header, 6)
            else:
                (length,) = struct.unpack_from(f"{order}I", header, 8)
                value += 4
        if value > end or (length != UNDEFINED and value + length > end):
            raise Corrupt(f"({group:04X},{number:04X}) runs past the end")
        return Element(tag, vr, value, length)

    def _peek(self, offset: int) -> bytes:
        """Return the bytes an element header at `offset` may have, zeros behind the end."""
        first = offset - self._block_offset
        if first < 0 or first + HEADER_BYTES > len(self._block):
            self._block = self._reader.read_at(offset, _BLOCK_BYTES).ljust(HEADER_BYTES, b"\0")
            self._block_offset = offset
            first = 0
        return self._block[first : first + HEADER_BYTES]

    def _write(self, element: Element, end: int, scope: _Scope) -> int:
        """Write one element, and return the offset behind it in the source."""
        if element.tag >> 16 == 0xFFFE:
            raise Corrupt("a delimiter where none should be")
        vr = element.vr or self._vr(element.tag, signed=scope.signed)
        undefined = element.length == UNDEFINED
        if undefined or vr == "SQ":
            # UN of undefined length holds items in implicit VR (PS3.5 6.2.2, note 4).
            encoding = Encoding(False, True) if element.vr == "UN" else scope.encoding
            self.write_header(element.tag, "SQ", UNDEFINED)
            limit = end if undefined else element.offset + element.length
            return self._sequence(element.offset, limit, undefined, encoding, scope)
        following = element.offset + element.length
        if element.tag & 0xFFFF == 0:
            return following
        if element.tag == _PIXEL_REPRESENTATION:
            scope.signed = any(self._reader.read_at(element.offset, 2))
        word_bytes = 1 if scope.encoding.little_endian else WORD_BYTES.get(vr, 1)
        self.write_header(element.tag, vr, element.length)
        self.copy(element.offset, element.length, word_bytes)
        return following

    def _sequence(
        self, offset: int, end: int, delimited: bool, encoding: Encoding, outer: _Scope
    ) -> int:
        """Write a sequence's items and its delimiter."""
        if outer.depth >= _DEPTH:
            raise Corrupt("sequences are nested too deeply")
        while offset < end:
            header = self._read(offset, end, Encoding(False, encoding.little_endian))
            offset = header.offset
            if header.tag == SEQUENCE_END and delimited:
                break
            if header.tag != ITEM:
                raise Corrupt("no item where one should be")
            scope = _Scope(encoding, outer.signed, outer.depth + 1)
            self._write_mark(ITEM, UNDEFINED)
            limit = end if header.length == UNDEFINED else offset + header.length
            offset = self._item(offset, limit, header.length == UNDEFINED, scope)
            self._write_mark(ITEM_END)
        else:
            if delimited:
                raise Corrupt("a sequence runs past the end")
        self._write_mark(SEQUENCE_END)
        return offset

    def _item(self, offset: int, end: int, delimited: bool, scope: _Scope) -> int:
        while offset < end:
            element = self._read(offset, end, scope.encoding)
            if element.tag == ITEM_END and delimited:
                return element.offset
            offset = self._write(element, end, scope)
        if delimited:
            raise Corrupt("an item runs past the end")
        return offset

    def _write_mark(self, tag: int, length: int = 0) -> None:
        self._out.write(IMPLICIT_HEADER.pack(tag >> 16, tag & 0xFFFF, length))

    @staticmethod
    def _vr(tag: int, *, signed: bool = False) -> str:
        """Return the VR of a tag by the dictionary.

        Which of several an element has depends on others (PS3.5 A.1, PS3.6 6 note 3).
        Look-up table data is OW here, for US cannot hold the longest. Private elements
        are UN, their creators excepted: no guessing (PS3.5 6.2.2, 7.8.1).
        """
        if (tag >> 16) % 2:
            return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            return "UL" if tag & 0xFFFF == 0 else "UN"
        if vr == "US or SS":
            return "SS" if signed else "US"
        return "OW" if " or " in vr else vr


def _turned(data: bytes, word_bytes: int) -> bytes:
    """Return words in the other byte order; an incomplete one at the end as it is."""
    if word_bytes == 1:
        return data
    whole = len(data) // word_bytes * word_bytes
    words = array(_WORDS[word_bytes], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]
