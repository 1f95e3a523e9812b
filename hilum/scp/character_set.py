"""The Specific Character Set of a reply (PS3.3 C.12.1.1.2, PS3.5 6.1).

The asker's own if it can say what is to be said: a workstation of 1998 does not know
UTF-8. Else Latin 1, which almost everything reads; else UTF-8, which says everything.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.charset import convert_encodings, encode_string, python_encoding

_FALLBACKS: Final = (("ISO_IR 100",), ("ISO_IR 192",))
# ISO_IR 13 is read with Python's Shift JIS, which says more than the one byte a character
# that the standard's JIS X 0201 does.
_JIS_X_0201: Final = "shift_jis"
# Code extensions start afresh behind these (PS3.5 6.1.2.5.3).
_DELIMITERS: Final = re.compile(r"([\\^=\r\n\t\f])")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """Defined terms, and how text is written with them."""

    terms: tuple[str, ...]
    """Values of (0008,0005); empty: the default repertoire, nothing to declare."""
    encode: Callable[[str], bytes]


def choose(texts: Iterable[str], preferred: Sequence[str]) -> CharacterSet:
    """Return the character set for a reply that consists of `texts`.

    Parameters
    ----------
    preferred
        Values of (0008,0005) of the request; none, empty or unknown ones do not count.
    """
    foreign = {character for text in texts if not text.isascii() for character in text}
    if not foreign:
        return CharacterSet((), _in_ascii)
    terms = tuple(preferred)
    known = bool(terms) and all(not term or term in python_encoding for term in terms)
    for candidate in ((terms,) if known and any(terms) else ()) + _FALLBACKS:
        codecs = convert_encodings(list(candidate))
        if all(any(_encodes(codec, character) for codec in codecs) for character in foreign):
            return CharacterSet(candidate, _encoder(codecs))
    raise AssertionError("UTF-8 encodes every character")


def _encodes(codec: str, character: str) -> bool:
    try:
        encoded = character.encode(codec)
    except UnicodeEncodeError:
        return False
    return codec != _JIS_X_0201 or len(encoded) == 1


def _in_ascii(text: str) -> bytes:
    return text.encode("ascii")


def _encoder(codecs: list[str]) -> Callable[[str], bytes]:
    if len(codecs) == 1:
        return lambda text: text.encode(codecs[0])

    def with_code_extensions(text: str) -> bytes:
        # The shape of re.split with a group: parts and the delimiters between them.
        return b"".join(
            encode_string(part, codecs) if part else b"" for part in _DELIMITERS.split(text)
        )

    return with_code_extensions
