"""De-identification by the Basic Profile (PS3.15 E.1), and other changes of a data set.

Which elements the profile is about, and what becomes of them, is in ``basic_profile.tsv``: X,
they are removed; Z, emptied; U, a UID gets another in its place, the same one wherever it
stands in the data set. It is the profile's edition 2023b. Pixels are not looked at: what is
burned in stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final
from uuid import uuid4

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import generate_uid

#: Edition of the standard.
EDITION: Final = "2023b"
PATIENT_ID: Final = Tag("PatientID")
PATIENT_NAME: Final = Tag("PatientName")
STUDY_UID: Final = Tag("StudyInstanceUID")
SERIES_UID: Final = Tag("SeriesInstanceUID")
INSTANCE_UID: Final = Tag("SOPInstanceUID")
#: What names a resource, from the top: who changes one of them makes others of all below it.
IDENTIFIERS: Final = (PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID)
_UTF_8: Final = "ISO_IR 192"
#: UIDs that the standard gives: they name nothing of anybody's.
_WELL_KNOWN: Final = "1.2.840.10008."


@dataclass(frozen=True, slots=True)
class Changes:
    """What a client wants of a data set. Tags are of its top level."""

    replaced: Mapping[int, DataElement] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()
    """As they are, whatever else happens; a sequence with all that is in it."""
    without_private: bool = False
    """Private elements go, also those in sequences."""


def modify(data_set: Dataset, changes: Changes) -> None:
    """Change a data set, and give it identifiers of its own.

    It is another instance afterwards; of another series, study or patient if what names those
    is replaced, and then all below it has new UIDs too. What is kept stays.
    """
    if changes.without_private:
        _remove_private(data_set, changes.kept)
    for tag in changes.removed:
        if tag in data_set:
            del data_set[tag]
    above = [place for place, tag in enumerate(IDENTIFIERS) if tag in changes.replaced]
    first = min([*above, IDENTIFIERS.index(INSTANCE_UID)])
    for tag in IDENTIFIERS[max(first, 1) :]:
        if tag not in changes.kept:
            data_set[tag] = DataElement(tag, "UI", generate_uid(prefix=None))
    _replace(data_set, changes)


def anonymize(data_set: Dataset, changes: Changes, method: str) -> None:
    """Take out of a data set what tells of whom it is.

    Parameters
    ----------
    method
        What is to be noted as De-identification Method.
    """
    new_id = str(uuid4())
    names: dict[int, DataElement] = {
        PATIENT_ID: DataElement(PATIENT_ID, "LO", new_id),
        PATIENT_NAME: DataElement(PATIENT_NAME, "PN", f"Anonymized {new_id[:8]}"),
    }
    names |= {tag: element for tag, element in changes.replaced.items() if tag in names}
    uids = {
        str(data_set[tag].value): str(element.value)
        for tag, element in changes.replaced.items()
        if tag in IDENTIFIERS[1:] and tag in data_set
    }
    _by_profile(data_set, changes, names, uids, spared=changes.kept)
    for name, element in names.items():
        if name not in changes.kept:
            data_set[name] = element
    for tag in changes.removed:
        if tag in data_set:
            del data_set[tag]
    data_set.PatientIdentityRemoved = "YES"
    data_set.DeidentificationMethod = method
    _replace(data_set, changes)


def _by_profile(
    data_set: Dataset,
    changes: Changes,
    names: Mapping[int, DataElement],
    uids: dict[str, str],
    spared: frozenset[int],
) -> None:
    """Do with the elements of a data set, and those in its sequences, what the profile says."""
    profile = _profile()
    for tag in list(data_set.keys()):
        if tag in spared:
            continue
        action = profile.get(tag, "")
        if tag.is_private:
            action = "X" if changes.without_private else ""
        elif tag.element == 0 or _is_curve_or_overlay(tag):
            action = "X"
        if action == "X":
            del data_set[tag]
            continue
        element = data_set[tag]
        if tag in names:
            element.value = names[tag].value
        elif action == "Z":
            data_set[tag] = DataElement(tag, element.VR, [] if element.VR == "SQ" else None)
        elif action == "U":
            _map(element, uids)
        elif element.VR == "SQ":
            for item in element.value:
                _by_profile(item, changes, names, uids, frozenset())


def _map(element: DataElement, uids: dict[str, str]) -> None:
    """Give an element other UIDs, the same ones as before for the same ones."""

    def other(uid: str) -> str:
        if not uid or uid.startswith(_WELL_KNOWN):
            return uid
        return uids.setdefault(uid, str(generate_uid(prefix=None)))

    value = element.value
    if isinstance(value, MultiValue | list):
        element.value = [other(str(each)) for each in value]
    elif value is not None:
        element.value = other(str(value))


def _replace(data_set: Dataset, changes: Changes) -> None:
    texts = "".join(str(element) for element in changes.replaced.values())
    if not texts.isascii():
        data_set.decode()
        data_set.SpecificCharacterSet = _UTF_8
    for tag, element in changes.replaced.items():
        if tag not in changes.kept:
            data_set[tag] = element


def _remove_private(data_set: Dataset, spared: frozenset[int]) -> None:
    for tag in list(data_set.keys()):
        if tag in spared:
            continue
        if tag.is_private:
            del data_set[tag]
        elif data_set[tag].VR == "SQ":
            for item in data_set[tag].value:
                _remove_private(item, frozenset())


def _is_curve_or_overlay(tag: BaseTag) -> bool:
    """Return whether the profile removes an element of a repeating group (PS3.5 7.6)."""
    is_overlay = tag.group & 0xFF00 == 0x6000 and tag.element in {0x3000, 0x4000}
    return is_overlay or tag.group & 0xFF00 == 0x5000


@cache
def _profile() -> dict[int, str]:
    text = resources.files(__package__).joinpath("basic_profile.tsv").read_text()
    rows = (line.split("\t") for line in text.splitlines())
    return {int(tag.replace(",", ""), 16): action for tag, action, *_ in rows}
