"""A data set as Orthanc's REST API says it: ``{"0010,0010": {"Name", "Type", "Value"}}``.

Everything is a string: several values with backslashes between them, numbers as they are
printed, text as Unicode. What is binary has no value, what is long none either unless it is
asked for. Made from the bytes in front of the pixel data, which must be in memory; values
are not copied but where they are short enough to be shown.
"""

import struct
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from hilum.core.errors import Unsupported
from hilum.imaging.charset import DEFAULT_CODECS, codecs_for, decode
from hilum.imaging.description import encoding_of
from hilum.imaging.dicom_json import STRING_VRS
from hilum.imaging.element_names import is_private_creator, name_of, vr_of
from hilum.imaging.elements import Element, Elements, Encoding, read_elements
from hilum.imaging.scan import PIXEL_DATA_TAGS, SPECIFIC_CHARACTER_SET

#: ``full``, or under names alone, or under tags alone.
Form: TypeAlias = Literal["full", "simple", "short"]

#: Bytes of UTF-8 up to which a value is shown.
LONGEST_VALUE_BYTES: Final = 256
_DEEPEST: Final = 32
#: Of all levels together: what tells of them takes some hundred times as many bytes.
_MOST: Final = 1 << 18
_BINARY: Final = frozenset({"OB", "UN"})
_PIXEL_REPRESENTATION: Final = 0x00280103
_INTEGERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i"}
_FLOATS: Final = {"FL": "f", "FD": "d"}


@dataclass(frozen=True, slots=True)
class Value:
    """What is shown of an element."""

    kind: Literal["String", "Null", "TooLong", "Sequence"]
    content: str | list[dict[str, Any]] | None = None


def data_set_tags(
    head: bytes | memoryview,
    transfer_syntax_uid: str,
    form: Form = "full",
    ignore_length: AbstractSet[int] = frozenset(),
) -> dict[str, Any]:
    """Return the elements of a data set, by tag or by name.

    Parameters
    ----------
    head
        The data set, or what is in front of its pixels; inflated if it was deflated.
    ignore_length
        Tags whose values are shown however long they are.

    Raises
    ------
    Unsupported
        There are more elements than anybody reads.

    Returns
    -------
    dict
        What JSON can say. Of `form` ``full`` each element has ``Name``, ``Type`` and
        ``Value``, and ``PrivateCreator`` if there is one.
    """
    view = memoryview(head)
    elements = read_elements(view, encoding_of(view, transfer_syntax_uid))
    return _Writer(form, ignore_length).object(elements, DEFAULT_CODECS, signed=False, depth=0)


def meta_tags(meta: bytes | memoryview, form: Form = "full") -> dict[str, Any]:
    """Return the same of File Meta Information (PS3.10 7.1), without what is binary.

    Parameters
    ----------
    meta
        From its first element on.
    """
    shown = {
        tag: element
        for tag, element in read_elements(meta, Encoding(explicit=True, little_endian=True))
        if element.vr not in _BINARY
    }
    writer = _Writer(form, frozenset())
    return writer.object(Elements(shown), DEFAULT_CODECS, signed=False, depth=0)


class _Writer:
    def __init__(self, form: Form, ignore_length: AbstractSet[int]) -> None:
        self._form = form
        self._ignore_length = ignore_length
        self._left = _MOST

    def object(
        self, elements: Elements, codecs: tuple[str, ...], *, signed: bool, depth: int
    ) -> dict[str, Any]:
        character_set = elements.get(SPECIFIC_CHARACTER_SET)
        if character_set is not None and depth == 0:
            codecs = codecs_for(bytes(character_set.data))
        if depth == 0:
            signed = elements.integer(_PIXEL_REPRESENTATION) == 1
        written: dict[str, Any] = {}
        self._left -= 1 + len(elements)
        if self._left < 0:
            raise Unsupported(f"there are more than {_MOST} elements and items")
        for tag, element, creator in _with_creators(elements):
            vr = element.vr or vr_of(tag, creator, signed=signed)
            if tag in PIXEL_DATA_TAGS:
                value = Value("Null")
            elif element.is_sequence or vr == "SQ":
                items = [
                    self.object(item, codecs, signed=signed, depth=depth + 1)
                    for item in (elements.each_item(tag) if depth < _DEEPEST else ())
                ]
                value = Value("Sequence", items)
            else:
                value = self._value(tag, vr, creator, element, codecs)
            self._write(written, tag, creator, value)
        return written

    def _write(self, written: dict[str, Any], tag: int, creator: str, value: Value) -> None:
        number = f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
        if self._form == "short":
            written[number] = value.content
        elif self._form == "simple":
            written[name_of(tag, creator)] = value.content
        else:
            named: dict[str, Any] = {"Name": name_of(tag, creator)}
            if creator and value.kind != "Sequence":
                named["PrivateCreator"] = creator
            written[number] = named | {"Type": value.kind, "Value": value.content}

    def _value(
        self, tag: int, vr: str, creator: str, element: Element, codecs: tuple[str, ...]
    ) -> Value:
        if vr == "UN":
            text = _unknown(tag, vr_of(tag, creator), element, codecs)
        else:
            text = printed(vr, element, codecs)
        if text is None:
            return Value("Null")
        if tag not in self._ignore_length and len(text.encode()) > LONGEST_VALUE_BYTES:
            return Value("TooLong")
        return Value("String", text)


def _with_creators(elements: Elements) -> Iterator[tuple[int, Element, str]]:
    """Yield tag, element and who has reserved the block that a private one is in."""
    creators: dict[int, str] = {}
    for tag, element in elements:
        creator = ""
        if tag >> 16 & 1:
            if is_private_creator(tag):
                said = bytes(element.data).decode("latin-1").strip(" \0")
                creators[tag & 0xFFFF0000 | (tag & 0xFF) << 8] = said
            else:
                creator = creators.get(tag & 0xFFFFFF00, "")
        yield tag, element, creator


def printed(vr: str, element: Element, codecs: tuple[str, ...]) -> str | None:
    """Return a value as text; None if it is binary."""
    if vr in STRING_VRS:
        return _text(vr, element, codecs)
    printer = _printer(vr, element.encoding.order)
    return None if printer is None else printer(element.data)


def _unknown(tag: int, vr: str, element: Element, codecs: tuple[str, ...]) -> str | None:
    """Return the value of an element that was written as UN, if the dictionary has it as text.

    What is said of the character set is not said of private elements.
    """
    data = bytes(element.data)
    if vr not in STRING_VRS or (tag >> 16 & 1 and not data.isascii()):
        return None
    return decode(data.removesuffix(b"\0"), codecs)


def _text(vr: str, element: Element, codecs: tuple[str, ...]) -> str:
    text = decode(bytes(element.data), codecs)
    return text.rstrip("\0 ") if vr != "UI" else text.rstrip("\0")


def _printer(vr: str, order: str) -> Callable[[memoryview], str | None] | None:
    """Return what prints binary numbers or tags; None for other bytes."""
    if vr == "AT":
        return lambda data: _tag_text(order, data)
    if vr in _INTEGERS:
        return lambda data: _numbers_text(order + _INTEGERS[vr], data, str)
    if vr in _FLOATS:
        return lambda data: _numbers_text(order + _FLOATS[vr], data, "{:.17g}".format)
    return None


def _numbers_text(code: str, data: memoryview, print_one: Callable[[Any], str]) -> str | None:
    count = len(data) // struct.calcsize(code)
    if not count:
        return None
    numbers = struct.unpack_from(f"{code[0]}{count}{code[1]}", data)
    return "\\".join(map(print_one, numbers))


def _tag_text(order: str, data: memoryview) -> str | None:
    """Return the first tag, which is all that is shown of several."""
    if len(data) < 4:
        return None
    group, number = struct.unpack_from(f"{order}2H", data)
    return f"{group:04x},{number:04x}"
