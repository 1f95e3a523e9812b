"""Changes to data elements: lengths, VRs and values that lie, order, nesting, encoding."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from scripts.fuzz.mutations import EDGES, Mutation

_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_VRS: Final = (*sorted(_LONG | _SHORT), b"ZZ", b"\0\0", b"??", b"ox")
_MOST_ELEMENTS: Final = 400
_PREAMBLE: Final = 132
_PIXEL_DATA: Final = 0x7FE00010
_UNDEFINED: Final = 0xFFFFFFFF
_TRANSFER_SYNTAX: Final = 0x00020010
_CHARACTER_SET: Final = 0x00080005

_SYNTAXES: Final = tuple(
    b"1.2.840.10008.1.2" + suffix
    for suffix in b" .1 .2 .1.98 .1.99 .5 .8.1 .9 .4.50 .4.51 .4.53 .4.55 .4.57 .4.70 .4.80 .4.81"
    b" .4.90 .4.91 .4.92 .4.93 .4.95 .4.100 .4.102 .4.110 .4.111 .4.112 .4.201 .4.203".split(b" ")
)
_CHARACTER_SETS: Final = (
    *(b"ISO_IR 192", b"ISO_IR 100", b"ISO_IR 13", b"GB18030", b"GBK", b"ISO_IR 166", b""),
    *(b"\\ISO 2022 IR 87", b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\\ISO 2022 IR 149", b"x\\" * 30),
    *(b"\\ISO 2022 IR 58", b"ISO 2022 IR 6\\ISO 2022 IR 159", b"utf-7", b"rot13", b"idna", b"zip"),
)
# Numbers that describe pixels and tables, and what they may claim.
_WORDS: Final = (0x00280002, 0x00280006, 0x00280010, 0x00280011, 0x00280100, 0x00280101)
_WORDS += (0x00280102, 0x00280103, 0x00281101, 0x00281102, 0x00281103, 0x00283002, 0x00280120)
_WORDS += (0x60000010, 0x60000011, 0x60000050, 0x60000100, 0x60000102)
_WORD_VALUES: Final = (0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 64, 255, 4096, 32768, 65535)
_STRINGS: Final = {
    0x00280008: (b"0", b"-1", b"1", b"2", b"1000000", b"2147483647", b"9" * 16, b"1.5", b"", b"x"),
    0x00280004: tuple(
        b"MONOCHROME1,MONOCHROME2,PALETTE COLOR,RGB,YBR_FULL,YBR_FULL_422,YBR_PARTIAL_420,"
        b"YBR_ICT,YBR_RCT,HSV,ARGB,XYB,".split(b",")
    ),
    0x00281056: (b"SIGMOID", b"LINEAR", b"LINEAR_EXACT", b"CUBIC"),
    0x00080068: (b"FOR PROCESSING", b"FOR PRESENTATION"),
    0x20500020: (b"INVERSE", b"IDENTITY"),
}
_DECIMALS: Final = (0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00181063, 0x00280030)
_DECIMALS += (0x00280034,)
_DECIMAL_VALUES: Final = (b"0", b"-1", b"1", b"0.5", b"1e308", b"-1e308", b"1e-320", b"nan", b"inf")
_DECIMAL_VALUES += (b"1e400", b"-inf", b"1,5", b"1\\2\\3", b"", b"0x10", b"9" * 400, b"\\", b"1_0")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element lies."""

    tag: int
    vr: bytes
    """Empty in implicit VR."""
    header: int
    length_at: int
    length_bytes: int
    value: int
    length: int
    order: str

    @property
    def end(self) -> int:
        """Offset behind the value; of undefined length, behind the header."""
        return self.value + (0 if self.length == _UNDEFINED else self.length)


def places(data: bytearray) -> list[Place]:
    """Return the elements of a file as far as they make sense, those of sequences among them."""
    found = []
    for place in _walk(data):
        found.append(place)
        if len(found) == _MOST_ELEMENTS:
            break
    return found


def _walk(data: bytearray) -> Iterator[Place]:
    position = _PREAMBLE if data[128:132] == b"DICM" else 0
    syntax = b""
    while position + 12 <= len(data):
        order = ">" if syntax == b"1.2.840.10008.1.2.2" else "<"
        if data[position : position + 2] == b"\2\0":
            order = "<"
        place = _place(data, position, order)
        yield place
        if place.tag == _TRANSFER_SYNTAX:
            syntax = bytes(data[place.value : place.end]).strip(b"\0 ")
        if place.tag >> 16 == 0x7FE0 and place.tag & 0xFFFF in {0x08, 0x09, 0x10}:
            return
        group = place.tag >> 16
        inside = group == 0xFFFE or place.vr == b"SQ" or place.length == _UNDEFINED
        position = place.value if inside else place.end


def _place(data: bytearray, position: int, order: str) -> Place:
    group, number = struct.unpack_from(f"{order}HH", data, position)
    tag = group << 16 | number
    letters = bytes(data[position + 4 : position + 6])
    if group != 0xFFFE and letters in _LONG:
        (length,) = struct.unpack_from(f"{order}I", data, position + 8)
        return Place(tag, letters, position, position + 8, 4, position + 12, length, order)
    if group != 0xFFFE and letters in _SHORT:
        (length,) = struct.unpack_from(f"{order}H", data, position + 6)
        return Place(tag, letters, position, position + 6, 2, position + 8, length, order)
    (length,) = struct.unpack_from(f"{order}I", data, position + 4)
    return Place(tag, b"", position, position + 4, 4, position + 8, length, order)


def replace_value(data: bytearray, place: Place, value: bytes) -> None:
    """Give an element another value, and the length of it."""
    value += b" " * (len(value) % 2)
    if len(value) < 1 << 8 * place.length_bytes:
        data[place.value : place.end] = value
        put(data, place.length_at, len(value), place.length_bytes, place.order)


def put(data: bytearray, at: int, number: int, width: int, order: str) -> None:
    """Write an unsigned number over what is there."""
    byteorder = "big" if order == ">" else "little"
    data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, byteorder)


def _any(random: Random, data: bytearray) -> Place | None:
    found = places(data)
    return random.choice(found) if found else None


def lie_about_length(random: Random, data: bytearray) -> None:
    """Let an element claim to be longer, shorter, odd, empty, endless or negative."""
    if place := _any(random, data):
        near = (place.length + 1, place.length - 1, place.length * 2, len(data) - place.value)
        length = random.choice((*EDGES, *near, *near))
        put(data, place.length_at, length, place.length_bytes, place.order)


def change_vr(random: Random, data: bytearray) -> None:
    """Let an element claim another VR."""
    if (place := _any(random, data)) and place.vr:
        data[place.header + 4 : place.header + 6] = random.choice(_VRS)


def change_tag(random: Random, data: bytearray) -> None:
    """Give an element the tag of another, or one of chance."""
    if place := _any(random, data):
        other = _any(random, data) or place
        tag = random.choice((other.tag, place.tag ^ 1 << random.randrange(32), 0xFFFEE00D))
        put(data, place.header, tag >> 16, 2, place.order)
        put(data, place.header + 2, tag, 2, place.order)


def lie_about_pixels(random: Random, data: bytearray) -> None:
    """Change what the header says about rows, columns, bits, frames, colours or tables."""
    found = places(data)
    wanted = [place for place in found if place.tag in _WORDS or place.tag in _STRINGS]
    wanted += [place for place in found if place.tag in _DECIMALS]
    if not wanted:
        return
    place = random.choice(wanted)
    if place.tag in _WORDS:
        at = random.randrange(max(1, place.length // 2)) * 2
        put(data, place.value + at, random.choice(_WORD_VALUES), 2, place.order)
    else:
        replace_value(data, place, random.choice(_STRINGS.get(place.tag, _DECIMAL_VALUES)))


def change_value(random: Random, data: bytearray) -> None:
    """Give an element a value of chance, an empty one, or one that is far too long."""
    if place := _any(random, data):
        other = _any(random, data) or place
        values = (b"", b"\\" * 40, random.randbytes(8), b"\xff" * 8, b"9" * 70000, b"\x1b$B" * 9)
        replace_value(
            data, place, random.choice((*values, bytes(data[other.value : other.end][:70000])))
        )


def duplicate(random: Random, data: bytearray) -> None:
    """Repeat an element, at its place or at another."""
    if place := _any(random, data):
        other = random.choice((place, _any(random, data) or place))
        times = random.choice((1, 1, 3, 500))
        data[other.header : other.header] = bytes(data[place.header : place.end][:4096]) * times


def remove(random: Random, data: bytearray) -> None:
    """Take an element out."""
    if place := _any(random, data):
        del data[place.header : place.end]


def swap(random: Random, data: bytearray) -> None:
    """Let two elements change places."""
    first, second = sorted(
        (place for _ in range(2) if (place := _any(random, data))), key=lambda place: place.header
    ) or (None, None)
    if first and second and first.end <= second.header:
        one = bytes(data[first.header : first.end])
        two = bytes(data[second.header : second.end])
        data[second.header : second.end] = one
        data[first.header : first.end] = two


def nest(random: Random, data: bytearray) -> None:
    """Open sequences within sequences, and close all of them or not."""
    if place := _any(random, data):
        depth = random.choice((1, 5, 31, 33, 65, 300, 3000))
        tag = random.choice(
            (b"\x08\0\x40\x11", b"\x00\x52\x30\x92", b"\x28\0\0\x30", b"\x09\0\1\x10")
        )
        length = random.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\xff", b"\x10\0\0\0"))
        vr = random.choice((b"SQ\0\0", b"SQ\0\0", b"UN\0\0")) if place.vr else b""
        opened = (tag + vr + length + b"\xfe\xff\0\xe0" + length) * depth
        ends = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * random.choice((depth, 0))
        data[place.header : place.header] = opened + ends


def multiply_items(random: Random, data: bytearray) -> None:
    """Insert a sequence of very many items, empty ones or with one small element each."""
    if place := _any(random, data):
        content = random.choice((b"", b"\x08\0\x60\0CS\2\0CT"))
        item = b"\xfe\xff\0\xe0" + struct.pack("<I", len(content)) + content
        items = item * random.choice((1, 100, 20000))
        vr = b"SQ\0\0" if place.vr else b""
        header = b"\x08\0\x40\x11" + vr + struct.pack("<I", len(items))
        data[place.header : place.header] = header + items


def change_syntax(random: Random, data: bytearray) -> None:
    """Let the file claim another transfer syntax."""
    for place in places(data):
        if place.tag == _TRANSFER_SYNTAX:
            uid = random.choice(_SYNTAXES)
            replace_value(data, place, uid + b"\0" * (len(uid) % 2))
            return


def change_character_set(random: Random, data: bytearray) -> None:
    """Let the strings be of another character set, known or unknown."""
    for place in places(data):
        if place.tag == _CHARACTER_SET:
            replace_value(data, place, random.choice(_CHARACTER_SETS))
            return


def move_pixels(random: Random, data: bytearray) -> None:
    """Take bytes from the pixel data, or let it be another element, or of another length."""
    for place in places(data):
        if place.tag == _PIXEL_DATA:
            if random.random() < 0.5:
                data[place.header + 2] = random.choice((8, 9, 0x10, 0x20, 1))
            else:
                put(data, place.length_at, random.choice(EDGES), place.length_bytes, place.order)
            return


STRUCTURE: Final[tuple[Mutation, ...]] = (
    lie_about_length,
    lie_about_length,
    change_vr,
    change_tag,
    lie_about_pixels,
    lie_about_pixels,
    change_value,
    duplicate,
    remove,
    swap,
    nest,
    multiply_items,
    change_syntax,
    change_character_set,
    move_pixels,
)
PIXELS: Final[tuple[Mutation, ...]] = (lie_about_pixels, change_syntax, change_value, move_pixels)
