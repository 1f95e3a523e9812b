"""Studies, series and instances as ``/api/dicom/studies`` tells them (docs/http-api.md).

Made of what a query returns, the DICOM JSON model (PS3.18 F.2): an attribute that is not
there is an empty string, or null where a number is expected.
"""

from collections.abc import Mapping
from typing import Any

from hilum.core.instance import Attributes
from hilum.core.levels import json_tag
from hilum.index.stored import Match
from hilum.services.search import StudyTree


def study_json(match: Match) -> dict[str, Any]:
    """Return a study without what is below it."""
    attributes = match.attributes
    return {
        "studyInstanceUID": _text(attributes, "StudyInstanceUID"),
        "patientName": _text(attributes, "PatientName"),
        "patientID": _text(attributes, "PatientID"),
        "patientBirthDate": _text(attributes, "PatientBirthDate"),
        "patientSex": _text(attributes, "PatientSex"),
        "studyDate": _text(attributes, "StudyDate"),
        "studyTime": _text(attributes, "StudyTime"),
        "studyDescription": _text(attributes, "StudyDescription"),
        "accessionNumber": _text(attributes, "AccessionNumber"),
        "referringPhysicianName": _text(attributes, "ReferringPhysicianName"),
        "modalities": [str(value) for value in _values(attributes, "ModalitiesInStudy")],
        # Of a study whose first instances are this moment being counted: none yet.
        "seriesCount": _number(attributes, "NumberOfStudyRelatedSeries") or 0,
        "instanceCount": _number(attributes, "NumberOfStudyRelatedInstances") or 0,
        "frameCount": match.frame_count,
        "receivedAt": match.received_at.isoformat() if match.received_at else None,
        "orthancStudyId": match.study,
    }


def study_tree_json(tree: StudyTree) -> dict[str, Any]:
    """Return a study with its series and their instances.

    Each series and instance has a ``firstFrame``: where its frames begin in the order of
    ``…/frames/{i}``; null where it has none.
    """
    below: dict[str, list[Match]] = {match.series: [] for match in tree.series}
    for instance in tree.instances:
        # One that arrived after its series was read belongs to the next answer.
        below.get(instance.series, []).append(instance)
    frame_index = 0
    series = []
    for match in tree.series:
        series.append(_series_json(match, below[match.series], frame_index))
        frame_index += sum(instance.frame_count for instance in below[match.series])
    return {**study_json(tree.study), "series": series}


def _series_json(match: Match, instances: list[Match], frame_index: int) -> dict[str, Any]:
    attributes = match.attributes
    told = []
    frame_count = 0
    for instance in instances:
        told.append(_instance_json(instance, frame_index + frame_count))
        frame_count += instance.frame_count
    return {
        "seriesInstanceUID": _text(attributes, "SeriesInstanceUID"),
        "seriesNumber": _number(attributes, "SeriesNumber"),
        "modality": _text(attributes, "Modality"),
        "seriesDescription": _text(attributes, "SeriesDescription"),
        "bodyPart": _text(attributes, "BodyPartExamined"),
        "instanceCount": len(told),
        "frameCount": frame_count,
        "firstFrame": frame_index if frame_count else None,
        "orthancSeriesId": match.series,
        "instances": told,
    }


def _instance_json(match: Match, frame_index: int) -> dict[str, Any]:
    attributes = match.attributes
    return {
        "sopInstanceUID": _text(attributes, "SOPInstanceUID"),
        "sopClassUID": _text(attributes, "SOPClassUID"),
        "instanceNumber": _number(attributes, "InstanceNumber"),
        "frameCount": match.frame_count,
        "firstFrame": frame_index if match.frame_count else None,
        "rows": _number(attributes, "Rows"),
        "columns": _number(attributes, "Columns"),
        "photometricInterpretation": _text(attributes, "PhotometricInterpretation"),
        "windowCenter": _number(attributes, "WindowCenter"),
        "windowWidth": _number(attributes, "WindowWidth"),
        "windows": _windows(attributes),
        "imageOrientationPatient": _numbers(attributes, "ImageOrientationPatient"),
        "frameTime": _number(attributes, "FrameTime"),
        "transferSyntaxUID": _text(attributes, "AvailableTransferSyntaxUID"),
        "orthancInstanceId": match.instance,
    }


def person_name(value: Any) -> str:
    """Return the first group a person name has, alphabetic if it can be, carets as stored."""
    if not isinstance(value, Mapping):
        return str(value)
    groups = (value.get(group) for group in ("Alphabetic", "Ideographic", "Phonetic"))
    return next((str(group) for group in groups if group), "")


def _values(attributes: Attributes, keyword: str) -> list[Any]:
    element = attributes.get(json_tag(keyword), {})
    return [value for value in element.get("Value", ()) if value is not None]


def _text(attributes: Attributes, keyword: str) -> str:
    element = attributes.get(json_tag(keyword), {})
    values = _values(attributes, keyword)
    if not values:
        return ""
    return person_name(values[0]) if element.get("vr") == "PN" else str(values[0])


def _windows(attributes: Attributes) -> list[dict[str, int | float]]:
    """Return the windows a file offers to choose among, its own choice first."""
    centers = _numbers(attributes, "WindowCenter")
    widths = _numbers(attributes, "WindowWidth")
    return [{"center": c, "width": w} for c, w in zip(centers, widths, strict=False)]


def _numbers(attributes: Attributes, keyword: str) -> list[int | float]:
    """Return all values; none if one of them is no number, as places have meanings."""
    numbers = [_as_number(value) for value in _values(attributes, keyword)]
    known = [number for number in numbers if number is not None]
    return known if len(known) == len(numbers) else []


def _number(attributes: Attributes, keyword: str) -> int | float | None:
    """Return the first value, or null."""
    return _as_number(next(iter(_values(attributes, keyword)), None))


def _as_number(value: Any) -> int | float | None:
    """Return a value, which the model has as a number or, kept as sent, as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
        return int(value) if value.is_integer() else value
    return value if isinstance(value, int | float) else None
