"""Dates and times as strings that sort: what DA, TM and DT values stand for.

A value may leave its fine end out: ``TM 10`` is the whole hour from ten. Each value is
therefore a span from its first to its last moment, and a stored value is indexed by its
first. Offsets from UTC are left aside: values compare by the clock on the wall, as long
as Timezone Query Adjustment is not negotiated (PS3.4 C.2.2.2.5).
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from hilum.core.errors import Invalid

# With the separators of ACR-NEMA, 1993.08.22 and 10:27:58 (PS3.5 6.2).
_DATE: Final = re.compile(r"(\d{4})(?:\.?(\d{2})(?:\.?(\d{2}))?)?")
_TIME: Final = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_MOMENT: Final = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?"
    r"(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
)
_LOWEST: Final = ("0000", "01", "01", "00", "00", "00")
_HIGHEST: Final = ("9999", "12", "31", "23", "59", "60")
# The instances of a study repeat its dates and times. What is remembered matched a pattern
# and is short: nothing else gets into a cache.
_REMEMBERED: Final = 2048


class Span(NamedTuple):
    """First and last moment of a value, both included, as strings of one length."""

    first: str
    last: str


@lru_cache(_REMEMBERED)
def date_span(text: str) -> Span:
    """Return the days of a DA value as ``YYYYMMDD``; a year or a month is all its days.

    Raises
    ------
    Invalid
        `text` is not a date.
    """
    parts = _parts(_DATE, text, "date")
    return Span(*_fill(parts, _LOWEST[:3], _HIGHEST[:3]))


@lru_cache(_REMEMBERED)
def time_span(text: str) -> Span:
    """Return the moments of a TM value as ``HHMMSS.FFFFFF``.

    Raises
    ------
    Invalid
        `text` is not a time of day.
    """
    *clock, fraction = _parts(_TIME, text, "time")
    first, last = _fill(tuple(clock), _LOWEST[3:], _HIGHEST[3:])
    return _with_fraction(first, last, fraction)


@lru_cache(_REMEMBERED)
def date_time_span(text: str) -> Span:
    """Return the moments of a DT value as ``YYYYMMDDHHMMSS.FFFFFF``.

    Raises
    ------
    Invalid
        `text` is not a date-time.
    """
    *clock, fraction = _parts(_MOMENT, text, "date-time")
    first, last = _fill(tuple(clock), _LOWEST, _HIGHEST)
    return _with_fraction(first, last, fraction)


#: Reader of each VR that ranges are allowed on (PS3.4 C.2.2.2.5).
SPAN_OF: Final = {"DA": date_span, "TM": time_span, "DT": date_time_span}


def split_range(vr: str, text: str) -> tuple[str, str] | None:
    """Return both ends of a range, either may be empty; None if `text` is a single value."""
    if vr == "DT":
        # The hyphen of an offset, 20240101120000-0500, is not the hyphen of a range.
        if _MOMENT.fullmatch(text):
            return None
        for hyphen in re.finditer("-", text):
            ends = text[: hyphen.start()].strip(), text[hyphen.end() :].strip()
            if all(not end or _MOMENT.fullmatch(end) for end in ends):
                return ends
        return None
    if "-" not in text:
        return None
    start, _, end = text.partition("-")
    return start.strip(), end.strip()


def _parts(pattern: re.Pattern[str], text: str, what: str) -> tuple[str | None, ...]:
    matched = pattern.fullmatch(text.strip(" \0"))
    if not matched:
        raise Invalid(f"not a {what}, nor a range of them")
    return matched.groups()


def _fill(
    parts: tuple[str | None, ...], lowest: tuple[str, ...], highest: tuple[str, ...]
) -> tuple[str, str]:
    first, last = [], []
    for part, low, high in zip(parts, lowest, highest, strict=True):
        if part is not None and not low <= part <= high:
            raise Invalid("a date or time has a part out of its range")
        first.append(part or low)
        last.append(part or high)
    return "".join(first), "".join(last)


def _with_fraction(first: str, last: str, fraction: str | None) -> Span:
    fraction = fraction or ""
    return Span(f"{first}.{fraction:0<6}", f"{last}.{fraction:9<6}")
