"""Changes to encapsulated pixel data: items, offset tables, and the code streams in them."""

import struct
from collections.abc import Callable
from random import Random
from typing import Final

from scripts.fuzz.elements import places, put
from scripts.fuzz.mutations import EDGES, Mutation, flip_bits

_ITEM: Final = b"\xfe\xff\0\xe0"
_SOF_MARKERS: Final = (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xF7)
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_EXTENTS: Final = (0, 1, 2, 23, 25, 255, 4096, 16000, 32767, 32768, 65535)
_MOST_ITEMS: Final = 200


def _items(data: bytearray) -> list[tuple[int, int]]:
    """Return where the items of the pixel data begin, and how long they say they are."""
    pixels = next((place for place in reversed(places(data)) if place.tag >> 16 == 0x7FE0), None)
    found: list[tuple[int, int]] = []
    position = pixels.value if pixels else len(data)
    while data[position : position + 4] == _ITEM and len(found) < _MOST_ITEMS:
        if position + 8 > len(data):
            break
        (length,) = struct.unpack_from("<I", data, position + 4)
        found.append((position, length))
        position += 8 + length
    return found


def lie_about_item(random: Random, data: bytearray) -> None:
    """Let a fragment claim another length."""
    if items := _items(data):
        at, length = random.choice(items)
        put(data, at + 4, random.choice((*EDGES, length + 2, length - 2, length + 1)), 4, "<")


def lie_in_offset_table(random: Random, data: bytearray) -> None:
    """Put offsets into the basic offset table that point anywhere, fall, or are too many."""
    if items := _items(data):
        at, length = items[0]
        count = random.choice((0, 1, 2, 3, len(items), len(items) + 1, 5000))
        offsets = [random.choice((*EDGES, random.randrange(4096))) for _ in range(count)]
        if random.random() < 0.3:
            offsets.sort()
        data[at : at + 8 + length] = _ITEM + struct.pack(f"<I{count}I", 4 * count, *offsets)


def reorder_items(random: Random, data: bytearray) -> None:
    """Take a fragment out, repeat it up to a thousand times, or cut it in two."""
    if items := _items(data):
        at, length = random.choice(items)
        item = bytes(data[at : at + 8 + length])
        half = length // 2
        halves = (item[8 : 8 + half], item[8 + half :])
        pieces = b"".join(_ITEM + struct.pack("<I", len(part)) + part for part in halves)
        empty = _ITEM + bytes(4)
        data[at : at + 8 + length] = random.choice(
            (b"", item * 2, item[:2000] * 1000, pieces, empty + item, item + empty * 3000)
        )


def flip_in_fragment(random: Random, data: bytearray) -> None:
    """Turn bits over in a fragment."""
    if items := _items(data):
        at, length = random.choice(items)
        part = data[at + 8 : at + 8 + length]
        flip_bits(random, part)
        data[at + 8 : at + 8 + len(part)] = part


def overwrite_header(random: Random, data: bytearray) -> None:
    """Write numbers at an edge over the first bytes of a code stream, where its header is."""
    if items := _items(data):
        at, length = random.choice(items)
        if length > 8 and at + 8 + length <= len(data):
            for _ in range(random.randint(1, 3)):
                width = random.choice((1, 2, 4))
                position = at + 8 + random.randrange(min(length, 200) - 4)
                put(data, position, random.choice(EDGES), width, random.choice("<>"))


def truncate_fragment(random: Random, data: bytearray) -> None:
    """Shorten a fragment, its length with it: a code stream cut short in sound items."""
    if items := _items(data):
        at, length = random.choice(items)
        kept = random.randrange(length // 2 + 1) * 2
        del data[at + 8 + kept : at + 8 + length]
        put(data, at + 4, kept, 4, "<")


def resize_both(random: Random, data: bytearray) -> None:
    """Let data set and code streams claim the same other size: a bomb that agrees with itself."""
    claim_size(data, random.choice(_EXTENTS), random.choice(_EXTENTS))


def claim_size(data: bytearray, rows: int, columns: int) -> None:
    """Let data set and code streams claim this size."""
    for place in places(data):
        if place.tag in {_ROWS, _COLUMNS}:
            put(data, place.value, rows if place.tag == _ROWS else columns, 2, place.order)
    for at, length in _items(data)[1:]:
        _resize(data, at + 8, min(at + 8 + length, len(data)), rows, columns)


def _resize(data: bytearray, begin: int, end: int, rows: int, columns: int) -> None:
    if data[begin : begin + 4] == b"\xff\x4f\xff\x51" and end - begin > 40:
        # Xsiz, Ysiz of the image; a tile as large (15444-1 A.5.1)
        put(data, begin + 8, columns, 4, ">")
        put(data, begin + 12, rows, 4, ">")
        put(data, begin + 24, columns, 4, ">")
        put(data, begin + 28, rows, 4, ">")
    elif data[begin : begin + 2] == b"\xff\xd8":
        for at in range(begin, min(end, begin + 1000) - 9):
            if data[at] == 0xFF and data[at + 1] in _SOF_MARKERS:
                put(data, at + 5, rows, 2, ">")
                put(data, at + 7, columns, 2, ">")
                return


def change_process(random: Random, data: bytearray) -> None:
    """Let a JPEG code stream be of another process, precision or number of components."""
    for at, length in _items(data)[1:]:
        end = min(at + 8 + length, at + 1000, len(data) - 10)
        for position in range(at + 8, end):
            if data[position] == 0xFF and data[position + 1] in _SOF_MARKERS:
                field, values = random.choice(
                    ((1, _SOF_MARKERS), (4, (1, 2, 8, 12, 16, 255)), (9, (0, 1, 2, 3, 4, 255)))
                )
                data[position + field] = random.choice(values)
                break


_J2K_FIELDS: Final[dict[int, Callable[[Random], int]]] = {
    **dict.fromkeys((8, 12, 16, 20, 24, 28, 32, 36), lambda random: random.choice(EDGES)),
    40: lambda random: random.choice((0, 1, 2, 3, 4, 255, 16384, 65535)),
}


def change_siz(random: Random, data: bytearray) -> None:
    """Change sizes, offsets, tiles, components, precision or sampling of JPEG 2000."""
    for at, length in _items(data)[1:]:
        begin = at + 8
        if data[begin : begin + 4] == b"\xff\x4f\xff\x51" and length > 60:
            field = random.choice((*_J2K_FIELDS, 42, 43, 44))
            if field in _J2K_FIELDS:
                width = 2 if field == 40 else 4
                put(data, begin + field, _J2K_FIELDS[field](random), width, ">")
            else:
                number = random.choice((0, 1, 2, 7, 15, 37, 38, 127, 128, 255))
                put(data, begin + field, number, 1, ">")
            return


def change_cod(random: Random, data: bytearray) -> None:
    """Change levels, layers, code blocks or transforms of JPEG 2000 (15444-1 A.6.1)."""
    for at, length in _items(data)[1:]:
        cod = data.find(b"\xff\x52", at + 8, min(at + 8 + length, at + 500))
        if cod >= 0 and cod + 14 < len(data):
            field = random.randrange(2, 14)
            data[cod + field] = random.choice((0, 1, 2, 5, 8, 10, 32, 33, 64, 127, 128, 255))
            return


def change_rle_header(random: Random, data: bytearray) -> None:
    """Change the number of segments or where one begins (PS3.5 G.5)."""
    for at, length in _items(data)[1:]:
        if length > 64:
            put(data, at + 8 + 4 * random.randrange(6), random.choice((*EDGES, 65, 66)), 4, "<")
            return


STREAMS: Final[tuple[Mutation, ...]] = (
    lie_about_item,
    lie_in_offset_table,
    reorder_items,
    flip_in_fragment,
    flip_in_fragment,
    overwrite_header,
    overwrite_header,
    truncate_fragment,
    resize_both,
    change_process,
    change_siz,
    change_cod,
    change_rle_header,
)
