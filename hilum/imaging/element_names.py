"""What Orthanc and DCMTK call an element, standard or private."""

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Final

from pydicom.datadict import (
    dictionary_is_retired,
    dictionary_keyword,
    dictionary_VR,
    private_dictionary_description,
    private_dictionary_VR,
    tag_for_keyword,
)

#: What no dictionary has.
UNKNOWN: Final = "Unknown Tag & Data"
_GROUP_LENGTHS: Final = ("GenericGroupLength", "PrivateGroupLength")
_CREATOR: Final = "PrivateCreator"
#: Retired since, or all too well known.
_UNMARKED: Final = frozenset(
    {
        "OtherPatientIDs",
        "ReferencedPatientAliasSequence",
        "WeightingLookupTableDescriptor",
        "WeightingLookupTableData",
        "RTDoseROISequence",
        "DoseValue",
        "ROIObservationLabel",
        "ROIObservationDescription",
        "TreatmentTerminationCode",
        "RoboticBaseLocationIndicator",
    }
)
_TAG: Final = re.compile(r"([0-9A-Fa-f]{4})[-,]?([0-9A-Fa-f]{4})")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9]+")


def is_private_creator(tag: int) -> bool:
    """Return whether an element says who has reserved a block (PS3.5 7.8.1)."""
    return bool(tag >> 16 & 1) and 0x10 <= tag & 0xFFFF <= 0xFF


@lru_cache(maxsize=8192)
def name_of(tag: int, creator: str = "") -> str:
    """Return the name of an element: its keyword, marked if it is retired.

    Parameters
    ----------
    creator
        Who has reserved the block that a private element is in.
    """
    if is_private_creator(tag):
        return _CREATOR
    try:
        if tag >> 16 & 1:
            return _private(tag, creator)[1]
        keyword = dictionary_keyword(tag)
    except KeyError:
        return _GROUP_LENGTHS[tag >> 16 & 1] if tag & 0xFFFF == 0 else UNKNOWN
    marked = keyword and keyword not in _UNMARKED and dictionary_is_retired(tag)
    return f"RETIRED_{keyword}" if marked else keyword or UNKNOWN


def tag_of(text: str) -> int:
    """Return the tag that ``0010-0010``, ``0010,0010``, ``00100010`` or a keyword names.

    Raises
    ------
    KeyError
        It names none.
    """
    if match := _TAG.fullmatch(text):
        return int(match[1] + match[2], 16)
    tag = tag_for_keyword(text.removeprefix("RETIRED_"))
    if tag is None:
        raise KeyError(text)
    return tag


@lru_cache(maxsize=8192)
def vr_of(tag: int, creator: str = "", *, signed: bool = False) -> str:
    """Return the VR of an element whose encoding does not tell it; UN if nobody knows.

    Parameters
    ----------
    signed
        Whether Pixel Representation says so: some attributes follow it (PS3.5 A.1).
    """
    if tag & 0xFFFF == 0:
        return "UL"
    if is_private_creator(tag):
        return "LO"
    try:
        vr = _private(tag, creator)[0] if tag >> 16 & 1 else dictionary_VR(tag)
    except KeyError:
        return "UN"
    if vr == "US or SS":
        return "SS" if signed else "US"
    return vr if len(vr) == 2 else "OW"


def _private(tag: int, creator: str) -> tuple[str, str]:
    """Return VR and name of a private element; raise `KeyError` if nobody knows it."""
    if not creator:
        raise KeyError(tag)
    group, element = tag >> 16, tag & 0xFFFF
    table = _dcmtk()
    in_block = f"{creator}\t{group:04x}xx{element & 0xFF:02x}"
    found = table.get(f"{creator}\t{group:04x}{element:04x}") or table.get(in_block)
    if found is not None:
        return found
    words = _NOT_IN_NAMES.split(private_dictionary_description(tag, creator))
    name = "".join(word[0].upper() + word[1:] for word in words if word)
    return private_dictionary_VR(tag, creator), name


@cache
def _dcmtk() -> dict[str, tuple[str, str]]:
    """Return VR and name by creator and tag, where DCMTK's dictionary is not pydicom's."""
    text = resources.files(__package__).joinpath("private_elements.tsv").read_text()
    lines = [line.rsplit("\t", 2) for line in text.splitlines() if not line.startswith("#")]
    return {key: (vr, name) for key, vr, name in lines}
