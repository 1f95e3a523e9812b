"""Modules of the information model: which attributes tell of a patient, a study, a series.

References
----------
PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.3.1 (General Series), C.12.1 (SOP Common)
"""

from typing import Final

from hilum.core.levels import Level

#: Keywords by level, as Orthanc has them in its modules.
MODULES: Final[dict[Level, frozenset[str]]] = {
    Level.PATIENT: frozenset(
        {
            "ReferencedPatientSequence",
            "PatientName",
            "PatientID",
            "IssuerOfPatientID",
            "IssuerOfPatientIDQualifiersSequence",
            "PatientBirthDate",
            "PatientBirthTime",
            "PatientSex",
            "OtherPatientIDs",
            "OtherPatientNames",
            "OtherPatientIDsSequence",
            "EthnicGroup",
            "PatientSpeciesDescription",
            "PatientSpeciesCodeSequence",
            "PatientBreedDescription",
            "PatientBreedCodeSequence",
            "BreedRegistrationSequence",
            "ResponsiblePerson",
            "ResponsiblePersonRole",
            "ResponsibleOrganization",
            "PatientComments",
            "PatientIdentityRemoved",
            "DeidentificationMethod",
            "DeidentificationMethodCodeSequence",
        }
    ),
    Level.STUDY: frozenset(
        {
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "IssuerOfAccessionNumberSequence",
            "ReferringPhysicianName",
            "ReferringPhysicianIdentificationSequence",
            "StudyDescription",
            "ProcedureCodeSequence",
            "PhysiciansOfRecord",
            "PhysiciansOfRecordIdentificationSequence",
            "NameOfPhysiciansReadingStudy",
            "PhysiciansReadingStudyIdentificationSequence",
            "ReferencedStudySequence",
            "StudyInstanceUID",
            "StudyID",
            "RequestingServiceCodeSequence",
            "ReasonForPerformedProcedureCodeSequence",
        }
    ),
    Level.SERIES: frozenset(
        {
            "SeriesDate",
            "SeriesTime",
            "Modality",
            "SeriesDescription",
            "SeriesDescriptionCodeSequence",
            "PerformingPhysicianName",
            "PerformingPhysicianIdentificationSequence",
            "OperatorsName",
            "OperatorIdentificationSequence",
            "ReferencedPerformedProcedureStepSequence",
            "RelatedSeriesSequence",
            "AnatomicalOrientationType",
            "BodyPartExamined",
            "ProtocolName",
            "PatientPosition",
            "SeriesInstanceUID",
            "SeriesNumber",
            "Laterality",
            "SmallestPixelValueInSeries",
            "LargestPixelValueInSeries",
            "PerformedProcedureStepStartDate",
            "PerformedProcedureStepStartTime",
            "PerformedProcedureStepID",
            "PerformedProcedureStepDescription",
            "PerformedProtocolCodeSequence",
            "RequestAttributesSequence",
            "CommentsOnThePerformedProcedureStep",
        }
    ),
    Level.IMAGE: frozenset(
        {
            "SpecificCharacterSet",
            "InstanceCreationDate",
            "InstanceCreationTime",
            "InstanceCreatorUID",
            "SOPClassUID",
            "SOPInstanceUID",
            "RelatedGeneralSOPClassUID",
            "OriginalSpecializedSOPClassUID",
            "CodingSchemeIdentificationSequence",
            "TimezoneOffsetFromUTC",
            "ContributingEquipmentSequence",
            "InstanceNumber",
            "LongitudinalTemporalInformationModified",
            "SOPInstanceStatus",
            "SOPAuthorizationDateTime",
            "SOPAuthorizationComment",
            "AuthorizationEquipmentCertificationNumber",
            "EncryptedAttributesSequence",
            "OriginalAttributesSequence",
            "HL7StructuredDocumentReferenceSequence",
            "MACParametersSequence",
            "DigitalSignaturesSequence",
        }
    ),
}
