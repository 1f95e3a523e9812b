"""Parameters of a URL, read with messages that say what would have been right."""

import math
from collections.abc import Iterable
from typing import Final

from multidict import MultiMapping

from hilum.core.errors import Invalid

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def single(query: MultiMapping[str], names: Iterable[str]) -> dict[str, str]:
    """Return the parameters of `query` among `names` that have a value.

    Raises
    ------
    Invalid
        One is there twice, so nobody knows which is meant.
    """
    found = {}
    for name in names:
        values = [value.strip() for value in query.getall(name, [])]
        if len(values) > 1:
            raise Invalid(f"{name} is given {len(values)} times")
        if values and values[0]:
            found[name] = values[0]
    return found


def number(name: str, text: str) -> float:
    """Return a finite number.

    Raises
    ------
    Invalid
        It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"{name} must be a number, not {text[:40]!r}")
    return value


def whole(name: str, text: str, lowest: int, highest: int) -> int:
    """Return a whole number between `lowest` and `highest`, both allowed.

    Raises
    ------
    Invalid
        It is none, or out of range.
    """
    # Digits only: int() also takes blanks, underscores and the digits of other scripts.
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
    if not lowest <= value <= highest:
        raise Invalid(f"{name} must be a whole number from {lowest} to {highest}")
    return value


def boolean(name: str, text: str) -> bool:
    """Return a truth value.

    Raises
    ------
    Invalid
        It is none of ``true``, ``1``, ``false``, ``0``.
    """
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise Invalid(f"{name} must be true or false, not {text[:40]!r}") from None
