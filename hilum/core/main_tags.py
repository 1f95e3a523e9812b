"""Orthanc's main DICOM tags: what its REST API tells of a resource without opening a file.

They are told as text, as the file has it: a number as it was written, a list with its
backslashes, an empty value as an empty string. So they are kept as text beside the
attributes, which have numbers for numbers.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from hilum.core.instance import Attributes
from hilum.core.levels import Level, json_tag, tag_of

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")

#: By level, as Orthanc 1.10 has them. Some are of another level than the standard's.
MAIN_DICOM_TAGS: Final[dict[Level, tuple[str, ...]]] = {
    Level.PATIENT: (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "OtherPatientIDs",
    ),
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "StudyInstanceUID",
        "RequestedProcedureDescription",
        "InstitutionName",
        "RequestingPhysician",
        "ReferringPhysicianName",
    ),
    Level.SERIES: (
        "SeriesDate",
        "SeriesTime",
        "Modality",
        "Manufacturer",
        "StationName",
        "SeriesDescription",
        "BodyPartExamined",
        "SequenceName",
        "ProtocolName",
        "SeriesNumber",
        "CardiacNumberOfImages",
        "ImagesInAcquisition",
        "NumberOfTemporalPositions",
        "NumberOfSlices",
        "NumberOfTimeSlices",
        "SeriesInstanceUID",
        "ImageOrientationPatient",
        "ContrastBolusAgent",
        "AcquisitionDeviceProcessingDescription",
        "OperatorsName",
        "PerformedProcedureStepDescription",
        "SeriesType",
    ),
    Level.IMAGE: (
        "InstanceCreationDate",
        "InstanceCreationTime",
        "AcquisitionNumber",
        "ImageIndex",
        "InstanceNumber",
        "NumberOfFrames",
        "TemporalPositionIdentifier",
        "SOPInstanceUID",
        "ImagePositionPatient",
        "ImageComments",
        "ImageOrientationPatient",
    ),
}

#: Longer values are not told: Orthanc leaves them out likewise.
LONGEST_BYTES: Final = 256
#: Every one of them, by tag.
MAIN_TAGS: Final[dict[int, str]] = {
    tag_of(keyword): keyword for keywords in MAIN_DICOM_TAGS.values() for keyword in keywords
}


def text_of(element: dict[str, Any]) -> str:
    """Return the value of an element of the DICOM JSON model as text.

    Notes
    -----
    Not always what the file has: ``1.50`` has become 1.5. It is for what was stored before
    the text was kept.
    """
    return "\\".join(_text(value) for value in element.get("Value", ()))


def main_dicom_tags(level: Level, attributes: Attributes) -> dict[str, str]:
    """Return what is known of the main tags of `level` from attributes alone."""
    tags = {keyword: json_tag(keyword) for keyword in MAIN_DICOM_TAGS[level]}
    return {keyword: text_of(attributes[tag]) for keyword, tag in tags.items() if tag in attributes}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


def expected_number(main: Mapping[str, str]) -> int | None:
    """Return how many instances a series says it has; None if it does not say.

    As Orthanc counts: images by temporal positions, slices by time slices, or images of the
    cardiac cycle.
    """
    for keywords in (
        ("ImagesInAcquisition", "NumberOfTemporalPositions"),
        ("NumberOfSlices", "NumberOfTimeSlices"),
        ("CardiacNumberOfImages",),
    ):
        if all(keyword in main for keyword in keywords):
            product = 1
            for keyword in keywords:
                number = whole(main[keyword])
                if number is None:
                    return None
                product *= number
            return product if product > 0 else None
    return None


def whole(text: str) -> int | None:
    """Return text as a whole number; None if it is none."""
    return int(text) if _WHOLE.fullmatch(text) else None
