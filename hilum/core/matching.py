"""How one key matches, by its VR (PS3.4 C.2.2.2); and values in the form they are matched in."""

from collections.abc import Sequence
from typing import Any, Final

from pydicom.datadict import keyword_for_tag

from hilum.core.errors import Invalid
from hilum.core.levels import vr_of
from hilum.core.query import AnyOf, Exact, Matching, PersonName, Range, Scalar, Wildcard
from hilum.core.temporal import SPAN_OF, split_range
from hilum.core.text import NAME_GROUPS, fold_name_group, name_slots

_PADDING: Final = " \0\t\r\n"
#: VRs in which ``*`` and ``?`` are wildcards (PS3.4 C.2.2.2.4); PN has rules of its own.
_WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_INTEGER_VRS: Final = frozenset({"IS", "US", "SS", "UL", "SL", "UV", "SV"})
_FLOAT_VRS: Final = frozenset({"DS", "FL", "FD"})
_LARGEST_INTEGER: Final = 2**63 - 1
#: Longer than any name, description or UID that is searched for, and short enough for a
#: regular expression.
_LONGEST_KEY: Final = 4096


def matching_of(
    keyword: str, values: Sequence[str], *, fuzzy: bool = False, any_case: bool = False
) -> Matching | None:
    r"""Return how a key with these values matches, None if it matches everything.

    Parameters
    ----------
    keyword
        Of an attribute that is not a sequence.
    values
        The key's values, separated, as text. Without one that is not empty, or with one
        of nothing but ``*``, the key is universal.
    fuzzy
        Whether names match by the beginnings of their words.
    any_case
        Whether other text matches in capitals and small letters alike, as names always do.

    Raises
    ------
    Invalid
        A value does not fit the VR: a wildcard in a date, a range of numbers. Or it is
        longer than anything that could be searched for.

    Notes
    -----
    Several values match entities that have any of them. The standard leaves that to
    negotiation for everything but UIDs; asking for ``CT\MR`` has no other meaning.
    """
    vr = vr_of(keyword)
    alternatives = []
    for value in values:
        text = value.strip(_PADDING)
        if not text:
            continue
        if not text.strip("*"):
            return None
        if len(text) > _LONGEST_KEY:
            raise Invalid(f"{keyword}: a key of {len(text)} characters")
        matching = _single(keyword, vr, text, fuzzy=fuzzy, any_case=any_case)
        if matching is None:
            return None
        alternatives.append(matching)
    if not alternatives:
        return None
    return alternatives[0] if len(alternatives) == 1 else AnyOf(tuple(alternatives))


def _single(
    keyword: str, vr: str, text: str, *, fuzzy: bool, any_case: bool
) -> Exact | Wildcard | Range | PersonName | None:
    if vr == "PN":
        groups = tuple(fold_name_group(group) for group in text.split("=")[:NAME_GROUPS])
        universal = not any(group.strip("*^") for group in groups)
        return None if universal else PersonName(groups, fuzzy)
    if vr in _WILDCARD_VRS and ("*" in text or "?" in text):
        return Wildcard(text, any_case)
    if any_case and vr in _WILDCARD_VRS and text.lower() != text.upper():
        return Wildcard(text, any_case)
    try:
        if vr in SPAN_OF:
            return _temporal(vr, text)
        return Exact(_scalar(vr, text))
    except Invalid as error:
        raise Invalid(f"{keyword}: {error}") from error


def _temporal(vr: str, text: str) -> Exact | Range | None:
    span_of = SPAN_OF[vr]
    ends = split_range(vr, text)
    if ends is None:
        span = span_of(text)
        return Exact(span.first) if span.first == span.last else Range(*span)
    start, end = ends
    if not (start or end):
        return None
    return Range(span_of(start).first if start else None, span_of(end).last if end else None)


def _scalar(vr: str, text: str) -> Scalar:
    try:
        if vr in _INTEGER_VRS:
            number = int(text)
            if abs(number) > _LARGEST_INTEGER:
                raise Invalid("number out of range")
            return number
        if vr in _FLOAT_VRS:
            return float(text)
    except ValueError:
        raise Invalid("not a number") from None
    return text


def search_values(keyword: str, element: dict[str, Any]) -> list[Any]:
    """Return the values of an element of the DICOM JSON model as the index matches them.

    Returns
    -------
    list
        Text stripped of padding; numbers; dates and times at full length; of each person
        name its three folded groups (`core.text.name_slots`), one after the other; of a
        sequence one dictionary an item, from keyword to such a list. A value that does not
        fit the VR is left out: it can be returned but not matched.
    """
    values = element.get("Value")
    if not values:
        return []
    vr = vr_of(keyword)
    if vr in _WILDCARD_VRS or vr == "UI":
        return [str(value).strip(_PADDING) for value in values if value]
    if vr == "PN":
        return [slot for value in values for slot in _name_values(value)]
    if vr == "SQ":
        return [_item_values(value) for value in values]
    found: list[Any] = []
    for value in values:
        if value is None:
            continue
        try:
            if vr not in SPAN_OF:
                found.append(_number(vr, value))
            else:
                found.append(SPAN_OF[vr](str(value).strip(_PADDING)).first)
        except Invalid:
            continue
    return found


def _number(vr: str, value: Any) -> Scalar:
    """Return a value of the DICOM JSON model, most often a number already, as it is matched."""
    if vr in _FLOAT_VRS and isinstance(value, int | float):
        return float(value)
    if vr in _INTEGER_VRS and isinstance(value, int) and abs(value) <= _LARGEST_INTEGER:
        return value
    return _scalar(vr, str(value).strip(_PADDING))


def _name_values(value: Any) -> tuple[str, ...]:
    if not isinstance(value, dict):
        return ()
    return name_slots(
        str(value.get("Alphabetic") or ""),
        str(value.get("Ideographic") or ""),
        str(value.get("Phonetic") or ""),
    )


def _item_values(item: Any) -> dict[str, list[Any]]:
    if not isinstance(item, dict):
        return {}
    keywords = {tag: keyword_for_tag(tag) for tag in item}
    values = {
        keyword: search_values(keyword, item[tag])
        for tag, keyword in keywords.items()
        if keyword and vr_of(keyword) != "SQ"
    }
    return {keyword: found for keyword, found in values.items() if found}
