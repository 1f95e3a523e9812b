"""Sequences as JSON, straight from their bytes: the fast way of `hilum.imaging.data_set_json`.

Whatever is not as it should be is `Unusual`, and left to `hilum.imaging.json_careful`.
"""

from functools import lru_cache
from typing import Final

from hilum.imaging.charset import codecs_for
from hilum.imaging.dicom_json import Codecs
from hilum.imaging.encoding import (
    HEADER_BYTES,
    IMPLICIT_HEADER,
    ITEM,
    LENGTH_BYTES,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    UNDEFINED,
    Unusual,
)
from hilum.imaging.json_members import (
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
from hilum.imaging.scan import SPECIFIC_CHARACTER_SET

#: Of sequences in sequences.
DEPTH: Final = 32
_SHARED_SEQUENCE_BYTES: Final = 512

_short_header: Final = SHORT_HEADER.unpack_from
_implicit_header: Final = IMPLICIT_HEADER.unpack_from
_long_length: Final = LONG_LENGTH.unpack_from
_length_bytes: Final = LENGTH_BYTES.get


def sequence_member(
    tag: int, raw: bytes, codecs: Codecs, explicit: bool, signed: bool, depth: int, path: str
) -> bytes:
    """Return a sequence from the bytes of its items.

    Parameters
    ----------
    depth
        Sequences around it.
    path
        Of what contains it, as Bulk Data URIs name it; ends with a slash, or is empty.

    Raises
    ------
    Unusual
        The bytes are no items, or are nested too deeply.
    """
    if len(raw) <= _SHARED_SEQUENCE_BYTES:
        # Too short for bulk data, which alone depends on the path.
        return _shared_sequence(tag, raw, codecs, explicit, signed, depth)
    path = f"{path}{tag:08X}/"
    items, _ = _sequence_items(raw, 0, len(raw), codecs, explicit, signed, depth, path)
    return of_items(tag, items)


@lru_cache(maxsize=2048)
def _shared_sequence(
    tag: int, raw: bytes, codecs: Codecs, explicit: bool, signed: bool, depth: int
) -> bytes:
    items, _ = _sequence_items(raw, 0, len(raw), codecs, explicit, signed, depth, "")
    return of_items(tag, items)


def of_items(tag: int, items: list[bytes]) -> bytes:
    """Return a sequence from its items, JSON objects already."""
    if not items:
        return empty(tag, "SQ")
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
    if depth > DEPTH:
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


def _item(  # noqa: C901, PLR0912, PLR0915 - one loop: a call an element would double its time
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
        if letters in UNTOLD:
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
            members.append(of_items(tag, items))
            continue
        following = position + length
        if following > end:
            raise Unusual("an element runs past its item")
        if vr == "SQ":
            value = raw[position:following]
            members.append(sequence_member(tag, value, codecs, inner, signed, depth + 1, path))
        elif number == 0:
            pass
        elif tag == SPECIFIC_CHARACTER_SET:
            codecs = codecs_for(raw[position:following])
        elif length > INLINE_LIMIT_BYTES and is_bulk(vr, length):
            members.append(bulk(tag, vr, f"{path}{tag:08X}"))
        else:
            value = raw[position:following]
            if group & 1 and 0x10 <= number <= 0xFF:
                creators[group << 8 | number] = creator_of(value)
            write = shared_member if length <= SHARED_VALUE_BYTES else member
            members.append(write(tag, vr, value, codecs))
        position = following
    return b"{%b}" % b",".join(members), position
