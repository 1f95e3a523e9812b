"""The words of a study, for a search that types the beginning of one.

Words come from what a person remembers of a study: the names and IDs in its documents'
folded text. They are derived with the counts (`index.derive`), so that a corrected name is
found by its new words and no longer by the old ones.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

#: Fields of a study that words are made of.
WORD_SOURCES: Final = {"search.PatientName": 1, "text": 1}

# Between the words of a text, the components of a name, and its groups.
_BETWEEN: Final = re.compile(r"[\s^=]+")
# An accession number is found by its parts too.
_INSIDE: Final = re.compile(r"[\W_]+")
_LONGEST: Final = 64
_MOST: Final = 200


def study_words(document: dict[str, Any]) -> list[str]:
    """Return the words of a study's document with at least `WORD_SOURCES`."""
    texts = chain(
        document.get("search", {}).get("PatientName", ()), document.get("text", {}).values()
    )
    words = {
        part
        for text in texts
        for word in words_of(text)
        for part in (word, *_INSIDE.split(word))
        if part
    }
    return sorted(words)[:_MOST]


def words_of(text: str) -> Iterator[str]:
    """Iterate the words of a folded text, each as long as words are kept."""
    return (word[:_LONGEST] for word in _BETWEEN.split(text) if word)
