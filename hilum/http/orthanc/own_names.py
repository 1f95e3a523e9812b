"""Names for the numbers that clients note and attach under (``UserMetadata`` of Orthanc)."""

import re
from collections.abc import Mapping
from typing import Final

from hilum.http.orthanc.errors import INEXISTENT_ITEM, Refusal

#: Numbers that are clients' own.
FIRST: Final = 1024
LAST: Final = 65535
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


class OwnNames:
    """Finds numbers by names, and names by numbers.

    Parameters
    ----------
    named
        Numbers that have a name.
    """

    def __init__(self, named: Mapping[str, int]) -> None:
        self._numbers = dict(named)
        self._names = {number: name for name, number in named.items()}

    def number_of(self, name: str) -> int:
        """Return the number that a path names, by its name or as it is.

        Raises
        ------
        Refusal
            It is neither.
        """
        if name in self._numbers:
            return self._numbers[name]
        if _NUMBER.fullmatch(name):
            return int(name)
        raise Refusal(INEXISTENT_ITEM, f"nothing is named {name[:40]}; numbers go up to {LAST}")

    def name_of(self, number: int) -> str:
        """Return the name of a number; without one, the number."""
        return self._names.get(number, str(number))
