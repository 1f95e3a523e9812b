"""Which keys the records of a directory have, by their type (PS3.3 F.5)."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from hilum.core.levels import tag_of
from hilum.core.levels import vr_of as _vr_of

#: What stands where a key must have a value and the instance has none.
_DATE: Final = "19000101"
_TIME: Final = "000000"
_UNNAMED: Final = "UNNAMED"


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute of a directory record."""

    tag: int
    vr: str
    otherwise: str = ""
    """The value if there is none; ``number``: the record's among its siblings, ``nobody``: an id
    that nobody has, ``mime``: by the SOP class."""
    instead: tuple[int, ...] = ()
    """Attributes that stand in for it, the best first."""
    optional: bool = False
    """Left out if there is no value."""


def _key(keyword: str, otherwise: str = "", *instead: str, optional: bool = False) -> Key:
    return Key(tag_of(keyword), _vr_of(keyword), otherwise, tuple(map(tag_of, instead)), optional)


_optional = partial(_key, optional=True)
_NUMBER: Final = _key("InstanceNumber", "number")
_CONTENT: Final = (
    _key("ContentDate", _DATE, "AcquisitionDate", "SeriesDate", "StudyDate"),
    _key("ContentTime", _TIME, "AcquisitionTime", "SeriesTime", "StudyTime"),
)
_NAMED: Final = (
    _key("ContentLabel", _UNNAMED),
    _key("ContentDescription"),
    _key("ContentCreatorName"),
)
_SERIES: Final = (
    _key("Modality", "OT"),
    _key("SeriesInstanceUID"),
    _key("SeriesNumber", "number"),
)

#: By type; ``SERIES+`` is a series that is told more of.
RECORDS: Final[dict[str, tuple[Key, ...]]] = {
    "PATIENT": (_key("PatientName"), _key("PatientID", "nobody")),
    "STUDY": (
        _key("StudyDate", _DATE, "SeriesDate", "AcquisitionDate", "ContentDate"),
        _key("StudyTime", _TIME, "SeriesTime", "AcquisitionTime", "ContentTime"),
        _key("AccessionNumber"),
        _key("StudyDescription"),
        _key("StudyInstanceUID"),
        _key("StudyID", "number"),
    ),
    "SERIES": _SERIES,
    "SERIES+": (*_SERIES, _optional("SeriesDescription")),
    "IMAGE": (_NUMBER,),
    "RT DOSE": (_NUMBER, _key("DoseSummationType", "PLAN")),
    "RT STRUCTURE SET": (
        _NUMBER,
        _key("StructureSetLabel", _UNNAMED),
        _key("StructureSetDate"),
        _key("StructureSetTime"),
    ),
    "RT PLAN": (
        _NUMBER,
        _key("RTPlanLabel", _UNNAMED),
        _key("RTPlanDate"),
        _key("RTPlanTime"),
    ),
    "RT TREAT RECORD": (_NUMBER, _key("TreatmentDate"), _key("TreatmentTime")),
    "PRESENTATION": (
        _NUMBER,
        _key("PresentationCreationDate", _DATE, "ContentDate", "StudyDate"),
        _key("PresentationCreationTime", _TIME, "ContentTime", "StudyTime"),
        *_NAMED,
    ),
    "WAVEFORM": (_NUMBER, *_CONTENT),
    "SR DOCUMENT": (
        _NUMBER,
        *_CONTENT,
        _key("CompletionFlag", "PARTIAL"),
        _key("VerificationFlag", "UNVERIFIED"),
        _optional("VerificationDateTime"),
        _key("ConceptNameCodeSequence"),
    ),
    "KEY OBJECT DOC": (_NUMBER, *_CONTENT, _key("ConceptNameCodeSequence")),
    "SPECTROSCOPY": (
        _NUMBER,
        *_CONTENT,
        _key("ImageType", "ORIGINAL\\PRIMARY"),
        _optional("NumberOfFrames"),
        _optional("Rows"),
        _optional("Columns"),
        _optional("DataPointRows"),
        _optional("DataPointColumns"),
    ),
    "RAW DATA": (_NUMBER, *_CONTENT),
    "REGISTRATION": (_NUMBER, *_CONTENT, *_NAMED),
    "FIDUCIAL": (_NUMBER, *_CONTENT, *_NAMED),
    "SURFACE": (_NUMBER, *_CONTENT, *_NAMED),
    "VALUE MAP": (_NUMBER, *_CONTENT, *_NAMED),
    "STEREOMETRIC": (),
    "ENCAP DOC": (
        _NUMBER,
        _key("ContentDate"),
        _key("ContentTime"),
        _key("DocumentTitle"),
        _optional("HL7InstanceIdentifier"),
        _key("ConceptNameCodeSequence"),
        _key("MIMETypeOfEncapsulatedDocument", "mime"),
    ),
}

#: What identifies a code, and its meaning.
CODES: Final = {
    tag_of(keyword): _vr_of(keyword)
    for keyword in (
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "CodeMeaning",
        "LongCodeValue",
    )
}

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
#: By what follows the root of storage SOP classes; the longest beginning that fits counts.
_TYPES: Final = {
    "4.2": "SPECTROSCOPY",
    "9.": "WAVEFORM",
    "11.": "PRESENTATION",
    "66": "RAW DATA",
    "66.1": "REGISTRATION",
    "66.2": "FIDUCIAL",
    "66.3": "REGISTRATION",
    "66.4": "IMAGE",
    "66.5": "SURFACE",
    "66.6": "IMAGE",
    "66.7": "IMAGE",
    "67": "VALUE MAP",
    "77.1.5.3": "STEREOMETRIC",
    "88.": "SR DOCUMENT",
    "88.59": "KEY OBJECT DOC",
    "104.": "ENCAP DOC",
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "481.4": "RT TREAT RECORD",
    "481.5": "RT PLAN",
    "481.6": "RT TREAT RECORD",
    "481.7": "RT TREAT RECORD",
    "481.8": "RT PLAN",
    "481.9": "RT TREAT RECORD",
}
#: Of encapsulated documents: the element that says it lies behind the document.
_MIME_TYPES: Final = {
    f"{_STORAGE}104.1": "application/pdf",
    f"{_STORAGE}104.2": "text/xml",
    f"{_STORAGE}104.3": "model/stl",
    f"{_STORAGE}104.4": "model/obj",
    f"{_STORAGE}104.5": "model/mtl",
}


def record_type(sop_class_uid: str) -> str:
    """Return the type of the record of an instance (PS3.3 F.4)."""
    if not sop_class_uid.startswith(_STORAGE):
        return "IMAGE"
    suffix = sop_class_uid.removeprefix(_STORAGE)
    fitting = [
        start
        for start in _TYPES
        if suffix == start or suffix.startswith(start if start.endswith(".") else f"{start}.")
    ]
    return _TYPES[max(fitting, key=len)] if fitting else "IMAGE"


def mime_type(sop_class_uid: str) -> str:
    """Return the type of a document that does not say it in front of itself."""
    return _MIME_TYPES.get(sop_class_uid, "application/octet-stream")
