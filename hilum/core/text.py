"""Text as a search sees it: letters without case, accents or width; names by group.

A value is folded when it is indexed and again when it is asked for, so both sides meet in
the same form. What is stored and sent back is never touched by this.
"""

import unicodedata
from functools import lru_cache
from typing import Final

#: Family, given, middle, prefix, suffix (PS3.5 6.2.1.1).
NAME_COMPONENTS: Final = 5
#: Alphabetic, ideographic, phonetic (PS3.5 6.2.1.2).
NAME_GROUPS: Final = 3

# Letters that read as others but have no decomposition in Unicode.
_LETTERS: Final = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ħ": "h",
        "ı": "i",
        "ŧ": "t",
        "’": "'",
    }
)


def fold(text: str) -> str:
    """Return `text` without case, accents, width and surrounding blanks.

    Notes
    -----
    ``Müller`` and ``MULLER`` meet, as do ``Straße`` and ``STRASSE``, ``Фёдор`` and
    ``Федор``, full-width ``ＹＡＭＡＤＡ`` and ``yamada``. Marks that make another letter
    rather than an accent stay: the voicing of kana, the vowel signs of Indic scripts and Thai.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    text = _without_accents(unicodedata.normalize("NFKD", text))
    text = text.casefold().translate(_LETTERS)
    text = _without_accents(unicodedata.normalize("NFKD", text))
    return " ".join(unicodedata.normalize("NFC", text).split())


def _without_accents(text: str) -> str:
    return "".join(character for character in text if not _is_accent(character))


def _is_accent(character: str) -> bool:
    # Canonical combining classes: 200 and up are accents placed around a letter, 10 to 36
    # the vowel points of Hebrew, Arabic and Syriac; below lie nukta, virama and kana voicing.
    combining = unicodedata.combining(character)
    return combining >= 200 or 10 <= combining <= 36


def fold_name_group(group: str) -> str:
    """Return one component group folded component by component, trailing ``^`` removed.

    Wildcards pass through as they are, so this serves values and keys alike.
    """
    return "^".join(fold(component) for component in group.split("^")).rstrip("^")


def pad_name_group(folded: str) -> str:
    """Return a folded group with at least five components, as the index keeps it.

    An absent group stays empty, so that nothing but a universal key matches it.
    """
    if not folded:
        return ""
    return folded + "^" * (NAME_COMPONENTS - 1 - folded.count("^"))


@lru_cache(maxsize=4096)
def name_slots(alphabetic: str, ideographic: str = "", phonetic: str = "") -> tuple[str, ...]:
    """Return the three groups of a person name as the index keeps them.

    Returns
    -------
    tuple of str
        Always three: folded and padded to five components each, empty where absent.

    References
    ----------
    PS3.5 6.2.1, PS3.4 C.2.2.2.1
    """
    groups = (alphabetic, ideographic, phonetic)
    return tuple(pad_name_group(fold_name_group(group)) for group in groups)
