"""Identifiers: the data sets of query/retrieve messages, read and written (PS3.4 C.4).

Replies are written straight from the DICOM JSON model the index keeps: a C-FIND of a
thousand studies would spend most of its time on data set objects otherwise.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, Final

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
        with quietly():
            dataset = read_dataset(
                BytesIO(data),
                is_implicit_VR=transfer_syntax == ImplicitVRLittleEndian,
                is_little_endian=transfer_syntax != ExplicitVRBigEndian,
            )
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
    character_set = choose(_texts(attributes), preferred_character_set)
    if character_set.terms:
        element = {"vr": "CS", "Value": list(character_set.terms)}
        attributes = {**attributes, _SPECIFIC_CHARACTER_SET: element}
    writer = _Writer(transfer_syntax, character_set)
    encoded = writer.data_set(attributes)
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        # Raw deflate, padded to an even length (PS3.5 A.5).
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        encoded += b"\0" * (len(encoded) % 2)
    return encoded


def _texts(attributes: Attributes) -> Iterator[str]:
    """Iterate all text that is subject to the character set."""
    for element in attributes.values():
        for value in element.get("Value", ()):
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                if element["vr"] == "PN":
                    yield from value.values()
                else:
                    yield from _texts(value)


class _Writer:
    """Encodes elements in one transfer syntax and one character set."""

    def __init__(self, transfer_syntax: str, character_set: CharacterSet) -> None:
        self._order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
        self._implicit = transfer_syntax == ImplicitVRLittleEndian
        self._encode_text: Callable[[str], bytes] = character_set.encode

    def data_set(self, attributes: Attributes) -> bytes:
        """Return the elements in order of tags."""
        return b"".join(
            self._element(int(tag, 16), element["vr"], element.get("Value", ()))
            for tag, element in sorted(attributes.items())
        )

    def _element(self, tag: int, vr: str, values: Iterable[Any]) -> bytes:
        value = self._value(vr, list(values))
        head = struct.pack(f"{self._order}HH", tag >> 16, tag & 0xFFFF)
        length = len(value)
        if self._implicit:
            return head + struct.pack("<L", length) + value
        if vr not in _LONG_VRS and length > 0xFFFF:
            vr = "UN"  # the only VR a value too long for its own may take (PS3.5 6.2.2)
        if vr in _LONG_VRS:
            return head + vr.encode() + b"\0\0" + struct.pack(f"{self._order}L", length) + value
        return head + vr.encode() + struct.pack(f"{self._order}H", length) + value

    def _value(self, vr: str, values: list[Any]) -> bytes:
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
