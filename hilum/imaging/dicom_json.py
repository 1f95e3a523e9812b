"""Element values to the DICOM JSON model (PS3.18 F.2), straight from their bytes.

No object for an element, no validation: a value that is not what its VR promises comes
out as the string it is, because an index that shows an odd value serves better than one
that lacks the image.
"""

import base64
import re
import struct
from array import array
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from pydicom.datadict import dictionary_VR

from hilum.core.instance import Attributes
from hilum.imaging.charset import codecs_for, decode
from hilum.imaging.encoding import (
    IMPLICIT_HEADER,
    ITEM,
    ITEM_END,
    LENGTH_BYTES,
    LONG_LENGTH,
    SEQUENCE_END,
    SHORT_HEADER,
    UNDEFINED,
    UNKNOWN_VRS,
    BytesReader,
    Unusual,
    Window,
    skip_sequence,
)

_DEPTH: Final = 32
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Codecs = tuple[str, ...]
Value = Any  # str, int, float, dict, list, None: what JSON can say


def _plain(raw: bytes, _codecs: Codecs) -> list[Value]:
    """AE AS CS DA DT TM UI: the default repertoire; blanks and NULs around it are padding."""
    return _split(raw.decode("latin-1"))


def _text(raw: bytes, codecs: Codecs) -> list[Value]:
    """LO SH UC: several values, blanks around them not significant (PS3.5 6.2)."""
    return _split(decode(raw, codecs))


def _split(text: str) -> list[Value]:
    if "\\" in text:
        values = [value.strip(" \0") or None for value in text.split("\\")]
        return values if any(values) else []
    text = text.strip(" \0")
    return [text] if text else []


def _long_text(raw: bytes, codecs: Codecs) -> list[Value]:
    """LT ST UT: one value, in which a backslash and leading blanks mean themselves."""
    text = decode(raw, codecs).rstrip(" \0")
    return [text] if text else []


def _address(raw: bytes, _codecs: Codecs) -> list[Value]:
    """UR: one value in the default repertoire."""
    text = raw.decode("latin-1").rstrip(" \0")
    return [text] if text else []


def _names(raw: bytes, codecs: Codecs) -> list[Value]:
    """PN: the component groups by name (PS3.18 F.2.2); split once it is Unicode.

    A byte of a Japanese or Chinese character may look like a backslash.
    """
    names = [_name(text) for text in decode(raw, codecs).split("\\")]
    return names if any(names) else []


def _name(text: str) -> dict[str, str] | None:
    groups = zip(_GROUPS, text.split("="), strict=False)
    return {
        group: kept for group, part in groups if (kept := part.rstrip(" \0").lstrip(" "))
    } or None


def _integers(raw: bytes, _codecs: Codecs) -> list[Value]:
    """IS as numbers; what is none stays a string."""
    return [
        int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        for value in _split(raw.decode("latin-1"))
    ]


def _decimals(raw: bytes, _codecs: Codecs) -> list[Value]:
    """DS as numbers; what is none, or is too large for one, stays a string."""
    return [
        _decimal(value) if isinstance(value, str) else value
        for value in _split(raw.decode("latin-1"))
    ]


def _decimal(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and isfinite(number := float(text)):
        return number
    return text


def _numbers(code: str) -> Callable[[bytes, Codecs], list[Value]]:
    """Return a decoder of binary numbers; `code` is the one `struct` has for the type."""
    width = struct.calcsize(f"<{code}")

    def read(raw: bytes, _codecs: Codecs) -> list[Value]:
        count = len(raw) // width
        return list(struct.unpack_from(f"<{count}{code}", raw))

    return read


def _floats(code: str) -> Callable[[bytes, Codecs], list[Value]]:
    """Return a decoder of floats; JSON has no number for NaN and the infinities."""
    read_numbers = _numbers(code)

    def read(raw: bytes, codecs: Codecs) -> list[Value]:
        values = read_numbers(raw, codecs)
        return [value if value - value == 0 else str(value) for value in values]

    return read


def _long_numbers(code: str) -> Callable[[bytes, Codecs], list[Value]]:
    """Return a decoder of 64-bit integers, as strings where many JSON readers would round."""
    read_numbers = _numbers(code)

    def read(raw: bytes, codecs: Codecs) -> list[Value]:
        values = read_numbers(raw, codecs)
        return [value if abs(value) < 1 << 53 else str(value) for value in values]

    return read


def _tags(raw: bytes, _codecs: Codecs) -> list[Value]:
    """AT as eight hexadecimal digits."""
    numbers = struct.unpack_from(f"<{len(raw) // 4 * 2}H", raw)
    return [f"{g:04X}{e:04X}" for g, e in zip(numbers[::2], numbers[1::2], strict=True)]


_DECODERS: Final[dict[str, Callable[[bytes, Codecs], list[Value]]]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM", "UI"), _plain),
    **dict.fromkeys(("LO", "SH", "UC"), _text),
    **dict.fromkeys(("LT", "ST", "UT"), _long_text),
    "UR": _address,
    "PN": _names,
    "IS": _integers,
    "DS": _decimals,
    "US": _numbers("H"),
    "SS": _numbers("h"),
    "UL": _numbers("I"),
    "SL": _numbers("i"),
    "UV": _long_numbers("Q"),
    "SV": _long_numbers("q"),
    "FL": _floats("f"),
    "FD": _floats("d"),
    "AT": _tags,
}

NUMBER_VRS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
STRING_VRS: Final = frozenset(_DECODERS) - NUMBER_VRS - {"AT"}

#: Bytes of the words a value consists of, where that is more than one.
WORD_BYTES: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("UV", "SV", "FD", "OD", "OV"), 8),
}


def element(vr: str, raw: bytes, codecs: Codecs) -> dict[str, Any]:
    """Return one element, other than a sequence, in the DICOM JSON model.

    Parameters
    ----------
    vr
        Two letters; any that is not a string or a number is given as ``InlineBinary``.
    raw
        The value field, little endian.
    codecs
        From `codecs_for`.
    """
    decoder = _DECODERS.get(vr)
    if decoder is None:
        inline = {"InlineBinary": base64.b64encode(raw).decode()} if raw else {}
        return {"vr": vr, **inline}
    values = decoder(raw, codecs) if raw else None
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def text(vr: str, raw: bytes, codecs: Codecs) -> str | None:
    """Return the value of one element as text; None of what is neither text nor numbers.

    Text is as it stands, up to a NUL, without trailing blanks: ``1.50`` stays ``1.50``. Several
    numbers have backslashes between them.
    """
    if vr in STRING_VRS:
        return decode(raw, codecs).partition("\0")[0].rstrip(" ")
    if vr in NUMBER_VRS:
        return "\\".join(str(value) for value in _DECODERS[vr](raw, codecs))
    return None


def swapped(vr: str, raw: bytes) -> bytes:
    """Return a big-endian value field as it would be in little endian (PS3.5 7.3)."""
    width = WORD_BYTES.get(vr)
    if width is None:
        return raw
    words = array({2: "H", 4: "I", 8: "Q"}[width])
    whole = len(raw) // width * width
    words.frombytes(raw[:whole])
    words.byteswap()
    return words.tobytes() + raw[whole:]


def sequence(raw: bytes, codecs: Codecs, *, explicit: bool, depth: int = 0) -> list[Attributes]:
    """Return the items of a sequence's value field, little endian.

    Raises
    ------
    Unusual
        The bytes are not plain items of plain elements.
    """
    if depth > _DEPTH:
        raise Unusual("sequences nested too deeply")
    items = []
    position, end = 0, len(raw)
    while position < end:
        group, number, length = _unpack(IMPLICIT_HEADER, raw, position)
        tag = group << 16 | number
        position += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise Unusual("no item where one should be")
        item, position = _item(raw, position, length, codecs, explicit=explicit, depth=depth)
        items.append(item)
    return items


def _item(
    raw: bytes, position: int, length: int, codecs: Codecs, *, explicit: bool, depth: int
) -> tuple[Attributes, int]:
    """Return the elements of one item, and the position behind it."""
    end = len(raw) if length == UNDEFINED else position + length
    if end > len(raw):
        raise Unusual("an item runs past its sequence")
    attributes: Attributes = {}
    while position < end:
        group, number, vr, length, position = _header(raw, position, explicit)
        tag = group << 16 | number
        if tag == ITEM_END:
            return attributes, position
        nested_explicit = explicit and vr != "UN"
        if length == UNDEFINED:
            vr = "SQ"
            window = Window(BytesReader(raw), position)
            following = skip_sequence(window, 0, explicit=nested_explicit) + window.base
            length = following - position - 8
        else:
            following = position + length
        if following > end:
            raise Unusual("an element runs past its item")
        value = raw[position : position + length]
        position = following
        if tag == 0x00080005:
            codecs = codecs_for(value)
        elif vr == "SQ":
            items = sequence(value, codecs, explicit=nested_explicit, depth=depth + 1)
            attributes[f"{tag:08X}"] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        else:
            attributes[f"{tag:08X}"] = element(vr, value, codecs)
    return attributes, position


def _header(raw: bytes, position: int, explicit: bool) -> tuple[int, int, str, int, int]:
    """Return group, element, VR and length of an element, and where its value begins."""
    if not explicit or raw[position : position + 2] == b"\xfe\xff":
        group, number, length = _unpack(IMPLICIT_HEADER, raw, position)
        return group, number, implicit_vr(group << 16 | number), length, position + 8
    group, number, letters, length = _unpack(SHORT_HEADER, raw, position)
    width = LENGTH_BYTES.get(letters)
    if width is None:
        raise Unusual("an unknown VR")
    vr = "UN" if letters in UNKNOWN_VRS else letters.decode()
    if width == 4:
        length = _unpack(LONG_LENGTH, raw, position + 8)[0]
        return group, number, vr, length, position + 12
    return group, number, vr, length, position + 8


def _unpack(layout: struct.Struct, raw: bytes, position: int) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(raw, position)
    except struct.error as error:
        raise Unusual("an element header is cut short") from error


@lru_cache(maxsize=4096)
def implicit_vr(tag: int) -> str:
    """Return the VR the dictionary gives a tag; UN where it has none or several.

    Private elements are UN: their VR is not guessed (PS3.5 6.2.2).
    """
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return vr if len(vr) == 2 else "UN"
