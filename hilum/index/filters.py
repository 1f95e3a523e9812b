"""Conditions of a query as filters of MongoDB.

Fields under ``search`` are arrays of normalised values (`core.matching`), so equality
means that one of the values is equal. A wildcard pattern keeps its literal beginning in
front, where an index can use it, and is built of atomic groups: it takes linear time,
whoever wrote the pattern.
"""

import re
from typing import Any, Final, TypeAlias

from bson.regex import Regex
from pydicom.datadict import dictionary_VM

from hilum.core.levels import COMPUTED_KEYWORDS, LEVEL_OF, Level, tag_of
from hilum.core.query import (
    AnyOf,
    Condition,
    Exact,
    Items,
    Matching,
    MomentRange,
    PersonName,
    Query,
    Range,
    Wildcard,
)
from hilum.core.text import NAME_GROUPS, fold, pad_name_group
from hilum.index.entity_documents import TEXT_KEYWORDS
from hilum.index.words import words_of

Filter: TypeAlias = dict[str, Any]

#: Plain fields that hold the very value a query asks for, and no list.
_PLAIN_FIELDS: Final = frozenset(
    {
        "PatientID",
        # In the form it is searched in, and in the order answers are given in: one index
        # finds a range of days and sorts it.
        "StudyDate",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "SOPClassUID",
    }
)
_COMPUTED_FIELDS: Final = {
    keyword: keyword for keywords in COMPUTED_KEYWORDS.values() for keyword in keywords
} | {"AvailableTransferSyntaxUID": "TransferSyntaxUID"}
_FIRST_DAY: Final = "00000101"
_LAST_DAY: Final = "99991231"
#: How many names of a multi-valued attribute are matched group by group.
_NAMES_BY_GROUP: Final = 8


def level_filters(query: Query) -> dict[Level, Filter]:
    """Return what each collection's documents must meet; every condition is of one level.

    Returns
    -------
    dict
        A filter for STUDY, SERIES and IMAGE; a study has its patient's attributes too, so
        conditions on the patient are the study's. An empty filter demands nothing.
    """
    clauses: dict[Level, list[Filter]] = {Level.STUDY: [], Level.SERIES: [], Level.IMAGE: []}
    for condition in query.conditions:
        level = LEVEL_OF[condition.keyword]
        clauses[Level.STUDY if level is Level.PATIENT else level].append(clause(condition))
    if query.text:
        clauses[Level.STUDY] += _word_clauses(query.text)
    return {level: _all(found) for level, found in clauses.items()}


def clause(condition: Condition) -> Filter:
    """Return the filter for one condition on documents of its keyword's level."""
    return _clause(_field(condition.keyword), condition.keyword, condition.matching)


def _field(keyword: str) -> str:
    if keyword in _PLAIN_FIELDS:
        return keyword
    return _COMPUTED_FIELDS.get(keyword, f"search.{keyword}")


def _all(clauses: list[Filter]) -> Filter:
    if len(clauses) < 2:
        return clauses[0] if clauses else {}
    return {"$and": clauses}


def _clause(field: str, keyword: str, matching: Matching) -> Filter:
    match matching:
        case Exact(value):
            return {field: value}
        case Wildcard(pattern, any_case):
            return _wildcard_clause(field, keyword, pattern, any_case=any_case)
        case Range():
            if field == "StudyDate":
                # A value that is no date is in this field too: a range has two ends.
                return {
                    field: {
                        "$gte": matching.first or _FIRST_DAY,
                        "$lte": matching.last or _LAST_DAY,
                    }
                }
            return {field: {"$elemMatch": _bounds(matching)}}
        case PersonName():
            return _name_clause(field, keyword, matching)
        case Items(conditions):
            inside = [_clause(each.keyword, each.keyword, each.matching) for each in conditions]
            return {field: {"$elemMatch": _all(inside)}}
        case MomentRange(time_keyword, date, time):
            return _moment_clause(field, keyword, _field(time_keyword), date, time)
        case AnyOf(alternatives):
            return _any_clause(field, keyword, alternatives)


def _wildcard_clause(field: str, keyword: str, pattern: str, *, any_case: bool) -> Filter:
    clause: Filter = {field: Regex(wildcard_pattern(pattern), "si" if any_case else "s")}
    if not any_case or keyword not in TEXT_KEYWORDS or "*" in pattern or "?" in pattern:
        return clause
    # An index knows capitals from small letters; that of a study's words has none.
    return _all([*_word_clauses(pattern), clause])


def _word_clauses(text: str) -> list[Filter]:
    return [{"words": Regex(f"^{re.escape(word)}", "s")} for word in words_of(fold(text))]


def _any_clause(
    field: str, keyword: str, alternatives: tuple[Exact | Wildcard | Range | PersonName, ...]
) -> Filter:
    if all(isinstance(each, Exact) for each in alternatives):
        return {field: {"$in": [each.value for each in alternatives if isinstance(each, Exact)]}}
    return {"$or": [_clause(field, keyword, each) for each in alternatives]}


def _bounds(matching: Range) -> Filter:
    bounds = {"$gte": matching.first, "$lte": matching.last}
    return {operator: bound for operator, bound in bounds.items() if bound is not None}


def _name_clause(field: str, keyword: str, name: PersonName) -> Filter:
    if name.fuzzy:
        words = re.split(r"[\s^=*?]+", " ".join(name.groups))
        ahead = "".join(rf"(?=(?:.*[ ^'-])?{re.escape(word)})" for word in words if word)
        return {field: Regex(f"^{ahead}", "s")}
    operands = [_name_operand(group) for group in name.groups]
    if len(operands) == 1:
        return {field: operands[0]}
    given = [(slot, operand) for slot, operand in enumerate(operands) if operand is not None]
    # Slots of one name lie three apart. The slots themselves are in no index, but what is
    # in a slot is in the field, and that is.
    names = range(1 if dictionary_VM(tag_of(keyword)) == "1" else _NAMES_BY_GROUP)
    by_name = [
        _all([{f"{field}.{NAME_GROUPS * each + slot}": operand} for slot, operand in given])
        for each in names
    ]
    return _all([{field: given[0][1]}, by_name[0] if len(by_name) == 1 else {"$or": by_name}])


def _name_operand(group: str) -> str | Regex[str] | None:
    """Return what a stored group must be, None if anything will do."""
    if not group.strip("*^"):
        return None
    if "*" in group or "?" in group:
        # A key may leave out trailing components; a stored group has all five.
        return Regex(wildcard_pattern(group, ending=r"\^*$"), "s")
    return pad_name_group(group)


def _moment_clause(
    field: str, date_keyword: str, time_field: str, date: Range, time: Range
) -> Filter:
    """Return the filter for a moment between two: the times count on the outermost days only."""
    # What an index can narrow, before what it cannot.
    clauses: list[Filter] = [_clause(field, date_keyword, date)]
    for operator, beyond, day, moment in (
        ("$gte", "$gt", date.first, time.first),
        ("$lte", "$lt", date.last, time.last),
    ):
        if day is not None and moment is not None:
            on_the_day = {field: day, time_field: {operator: moment}}
            clauses.append({"$or": [{field: {beyond: day}}, on_the_day]})
    return _all(clauses)


def wildcard_pattern(pattern: str, ending: str = "$") -> str:
    """Return a regular expression for a pattern of ``*`` and ``?`` (PS3.4 C.2.2.2.4).

    Parameters
    ----------
    pattern
        As asked for.
    ending
        What follows the last character of the pattern, unless that is a ``*``.

    Notes
    -----
    Between two stars the first place that fits is as good as any later one. Each such part
    is an atomic group, which is never tried again, so that ``*a*a*a*a*b`` costs no more
    than its length times the value's.
    """
    first, *rest = re.split(r"\*+", pattern)
    expression = "^" + _literal(first)
    if not rest:
        return expression + ending
    *middle, last = rest
    expression += "".join(f"(?>.*?{_literal(part)})" for part in middle)
    return expression + (f".*{_literal(last)}{ending}" if last else "")


def _literal(part: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in part)
