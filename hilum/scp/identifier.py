"""Identifiers: the data sets of query/retrieve messages, read and written (PS3.4 C.4).

Replies are written straight from the DICOM JSON model the index keeps: a C-FIND of a
thousand studies would spend most of its time on data set objects otherwise.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from io import BytesIO
from typing import Any, Final, NamedTuple

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from hilum.core.errors import NotDicom
from hilum.core.instance import Attributes
from hilum.imaging.charset import quietly
from hilum.scp.character_set import CharacterSet, choose
from hilum.scp.plain_keys import is_plain

_SPECIFIC_CHARACTER_SET: Final = "00080005"
_TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_LONG_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_NUMBERS: Final = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d",
}  # fmt: skip
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_DS_CHARACTERS: Final = 16
#: VRs of numbers that may be equal and not the same; and of what may contain them.
_FLOATING_VRS: Final = frozenset({"DS", "FD", "FL", "SQ"})
#: Writers of one answer, one for each set of foreign characters in a reply.
_WRITERS_KEPT: Final = 256
_INFLATED_LIMIT_BYTES: Final = 4 << 20
_DECODING_FAULTS: Final = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def decode(data: bytes, transfer_syntax: str) -> Dataset:
    """Read an identifier.

    Raises
    ------
    NotDicom
        There is none, or it is not encoded as negotiated.
    """
    if not data:
        raise NotDicom("a request without an identifier")
    try:
        if transfer_syntax == DeflatedExplicitVRLittleEndian:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _INFLATED_LIMIT_BYTES)
        # Quiet has a lock around it: not for what pydicom has nothing to say about.
        plain = is_plain(data, transfer_syntax)
        with nullcontext() if plain else quietly():
            dataset = read_dataset(
                BytesIO(data),
                is_implicit_VR=transfer_syntax == ImplicitVRLittleEndian,
                is_little_endian=transfer_syntax != ExplicitVRBigEndian,
            )
            if not plain:  # else there is no text that needs it
                dataset.decode()
            return dataset
    except _DECODING_FAULTS as error:
        raise NotDicom("the identifier cannot be decoded") from error


def character_set_of(identifier: Dataset) -> list[str]:
    """Return the values of (0008,0005) of a request."""
    value = identifier.get("SpecificCharacterSet") or []
    return [value] if isinstance(value, str) else [str(term or "") for term in value]


def encode(
    attributes: Attributes, transfer_syntax: str, preferred_character_set: Sequence[str] = ()
) -> bytes:
    """Write an identifier, with the Specific Character Set it needs.

    Parameters
    ----------
    attributes
        In the DICOM JSON model; (0008,0005) is made here.
    transfer_syntax
        As accepted on the presentation context.
    preferred_character_set
        Of the request, see `character_set.choose`.
    """
    return Encoder(transfer_syntax, preferred_character_set).encode(attributes)


class _Kept(NamedTuple):
    """An element of a reply, and what became of it."""

    element: dict[str, Any]
    foreign: frozenset[str]
    """Characters of its text that are not in ASCII."""
    encoded: dict[tuple[str, ...], bytes]
    """By the terms of the character set."""


class Encoder:
    """Writes the identifiers of one answer, one after the other.

    Most elements of a reply are those of the reply before: of the images of a series, all
    that belongs to the patient, the study and the series. What was written of an element is
    kept until another value comes under its tag.

    Parameters
    ----------
    transfer_syntax, preferred_character_set
        As for `encode`.
    """

    def __init__(self, transfer_syntax: str, preferred_character_set: Sequence[str] = ()) -> None:
        self._transfer_syntax = transfer_syntax
        self._preferred = tuple(preferred_character_set)
        self._kept: dict[str, _Kept] = {}
        self._writers: dict[frozenset[str], _Writer] = {}

    def encode(self, attributes: Attributes) -> bytes:
        """Return an identifier; what came before has no part in its bytes."""
        elements = {tag: self._keep(tag, attributes[tag]) for tag in sorted(attributes)}
        writer = self._writer(frozenset().union(*[each.foreign for each in elements.values()]))
        terms = writer.terms
        if terms:
            declared = {"vr": "CS", "Value": list(terms)}
            elements[_SPECIFIC_CHARACTER_SET] = self._keep(_SPECIFIC_CHARACTER_SET, declared)
            elements = dict(sorted(elements.items()))
        parts = []
        for tag, kept in elements.items():
            encoded = kept.encoded.get(terms)
            if encoded is None:
                encoded = kept.encoded[terms] = writer.element(tag, kept.element)
            parts.append(encoded)
        identifier = b"".join(parts)
        if self._transfer_syntax == DeflatedExplicitVRLittleEndian:
            # Raw deflate, padded to an even length (PS3.5 A.5).
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            identifier = deflater.compress(identifier) + deflater.flush()
            identifier += b"\0" * (len(identifier) % 2)
        return identifier

    def _keep(self, tag: str, element: dict[str, Any]) -> _Kept:
        kept = self._kept.get(tag)
        if kept is not None:
            known = kept.element
            # 1 and 1.0 are equal, and written differently.
            if known is element or (known == element and element["vr"] not in _FLOATING_VRS):
                return kept
        kept = self._kept[tag] = _Kept(element, frozenset(_foreign(element)), {})
        return kept

    def _writer(self, foreign: frozenset[str]) -> "_Writer":
        writer = self._writers.get(foreign)
        if writer is None:
            if len(self._writers) >= _WRITERS_KEPT:
                self._writers.clear()
            writer = _Writer(self._transfer_syntax, choose(foreign, self._preferred))
            self._writers[foreign] = writer
        return writer


def _foreign(element: dict[str, Any]) -> Iterator[str]:
    """Iterate the characters of an element that are not in ASCII, where a set says how."""
    for value in element.get("Value", ()):
        if isinstance(value, str):
            if not value.isascii():
                yield from (character for character in value if not character.isascii())
        elif isinstance(value, dict):
            nested = [{"Value": value.values()}] if element["vr"] == "PN" else value.values()
            for each in nested:
                yield from _foreign(each)


class _Writer:
    """Encodes elements in one transfer syntax and one character set."""

    def __init__(self, transfer_syntax: str, character_set: CharacterSet) -> None:
        order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
        self.terms = character_set.terms
        self._order = order
        self._implicit = transfer_syntax == ImplicitVRLittleEndian
        self._encode_text: Callable[[str], bytes] = character_set.encode
        self._implicit_head = struct.Struct("<HHL")
        self._short_head = struct.Struct(f"{order}HH2sH")
        self._long_head = struct.Struct(f"{order}HH2sxxL")

    def data_set(self, attributes: Attributes) -> bytes:
        """Return the elements in order of tags."""
        return b"".join([self.element(tag, element) for tag, element in sorted(attributes.items())])

    def element(self, tag: str, element: dict[str, Any]) -> bytes:
        """Return one element of the DICOM JSON model."""
        vr = element["vr"]
        value = self._value(vr, element.get("Value", ()))
        group, number, length = int(tag[:4], 16), int(tag[4:], 16), len(value)
        if self._implicit:
            return self._implicit_head.pack(group, number, length) + value
        if vr not in _LONG_VRS and length > 0xFFFF:
            vr = "UN"  # the only VR a value too long for its own may take (PS3.5 6.2.2)
        head = self._long_head if vr in _LONG_VRS else self._short_head
        return head.pack(group, number, vr.encode(), length) + value

    def _value(self, vr: str, values: Sequence[Any]) -> bytes:
        if vr == "SQ":
            return b"".join(self._item(item) for item in values)
        if vr in _NUMBERS:
            return struct.pack(f"{self._order}{len(values)}{_NUMBERS[vr]}", *map(_number, values))
        if vr == "AT":
            words = [word for tag in values for word in (int(tag[:4], 16), int(tag[4:], 16))]
            return struct.pack(f"{self._order}{len(words)}H", *words)
        text = "\\".join(_text(vr, value) for value in values)
        encoded = self._encode_text(text) if vr in _TEXT_VRS else text.encode("latin-1", "replace")
        return encoded + (b"\0" if vr == "UI" else b" ") * (len(encoded) % 2)

    def _item(self, attributes: Attributes) -> bytes:
        content = self.data_set(attributes)
        return struct.pack(f"{self._order}HHL", 0xFFFE, 0xE000, len(content)) + content


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN":
        name: dict[str, str] = value
        return "=".join(name.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    text = str(value)
    if vr == "DS" and len(text) > _DS_CHARACTERS and isinstance(value, float):
        # As many digits as fit: sign, point and exponent take at most seven of sixteen.
        text = f"{value:.9g}"
    return text


def _number(value: Any) -> Any:
    """Return a number; 64-bit integers and non-finite floats are strings in JSON."""
    if not isinstance(value, str):
        return value
    return int(value) if value.lstrip("-").isdigit() else float(value)
