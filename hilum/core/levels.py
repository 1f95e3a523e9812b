"""Query/Retrieve levels and the attributes the index keeps at each.

The keywords are chosen here, from the key tables of PS3.4 C.6 and from what
workstations and back ends ask for; tags and VRs come from pydicom's dictionary.
"""

from enum import Enum
from functools import cache
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Level(Enum):
    """A level of the information model, top down (PS3.4 C.6.1.1, C.6.2.1)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"

    # Members are unique objects. Enum hashes their names, in Python, and a query looks up
    # some thirty levels a match.
    __hash__ = object.__hash__

    @property
    def unique_key(self) -> str:
        """Keyword of the attribute that names an entity of this level."""
        return _UNIQUE_KEYS[self]

    @property
    def above(self) -> "tuple[Level, ...]":
        """The levels that contain this one, top down."""
        levels = tuple(Level)
        return levels[: levels.index(self)]

    @property
    def with_above(self) -> "tuple[Level, ...]":
        """The levels an identifier of this level may have keys of."""
        return (*self.above, self)


_UNIQUE_KEYS: Final = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}

#: Attributes taken from the data set, by the level whose document keeps them.
STORED_KEYWORDS: Final[dict[Level, tuple[str, ...]]] = {
    Level.PATIENT: (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientSex",
        "IssuerOfPatientID",
        "OtherPatientIDs",
        "OtherPatientNames",
        "EthnicGroup",
        "PatientComments",
        "ResponsiblePerson",
        "PatientSpeciesDescription",
        "PatientBreedDescription",
    ),
    Level.STUDY: (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
        "StudyDescription",
        "ReferringPhysicianName",
        "NameOfPhysiciansReadingStudy",
        "PhysiciansOfRecord",
        "RequestingPhysician",
        "RequestedProcedureDescription",
        "AdmittingDiagnosesDescription",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "Occupation",
        "AdditionalPatientHistory",
        "IssuerOfAccessionNumberSequence",
        "ProcedureCodeSequence",
        "TimezoneOffsetFromUTC",
    ),
    Level.SERIES: (
        "SeriesInstanceUID",
        "SeriesNumber",
        "Modality",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "ProtocolName",
        "Laterality",
        "PatientPosition",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "PerformingPhysicianName",
        "OperatorsName",
        "FrameOfReferenceUID",
        "PerformedProcedureStepID",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "PerformedProcedureStepDescription",
        "RequestAttributesSequence",
        "SequenceName",
        "ContrastBolusAgent",
        "CardiacNumberOfImages",
        "ImagesInAcquisition",
        "NumberOfTemporalPositions",
        "NumberOfSlices",
        "NumberOfTimeSlices",
        "AcquisitionDeviceProcessingDescription",
        "SeriesType",
    ),
    Level.IMAGE: (
        "SOPInstanceUID",
        "SOPClassUID",
        "InstanceNumber",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "ContentDate",
        "ContentTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "AcquisitionDateTime",
        "AcquisitionNumber",
        "ImageType",
        "ImageComments",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "WindowCenter",
        "WindowWidth",
        "FrameTime",
        "ImageIndex",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceLocation",
        "SliceThickness",
        "EchoNumbers",
        "TemporalPositionIdentifier",
        "ContentLabel",
        "ContentDescription",
        "ContentCreatorName",
        "DocumentTitle",
        "MIMETypeOfEncapsulatedDocument",
        "ConceptNameCodeSequence",
        "CompletionFlag",
        "VerificationFlag",
        "ReferencedRequestSequence",
    ),
}

#: Attributes the node computes over what it holds (PS3.4 C.3.4), by level of the answer.
COMPUTED_KEYWORDS: Final[dict[Level, tuple[str, ...]]] = {
    Level.PATIENT: (
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ),
    Level.STUDY: (
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    # The transfer syntax of what is stored, from the file meta (PS3.4 C.3.4).
    Level.IMAGE: ("AvailableTransferSyntaxUID",),
}


@cache
def tag_of(keyword: str) -> int:
    """Return the tag of a keyword of the data dictionary (PS3.6) as a number.

    Raises
    ------
    KeyError
        There is no such keyword.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


@cache
def json_tag(keyword: str) -> str:
    """Return the tag of a keyword as the DICOM JSON model writes it (PS3.18 F.2.2)."""
    return f"{tag_of(keyword):08X}"


@cache
def vr_of(keyword: str) -> str:
    """Return the VR of a keyword by the data dictionary; the first one if it has several."""
    return dictionary_VR(tag_of(keyword)).split(" ")[0]


#: Tags the header scan must bring home: everything stored, and what rendering starts from.
INDEX_TAGS: Final[frozenset[int]] = frozenset(
    tag_of(keyword) for keywords in STORED_KEYWORDS.values() for keyword in keywords
)

#: Level of every keyword that can be matched on or returned.
LEVEL_OF: Final[dict[str, Level]] = {
    keyword: level
    for table in (STORED_KEYWORDS, COMPUTED_KEYWORDS)
    for level, keywords in table.items()
    for keyword in keywords
}
