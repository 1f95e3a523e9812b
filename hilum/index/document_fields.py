"""The fields that the documents of all levels have, made from attributes.

Plain values under the standard's keywords, the form in which values are matched, Orthanc's
main tags as text, and a string that sorts entities as people count them.
"""

import re
from functools import cache, lru_cache
from typing import Any, Final

from hilum.core.instance import Attributes, Header
from hilum.core.levels import STORED_KEYWORDS, Level, json_tag
from hilum.core.main_tags import MAIN_DICOM_TAGS
from hilum.core.matching import search_values

#: Keywords that a document has as plain fields beside its identifiers.
_PLAIN: Final[dict[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "ReferringPhysicianName",
    ),
    Level.SERIES: (
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "ProtocolName",
        "Manufacturer",
        "StationName",
    ),
    # Some of levels above: the view of frames reads nothing but instances.
    Level.IMAGE: (
        "PatientName",
        "Modality",
        "SeriesNumber",
        "InstanceNumber",
        "Rows",
        "Columns",
        "PhotometricInterpretation",
        "WindowCenter",
        "WindowWidth",
    ),
}
_LARGEST_NUMBER: Final = 2**31


@cache
def kept_keywords(level: Level) -> dict[str, str]:
    """Return by tag what the document of a level keeps; a study has its patient's too."""
    keywords = STORED_KEYWORDS[level]
    if level is Level.STUDY:
        keywords = (*STORED_KEYWORDS[Level.PATIENT], *keywords)
    return {json_tag(keyword): keyword for keyword in keywords}


def main_tags(level: Level, header: Header) -> dict[str, str]:
    """Return the main tags that the document of a level keeps; a study has its patient's too."""
    keywords = MAIN_DICOM_TAGS[level]
    if level is Level.STUDY:
        keywords = (*MAIN_DICOM_TAGS[Level.PATIENT], *keywords)
    found = header.main_tags
    return {keyword: found[keyword] for keyword in keywords if keyword in found}


def order_key(number: Any, uid: str) -> str:
    """Return a string that sorts by number, those without one last, then by UID.

    UIDs sort as people count: ``1.2.9`` comes before ``1.2.10``.
    """
    in_range = isinstance(number, int) and abs(number) < _LARGEST_NUMBER
    count = f"{number + _LARGEST_NUMBER:010d}" if in_range else "~"
    # The instances of a series most often differ behind the last dot only.
    root, dot, last = uid.rpartition(".")
    return f"{count} {_shared_key(root)}{dot}{_key(last)}"


def _key(uid: str) -> str:
    return re.sub(r"\d+", lambda digits: f"{len(digits[0]):02d}{digits[0]}", uid)


_shared_key = lru_cache(256)(_key)


def search_fields(keywords: dict[str, str], attributes: Attributes) -> dict[str, list[Any]]:
    """Return by keyword the values of attributes as they are matched; no empty ones."""
    fields = {}
    for tag, element in attributes.items():
        keyword = keywords[tag]
        if found := search_values(keyword, element):
            fields[keyword] = found
    return fields


def plain_fields(level: Level, attributes: Attributes) -> dict[str, Any]:
    """Return by keyword the plain fields that the document of a level has."""
    fields = {keyword: _plain(keyword, attributes) for keyword in _PLAIN[level]}
    return {keyword: value for keyword, value in fields.items() if value is not None}


def _plain(keyword: str, attributes: Attributes) -> Any:
    """Return the first value of an attribute as a string or number, None without one."""
    element = attributes.get(json_tag(keyword))
    values = element.get("Value") if element else None
    if not element or not values or values[0] is None:
        return None
    value = values[0]
    if isinstance(value, dict):
        return value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic")
    # A time of day is longer in the form it is searched in than anybody wants to read.
    if element.get("vr") in {"TM", "DT"}:
        return value
    found = search_values(keyword, {"Value": [value]})
    return found[0] if found else value
