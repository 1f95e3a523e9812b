"""QIDO-RS parameters, read as queries (PS3.18 8.3.4, 10.6)."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from hilum.core.errors import Invalid
from hilum.core.identifier_query import answers
from hilum.core.levels import LEVEL_OF, Level, vr_of
from hilum.core.matching import matching_of
from hilum.core.query import Condition, Items, Query

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
#: Names that are no keys (PS3.18 8.3.3, 8.3.4), and read elsewhere or below.
_OPTIONS: Final = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_OF_THE_EDGE: Final = frozenset({"accept", "charset"})
#: Several values of a key match any of them here, whether this is asked for or not.
_GIVEN_ANYWAY: Final = frozenset({"multiplevaluematching"})
#: VRs of which no value has a comma, which therefore separates them.
_NEVER_WITH_COMMAS: Final = frozenset({"UI", "CS"})
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_LARGEST_OFFSET: Final = 2**31 - 1

#: What an answer has without being asked (PS3.18 Tables 10.6.3-3 to 10.6.3-5), but for what
#: the HTTP edge adds: Retrieve URL and Instance Availability.
_DEFAULTS: Final[dict[Level, tuple[str, ...]]] = {
    Level.PATIENT: ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "NumberOfSeriesRelatedInstances",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.IMAGE: (
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
        "TimezoneOffsetFromUTC",
    ),
}


def parse_qido(
    level: Level,
    parameters: Iterable[tuple[str, str]],
    *,
    within: Mapping[str, str] = _NOTHING,
) -> Query:
    """Return the query that a QIDO-RS request stands for.

    Parameters
    ----------
    level
        What is searched for.
    parameters
        Decoded names and values in the order of the URL. A name is a keyword, a tag of
        eight hex digits, either of them followed by ``.`` and that of an item's attribute,
        or ``limit``, ``offset``, ``includefield``, ``fuzzymatching``. Those that are about
        the answer's form (``accept``, ``charset``) are passed over.
    within
        UIDs that the path names, by keyword, such as ``{"StudyInstanceUID": "1.2.3"}``.
        Attributes of the levels they stand for are not repeated in every answer.

    Raises
    ------
    Invalid
        A limit or offset that is no number, a ``fuzzymatching`` that is no truth value, a
        value that its VR does not allow.

    Notes
    -----
    A key the index does not keep at this level is named in `Query.unsupported`; it is no
    error (PS3.18 8.3.4.1). Without a limit in the URL `Query.limit` is None: what a server
    is ready to give at once is the edge's to say.
    """
    pairs = [*within.items(), *parameters]
    options = {name.lower(): value for name, value in pairs if name.lower() in _OPTIONS}
    fuzzy = _boolean(options, "fuzzymatching")
    values: dict[tuple[str, ...], list[str]] = {}
    unsupported: list[str] = []
    fields = _Fields(level, within)
    for name, value in pairs:
        if name.lower() in _OPTIONS | _OF_THE_EDGE | _GIVEN_ANYWAY:
            continue
        path = tuple(_keyword(part) or "" for part in name.split("."))
        if not all(path) or len(path) > 2 or not answers(path[0], level):
            unsupported.append(name)
        else:
            values.setdefault(path, []).extend(_separate(path[-1], value))
            fields.add(path[0])
    for name, value in pairs:
        if name.lower() == "includefield":
            unsupported += [field for field in _parts(value) if not fields.include(field)]
    return Query(
        level=level,
        conditions=tuple(_conditions(values, fuzzy=fuzzy)),
        requested=tuple(fields.requested),
        requested_items=fields.items,
        where_known=frozenset(fields.where_known),
        unsupported=tuple(unsupported),
        limit=_number(options, "limit"),
        offset=_number(options, "offset") or 0,
    )


class _Fields:
    """What an answer is to have: by default, because it is a key, because it is included."""

    def __init__(self, level: Level, within: Mapping[str, str]) -> None:
        self._level = level
        self._within = within
        self.requested = dict.fromkeys(_defaults(level, within))
        self.items: dict[str, tuple[str, ...]] = {}
        self.where_known: set[str] = set()

    def add(self, keyword: str) -> None:
        """Have an attribute, whether there is a value or not."""
        self.requested[keyword] = None
        self.where_known.discard(keyword)
        self.items.pop(keyword, None)

    def include(self, field: str) -> bool:
        """Have what a value of ``includefield`` names; return whether it is known here."""
        if field.lower() == "all":
            # A client that wants whatever there is does not want to be told what is not.
            everything = dict.fromkeys(_everything(self._level, self._within))
            self.where_known |= everything.keys() - self.requested.keys()
            self.requested |= everything
            return True
        path = [_keyword(part) for part in field.split(".")]
        keyword = path[0]
        if not keyword or None in path or len(path) > 2 or not answers(keyword, self._level):
            return False
        if len(path) == 1:
            self.add(keyword)
        elif keyword not in self.requested or keyword in self.items:
            # Of the sequence that much, unless it is there as a whole.
            self.requested[keyword] = None
            self.items[keyword] = (*self.items.get(keyword, ()), str(path[1]))
        return True


def _conditions(values: Mapping[tuple[str, ...], list[str]], *, fuzzy: bool) -> list[Condition]:
    conditions: list[Condition] = []
    items: dict[str, list[Condition]] = {}
    for path, texts in values.items():
        if vr_of(path[-1]) == "SQ":
            continue
        matching = matching_of(path[-1], texts, fuzzy=fuzzy)
        if matching is None:
            continue
        condition = Condition(path[-1], matching)
        if len(path) == 1:
            conditions.append(condition)
        else:
            items.setdefault(path[0], []).append(condition)
    conditions += (Condition(keyword, Items(tuple(found))) for keyword, found in items.items())
    return conditions


def _keyword(name: str) -> str | None:
    """Return the keyword of a keyword or of a tag in hex, None if it is neither."""
    if _TAG.fullmatch(name):
        return keyword_for_tag(int(name, 16)) or None
    return name if tag_for_keyword(name) is not None else None


def _separate(keyword: str, value: str) -> list[str]:
    # A comma may be part of a name or of a description, but not of a UID (PS3.18 8.3.4.1) or
    # of a code string (PS3.5 6.2): JavaScript writes lists so, OHIF that of modalities.
    separated = value.replace(",", "\\") if vr_of(keyword) in _NEVER_WITH_COMMAS else value
    return separated.split("\\")


def _defaults(level: Level, within: Mapping[str, str]) -> list[str]:
    """Return the attributes of an answer, with those of levels that the path leaves open."""
    keywords: list[str] = []
    for each in level.with_above:
        if each is level or each.unique_key not in within:
            keywords += _DEFAULTS[each] if each is not Level.PATIENT or level is each else ()
        else:
            keywords.append(each.unique_key)
    return keywords


def _everything(level: Level, within: Mapping[str, str]) -> list[str]:
    named = {each for each in level.above if each.unique_key in within}
    if Level.STUDY in named:
        named.add(Level.PATIENT)
    return [
        keyword
        for keyword, found_at in LEVEL_OF.items()
        if answers(keyword, level) and found_at not in named
    ]


def _parts(value: str) -> list[str]:
    return [part for part in (each.strip() for each in value.split(",")) if part]


def _boolean(options: Mapping[str, str], name: str) -> bool:
    text = options.get(name, "").strip().lower()
    if text not in {"", "true", "false"}:
        raise Invalid(f"{name} is true or false")
    return text == "true"


def _number(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LARGEST_OFFSET:
        raise Invalid(f"{name} is not a number from 0 to {_LARGEST_OFFSET}")
    return int(text)
