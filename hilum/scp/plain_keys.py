"""Identifiers without anything odd in them, as nearly all are.

About odd values pydicom warns, with the values in it. Keeping it quiet takes a lock that the
whole process shares; a request that is plain need not wait for it.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.imaging.dicom_json import implicit_vr

_IMPLICIT: Final = struct.Struct("<HHL")
_EXPLICIT: Final = struct.Struct("<HH2sH")

#: What one value may be, by VR; of other VRs only the empty value is plain.
_PLAIN: Final = {
    "CS": re.compile(rb"[A-Z0-9_]{0,16}"),
    "DA": re.compile(rb"(?:[12]\d{3}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))?"),
    "IS": re.compile(rb"\d{0,9}"),
    "LO": re.compile(rb"[!-\[\]-~](?:[ -\[\]-~]{0,62}[!-\[\]-~])?|"),
    "PN": re.compile(rb"[!-<>-\[\]_-~]{0,30}(?:\^[!-<>-\[\]_-~]{0,30})?"),
    "SH": re.compile(rb"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?|"),
    "UI": re.compile(rb"(?=.{0,64}\Z)(?:(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*)?"),
}


def is_plain(data: bytes, transfer_syntax: str) -> bool:
    """Return whether an identifier is nothing but ordinary keys in the default repertoire.

    In doubt it is not: a character set, a sequence, a private element, a length that does
    not fit, a value that its VR does not allow.
    """
    if transfer_syntax == ImplicitVRLittleEndian:
        elements = _implicit(data)
    elif transfer_syntax == ExplicitVRLittleEndian:
        elements = _explicit(data)
    else:
        return False
    last = 0x0008_0005  # nothing before it, nor itself, is a key
    for tag, vr, value in elements:
        if tag <= last or not _allowed(vr, value):
            return False
        last = tag
    return True


def _allowed(vr: str, value: bytes) -> bool:
    if not value:
        return vr not in {"SQ", "UN", ""}
    pattern = _PLAIN.get(vr)
    if pattern is None:
        return False
    if vr == "UI":
        values = value.removesuffix(b"\0").split(b"\\")
    else:
        values = value.removesuffix(b" ").split(b"\\")
    return all(pattern.fullmatch(each) for each in values)


def _implicit(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Iterate tag, VR and value; a VR of no letters says that nothing sensible follows."""
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            yield 0, "", b""
            return
        group, number, length = _IMPLICIT.unpack_from(data, position)
        position += 8 + length
        if position > end or length % 2:
            yield 0, "", b""
            return
        tag = group << 16 | number
        yield tag, implicit_vr(tag), data[position - length : position]


def _explicit(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Do the same; only VRs with a length of two bytes, and the dictionary's own, are sensible."""
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            yield 0, "", b""
            return
        group, number, letters, length = _EXPLICIT.unpack_from(data, position)
        position += 8 + length
        tag = group << 16 | number
        vr = implicit_vr(tag)
        if position > end or length % 2 or vr not in _PLAIN or letters != vr.encode():
            yield 0, "", b""
            return
        yield tag, vr, data[position - length : position]
