"""Elements as members of a JSON object: text, numbers, inline or as bulk data (PS3.18 F.2)."""

from functools import lru_cache
from typing import Final

import orjson
from pydicom.datadict import dictionary_VR, private_dictionary_VR

from hilum.imaging.dicom_json import Codecs, element
from hilum.imaging.encoding import UNKNOWN_VRS

#: Stands for the address of the instance in front of ``/bulkdata/…``.
BASE: Final = b"\x01"

#: Binary values up to here are given inline, in base 64.
INLINE_LIMIT_BYTES: Final = 1 << 10
#: Text and numbers up to here are given as they are.
VALUE_LIMIT_BYTES: Final = 64 << 10
#: Up to here a value is mostly the same in the next instance (`shared_member`).
SHARED_VALUE_BYTES: Final = 64
#: VRs, as explicit and implicit encodings have them, that do not tell what a value is.
UNTOLD: Final = frozenset({b"", b"UN", *UNKNOWN_VRS})
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
#: VRs whose values may be bulk data (PS3.18 F.2.2); no others grow that long.
_MAY_BE_BULK: Final = _BINARY | frozenset(
    {"DS", "FD", "FL", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV"}
)


def is_bulk(vr: str, length: int) -> bool:
    """Return whether a value of `length` bytes is bulk data rather than part of metadata."""
    if length <= INLINE_LIMIT_BYTES:
        return False
    return vr in _BINARY or (length > VALUE_LIMIT_BYTES and vr in _MAY_BE_BULK)


@lru_cache(maxsize=4096)
def known_vr(tag: int, signed: bool, creator: str | None = None) -> str:
    """Return the VR of an element whose encoding does not tell it; UN if nobody knows.

    Parameters
    ----------
    tag
        Of the element.
    signed
        Whether Pixel Representation says so: some attributes follow it (PS3.5 A.1).
    creator
        Who has reserved the block that a private element is in.
    """
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    try:
        if tag >> 16 & 1:
            vr = private_dictionary_VR(tag, creator) if creator else "UN"
        else:
            vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if vr == "US or SS":
        return "SS" if signed else "US"
    return vr if len(vr) == 2 else "OW"


def creator_of(raw: bytes) -> str:
    """Return whom the value of a private creator element names."""
    return raw.decode("latin-1").strip(" \0")


def member(tag: int, vr: str, raw: bytes, codecs: Codecs) -> bytes:
    """Return an element from the bytes of its value."""
    return b'"%08X":%b' % (tag, orjson.dumps(element(vr, raw, codecs)))


#: The same, for values that the next instance has too. Nobody changes what is kept.
shared_member: Final = lru_cache(maxsize=8192)(member)


@lru_cache(maxsize=1024)
def empty(tag: int, vr: str) -> bytes:
    """Return an element without a value."""
    return b'"%08X":{"vr":"%b"}' % (tag, vr.encode())


def bulk(tag: int, vr: str, path: str) -> bytes:
    """Return an element whose value is at ``/bulkdata/{path}``."""
    address = b"%b/bulkdata/%b" % (BASE, path.encode())
    return b'"%08X":{"vr":"%b","BulkDataURI":"%b"}' % (tag, vr.encode(), address)
