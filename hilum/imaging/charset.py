"""From Specific Character Set (0008,0005) to Unicode (PS3.5 6.1, PS3.3 C.12.1.1.2)."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

import pydicom.charset

#: What text means that names no character set. The default repertoire is ASCII; Latin 1
#: contains it, and keeps every byte of the many files that forgot to name theirs.
DEFAULT_CODECS: Final = ("iso8859",)

_ESCAPE: Final = b"\x1b"
_PARTS: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
# What code extensions end at (PS3.5 6.1.2.5.3).
_DELIMITER: Final = re.compile(rb"[\r\n\t\f\\^=]")
# Python's codecs for these understand the escape sequences themselves.
_WITH_ESCAPES: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
# Several defined terms stand alone: no code extension may follow (PS3.3 C.12.1.1.2).
_STAND_ALONE: Final = frozenset({"utf8", "GB18030", "GBK"})
_MISSPELT: Final = re.compile(r"ISO[^0-9A-Z]*(2022)?[^0-9A-Z]*IR[^0-9]*([0-9]+)")
_lock: Final = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what pydicom says about odd values, and the values in it, off stderr and log.

    Python's warning filters belong to the process: the lock keeps two threads from
    restoring each other's. Enter it for odd input only.
    """
    logger = logging.getLogger("pydicom")
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


@lru_cache(maxsize=256)
def codecs_for(character_set: bytes) -> tuple[str, ...]:
    """Return Python's codecs for a value of Specific Character Set.

    Terms in a wrong spelling, such as ``ISO-IR 100``, are understood; unknown ones count
    as the default repertoire.
    """
    terms = character_set.decode("latin-1").upper().split("\\")
    codecs = [_codec(term.strip(" \0_")) for term in terms]
    if codecs[0] in _STAND_ALONE:
        return (codecs[0],)
    return tuple(codec for codec in codecs if codec not in _STAND_ALONE)


def _codec(term: str) -> str:
    known = pydicom.charset.python_encoding
    if match := _MISSPELT.fullmatch(term):
        extended, number = match.groups()
        term = f"ISO 2022 IR {number}" if extended else f"ISO_IR {number}"
    return known.get(term, DEFAULT_CODECS[0])


def decode(raw: bytes, codecs: tuple[str, ...]) -> str:
    """Return text as Unicode; bytes its character set has no meaning for become U+FFFD."""
    if _ESCAPE not in raw:
        return raw.decode(codecs[0], "replace")
    return "".join(_extended(part, codecs[0]) for part in _PARTS.findall(raw))


def _extended(part: bytes, first: str) -> str:
    """Return text that may begin with an escape sequence (PS3.5 6.1.2.5).

    The sequence itself says what follows, whether the character set names it or not.
    """
    size = 4 if part[1:3] in {b"$(", b"$)"} else 3
    codec = pydicom.charset.CODES_TO_ENCODINGS.get(part[:size])
    if codec is None:
        return part.decode(first, "replace")
    if codec in _WITH_ESCAPES:
        return part.decode(codec, "replace")
    text = part[size:]
    found = _DELIMITER.search(text)
    end = found.start() if found else len(text)
    return text[:end].decode(codec, "replace") + text[end:].decode(first, "replace")
