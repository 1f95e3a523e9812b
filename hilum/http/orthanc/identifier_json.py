"""Identifiers of query/retrieve in Orthanc's JSON: keys that are asked for, and answers."""

import re
import struct
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydicom.datadict import dictionary_VR, keyword_for_tag

from hilum.core.instance import Attributes
from hilum.core.levels import LEVEL_OF, Level, json_tag
from hilum.core.peer import Modality
from hilum.http.orthanc.errors import BAD_FILE_FORMAT, OUT_OF_RANGE, Refusal
from hilum.http.orthanc.resources import NAMES, PLURALS

#: How a tag may be written beside its keyword.
_TAG: Final = re.compile(r"([0-9A-Fa-f]{4})[,-]?([0-9A-Fa-f]{4})")
#: VRs of binary numbers, and how wide they are.
_NUMBERS: Final = {
    "US": "<H",
    "SS": "<h",
    "UL": "<L",
    "SL": "<l",
    "UV": "<Q",
    "SV": "<q",
    "FL": "<f",
    "FD": "<d",
}
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
#: In the singular and in the plural.
_LEVELS: Final = {
    name.lower(): level for names in (NAMES, PLURALS) for level, name in names.items()
} | {"image": Level.IMAGE, "images": Level.IMAGE}
_DATES: Final = frozenset({"DA", "TM", "DT"})
#: Asked for whatever is asked for, from the first level of them on downwards.
_ALWAYS: Final = {
    Level.PATIENT: ("PatientID",),
    Level.STUDY: ("StudyInstanceUID", "AccessionNumber"),
    Level.SERIES: ("SeriesInstanceUID",),
    Level.IMAGE: ("SOPInstanceUID",),
}


def level_named(name: Any) -> Level:
    """Return a level by Orthanc's name for it, in whatever case.

    Raises
    ------
    Refusal
        It has none of that name.
    """
    level = _LEVELS.get(name.lower()) if isinstance(name, str) else None
    if level is None:
        raise Refusal(OUT_OF_RANGE, f"no such level: {str(name)[:20]}")
    return level


def keys_of(query: Any, field: str = "Query") -> Attributes:
    """Return an associative array of tags to texts as keys of an identifier.

    Raises
    ------
    Refusal
        It is something else, or a tag is unknown.
    """
    if not isinstance(query, Mapping):
        raise Refusal(BAD_FILE_FORMAT, f"The field {field} must contain a JSON object")
    keys: Attributes = {}
    for name, text in query.items():
        tag = _tag(name)
        if tag is None or not isinstance(text, str):
            raise Refusal(
                BAD_FILE_FORMAT,
                f"Associative array of DICOM tags to strings expected in field: {field}",
            )
        vr = _vr(tag)
        values = _values(vr, text)
        keys[tag] = {"vr": vr, **({"Value": values} if values else {})}
    return keys


def _tag(name: str) -> str | None:
    match = _TAG.fullmatch(name)
    if match:
        return (match[1] + match[2]).upper()
    try:
        return json_tag(name)
    except KeyError:
        return None


def _vr(tag: str) -> str:
    try:
        return dictionary_VR(int(tag, 16)).split(" ")[0]
    except KeyError:  # private
        return "LO"


def _values(vr: str, text: str) -> list[Any]:
    if not text or vr == "SQ":
        return []
    if vr == "PN":
        return [dict(zip(_GROUPS, name.split("="), strict=False)) for name in text.split("\\")]
    if vr in _NUMBERS:
        numbers: list[Any] = []
        try:
            for each in text.split("\\"):
                numbers.append(float(each) if vr in {"FD", "FL"} else int(each))
                struct.pack(_NUMBERS[vr], numbers[-1])
        except (ValueError, OverflowError, struct.error):
            raise Refusal(BAD_FILE_FORMAT, f"not a number of type {vr}: {text[:20]}") from None
        return numbers
    return [text]


def as_asked(modality: Modality, level: Level, keys: Attributes, *, normalize: bool) -> Attributes:
    """Return the identifier of a query: with the keys that it always has, fit for the peer.

    Parameters
    ----------
    normalize
        Whether to leave out the keys of levels below.
    """
    always = [keyword for each in level.with_above for keyword in _ALWAYS[each]]
    asked: Attributes = {json_tag(keyword): {"vr": _vr(json_tag(keyword))} for keyword in always}
    too_deep = {json_tag(keyword) for keyword, of in LEVEL_OF.items() if of not in level.with_above}
    for tag, element in keys.items():
        if not (normalize and tag in too_deep):
            asked[tag] = _without_wildcards(modality.manufacturer, element)
    return asked


def _without_wildcards(manufacturer: str, element: dict[str, Any]) -> dict[str, Any]:
    """Return a key as the equipment of a manufacturer can take it; empty matches all too."""
    alone = element.get("Value") in (["*"], [{"Alphabetic": "*"}])
    everywhere = manufacturer == "GenericNoUniversalWildcard"
    in_dates = manufacturer in {"GenericNoWildcardInDates", "GE"} and element["vr"] in _DATES
    if alone and (everywhere or in_dates):
        return {"vr": element["vr"]}
    return element


def told(attributes: Attributes, style: str) -> dict[str, Any]:
    """Return an identifier in one of Orthanc's three styles: ``full``, ``short``, ``simplify``."""
    members: dict[str, Any] = {}
    for tag, element in sorted(attributes.items()):
        name = keyword_for_tag(int(tag, 16)) or "Unknown Tag & Data"
        is_sequence = element["vr"] == "SQ"
        value: Any = _items(element, style) if is_sequence else _text(element)
        number = f"{tag[:4]},{tag[4:]}".lower()
        if style == "full":
            kind = "Sequence" if is_sequence else "String"
            members[number] = {"Name": name, "Type": kind, "Value": value}
        else:
            members[name if style == "simplify" else number] = value
    return members


def _items(element: dict[str, Any], style: str) -> list[dict[str, Any]]:
    return [told(item, style) for item in element.get("Value", ())]


def _text(element: dict[str, Any]) -> str:
    return "\\".join(
        "=".join(value.get(group, "") for group in _GROUPS).rstrip("=")
        if isinstance(value, dict)
        else str(value)
        for value in element.get("Value", ())
    )


def style_of(request: web.Request) -> str:
    """Return the style that the URL asks for."""
    return next((style for style in ("simplify", "short") if style in request.query), "full")


def style_in(body: Mapping[str, Any], default: str) -> str:
    """Return the style that the members of a body ask for."""
    for member, style in (("Simplify", "simplify"), ("Short", "short"), ("Full", "full")):
        if body.get(member) is True:
            return style
    return default
