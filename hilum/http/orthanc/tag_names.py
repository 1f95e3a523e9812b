"""Tags as Orthanc names them: by keyword, by ``gggg,eeee``, or with both and the value."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from hilum.core.levels import tag_of

_HEX: Final = re.compile(r"([0-9A-Fa-f]{4})[,-]?([0-9A-Fa-f]{4})")


class Form(Enum):
    """How an answer names tags."""

    HUMAN = "human"
    """``"PatientName": "…"``"""
    SHORT = "short"
    """``"0010,0010": "…"``"""
    FULL = "full"
    """``"0010,0010": {"Name": "PatientName", "Type": "String", "Value": "…"}``"""


def in_form(tags: Mapping[str, str], form: Form) -> dict[str, Any]:
    """Return values by keyword in one of the forms."""
    if form is Form.HUMAN:
        return dict(tags)
    if form is Form.SHORT:
        return {short_name(tag_of(keyword)): text for keyword, text in tags.items()}
    return {
        short_name(tag_of(keyword)): {"Name": keyword, "Type": "String", "Value": text}
        for keyword, text in tags.items()
    }


def short_name(tag: int) -> str:
    """Return a tag as ``gggg,eeee``."""
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def tag_named(name: str) -> int | None:
    """Return the tag that a keyword, ``gggg,eeee``, ``gggg-eeee`` or ``ggggeeee`` names."""
    if match := _HEX.fullmatch(name):
        return int(match[1] + match[2], 16)
    return tag_for_keyword(name)


def keyword_named(name: str) -> str | None:
    """Return the keyword of a tag that is named in any of these ways; None if it has none."""
    tag = tag_named(name)
    return keyword_for_tag(tag) or None if tag is not None else None
