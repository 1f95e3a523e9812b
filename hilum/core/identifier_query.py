"""Identifiers of C-FIND, C-MOVE and C-GET requests, read as queries (PS3.4 C.4, C.6)."""

from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from hilum.core.errors import Invalid
from hilum.core.levels import COMPUTED_KEYWORDS, LEVEL_OF, Level, vr_of
from hilum.core.matching import matching_of
from hilum.core.query import (
    AnyOf,
    Condition,
    Exact,
    Items,
    Model,
    MomentRange,
    PersonName,
    Query,
    Range,
    Wildcard,
)

#: Part of every identifier, answered by the edge and never matched on.
_NOT_KEYS: Final = frozenset(
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "QueryRetrieveLevel",
        "RetrieveAETitle",
        "InstanceAvailability",
    )
)
#: Says how the request's times are meant (PS3.4 C.2.2.2.5), not which entities are wanted.
_NEVER_MATCHED: Final = frozenset({"TimezoneOffsetFromUTC"})
_ASCII_VRS: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})
#: Dates and the times that belong to them, for combined matching (PS3.4 C.2.2.2.5.1).
_DATE_TIMES: Final = {
    "PatientBirthDate": "PatientBirthTime",
    "StudyDate": "StudyTime",
    "SeriesDate": "SeriesTime",
    "ContentDate": "ContentTime",
    "AcquisitionDate": "AcquisitionTime",
    "InstanceCreationDate": "InstanceCreationTime",
    "PerformedProcedureStepStartDate": "PerformedProcedureStepStartTime",
}


class MissingUniqueKey(Invalid):
    """The identifier lacks a unique key that its level demands (A900)."""

    code = "missing-unique-key"


def parse_identifier(
    identifier: Dataset,
    model: Model,
    relational: bool = False,
    *,
    combined_date_time: bool = False,
    fuzzy: bool = False,
) -> Query:
    """Return the query that a C-FIND identifier stands for.

    Parameters
    ----------
    identifier
        As received. Text is decoded by its own (0008,0005).
    model
        The information model of the presentation context.
    relational, combined_date_time, fuzzy
        What extended negotiation agreed on (PS3.4 C.5.1.1).

    Raises
    ------
    MissingUniqueKey
        Without `relational`: no value for the unique key of a level above.
    Invalid
        No Query/Retrieve Level, or none of `model`; a unique key above with wildcards; a
        value that its VR does not allow; a sequence key of several items.

    Notes
    -----
    More is understood than hierarchical search demands: any key of a level above is
    matched, and lists of UIDs serve there too. Keys of levels below, and keys the index
    does not keep, are left out of the query and named in `Query.unsupported`.

    References
    ----------
    PS3.4 C.4.1.1.3, C.4.1.2.1, C.4.1.3
    """
    level = _level(identifier, model)
    conditions: list[Condition] = []
    requested: list[str] = []
    requested_items: dict[str, tuple[str, ...]] = {}
    unsupported: list[str] = []
    for tag in _key_tags(identifier):
        keyword = keyword_for_tag(tag)
        if not answers(keyword, level):
            unsupported.append(keyword or str(tag))
            continue
        requested.append(keyword)
        if keyword in _NEVER_MATCHED:
            continue
        if vr_of(keyword) == "SQ":
            item_conditions, item_keywords, unknown = _item_keys(keyword, identifier, fuzzy)
            requested_items[keyword] = item_keywords
            unsupported += unknown
            if item_conditions:
                conditions.append(Condition(keyword, Items(item_conditions)))
            continue
        matching = matching_of(keyword, _values(identifier, tag), fuzzy=fuzzy)
        if matching is not None:
            conditions.append(Condition(keyword, matching))
    if combined_date_time:
        conditions = _combine(conditions)
    if not relational:
        _check_unique_keys(level, model, conditions)
    return Query(
        level=level,
        conditions=tuple(conditions),
        requested=tuple(requested),
        requested_items=requested_items,
        unsupported=tuple(unsupported),
    )


def parse_retrieve_identifier(identifier: Dataset, model: Model, relational: bool = False) -> Query:
    """Return the query for the instances that a C-MOVE or C-GET identifier names.

    Raises
    ------
    MissingUniqueKey
        No value for the unique key of the level, or, without `relational`, of one above.
    Invalid
        No Query/Retrieve Level, or none of `model`; several Patient IDs.

    Notes
    -----
    Only unique keys count, and they are taken literally: a ``*`` in a Patient ID is a
    star. Other keys should not be there and do not narrow what is sent.

    References
    ----------
    PS3.4 C.4.2.1.4, C.4.2.2.1
    """
    level = _level(identifier, model)
    conditions = []
    for each in level.with_above:
        if each not in _levels(model):
            continue
        keyword = each.unique_key
        values = tuple(value for value in _values(identifier, Tag(keyword)) if value)
        if not values:
            if each is level or not relational:
                raise MissingUniqueKey(f"{keyword} is required at level {level.value}")
            continue
        if each is Level.PATIENT and len(values) > 1:
            raise Invalid("PatientID takes one value")
        alternatives = tuple(Exact(value) for value in values)
        conditions.append(
            Condition(keyword, alternatives[0] if len(alternatives) == 1 else AnyOf(alternatives))
        )
    return Query(level=level, conditions=tuple(conditions))


def answers(keyword: str, level: Level) -> bool:
    """Return whether an answer of `level` can carry the attribute.

    Attributes of the level and of those above; the counts over a patient only where the
    patient itself is the answer.
    """
    found_at = LEVEL_OF.get(keyword)
    if found_at is None or found_at not in level.with_above:
        return False
    return found_at is level or keyword not in COMPUTED_KEYWORDS[Level.PATIENT]


def _levels(model: Model) -> tuple[Level, ...]:
    levels = tuple(Level)
    return levels[levels.index(model.top) :]


def _level(identifier: Dataset, model: Model) -> Level:
    values = _values(identifier, Tag("QueryRetrieveLevel"))
    text = values[0] if len(values) == 1 else ""
    allowed = {level.value: level for level in _levels(model)}
    if text not in allowed:
        raise Invalid(f"Query/Retrieve Level must be one of {', '.join(allowed)}, not {text!r}")
    return allowed[text]


def _key_tags(identifier: Dataset) -> Iterator[BaseTag]:
    # By its keys: iterating a Dataset itself would convert every value on the way.
    for tag in map(BaseTag, sorted(identifier.keys())):
        # Command and meta elements and group lengths have no business here (PS3.7 E, PS3.5 7.2).
        if tag.group > 2 and tag.element != 0 and tag not in _NOT_KEYS:
            yield tag


def _values(identifier: Dataset, tag: BaseTag) -> list[str]:
    """Return the values of an element as text, without padding.

    Values of the default repertoire are split here rather than by pydicom, which refuses
    or warns of what its VR does not allow: whether a key is valid is for us to say.
    """
    if tag not in identifier:
        return []
    element = identifier.get_item(tag)
    if isinstance(element, RawDataElement):
        vr = element.VR or dictionary_VR(tag)
        if vr == "UN":
            vr = dictionary_VR(tag)
        if vr in _ASCII_VRS and isinstance(element.value, bytes):
            text = element.value.decode("latin-1")
            return [part.strip(" \0\t\r\n") for part in text.split("\\")]
    return _converted_values(identifier[tag])


def _converted_values(element: DataElement) -> list[str]:
    value = element.value
    if value is None:
        return []
    several = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(part).strip(" \0\t\r\n") for part in several if part is not None]


def _item_keys(
    keyword: str, identifier: Dataset, fuzzy: bool
) -> tuple[tuple[Condition, ...], tuple[str, ...], list[str]]:
    """Return what the item of a sequence key asks: conditions, keywords, unknown keys."""
    items: Sequence[Dataset] = identifier[keyword].value or ()
    if len(items) > 1:
        raise Invalid(f"{keyword}: a sequence key has one item")
    conditions, wanted, unknown = [], [], []
    for item in items:
        for tag in _key_tags(item):
            item_keyword = keyword_for_tag(tag)
            if not item_keyword:
                unknown.append(f"{keyword}.{tag}")
                continue
            wanted.append(item_keyword)
            if vr_of(item_keyword) == "SQ":
                if item[tag].value and any(len(nested) for nested in item[tag].value):
                    unknown.append(f"{keyword}.{item_keyword}")
                continue
            matching = matching_of(item_keyword, _values(item, tag), fuzzy=fuzzy)
            if matching is not None:
                conditions.append(Condition(item_keyword, matching))
    return tuple(conditions), tuple(wanted), unknown


def _combine(conditions: list[Condition]) -> list[Condition]:
    """Return the conditions with each date and its time as one moment (PS3.4 C.2.2.2.5.1)."""
    by_keyword = {condition.keyword: condition for condition in conditions}
    for date_keyword, time_keyword in _DATE_TIMES.items():
        date = _as_range(by_keyword.get(date_keyword))
        time = _as_range(by_keyword.get(time_keyword))
        if date and time:
            del by_keyword[time_keyword]
            by_keyword[date_keyword] = Condition(
                date_keyword, MomentRange(time_keyword, date, time)
            )
    return list(by_keyword.values())


def _as_range(condition: Condition | None) -> Range | None:
    matching = condition.matching if condition else None
    return matching if isinstance(matching, Range) else None


def _check_unique_keys(level: Level, model: Model, conditions: Sequence[Condition]) -> None:
    by_keyword = {condition.keyword: condition.matching for condition in conditions}
    for above in level.above:
        if above not in _levels(model):
            continue
        matching = by_keyword.get(above.unique_key)
        if matching is None:
            raise MissingUniqueKey(f"{above.unique_key} is required at level {level.value}")
        alternatives = matching.alternatives if isinstance(matching, AnyOf) else (matching,)
        if any(isinstance(each, Wildcard | PersonName) for each in alternatives):
            raise Invalid(f"{above.unique_key} takes no wildcards at level {level.value}")
