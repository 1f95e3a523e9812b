"""A patient, study, series or instance by itself, as Orthanc's REST API tells of it.

What its document says; a patient has none, and is what its studies say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hilum.core.levels import Level
from hilum.core.main_tags import MAIN_DICOM_TAGS, main_dicom_tags
from hilum.index.database import Document
from hilum.index.instance_documents import stored_instance
from hilum.index.stored import StoredInstance

#: A study that has been at rest for so long counts as stable where nobody has said so.
_AT_REST: Final = timedelta(seconds=60)
#: Levels that have documents, from the top.
DOCUMENTED_LEVELS: Final = (Level.STUDY, Level.SERIES, Level.IMAGE)
#: What `resource_of` needs of a document; of an instance `STORED_FIELDS`, too.
RESOURCE_FIELDS: Final[Document] = {
    "patient": 1,
    "study": 1,
    "series": 1,
    "PatientID": 1,
    "StudyInstanceUID": 1,
    "SeriesInstanceUID": 1,
    "SOPInstanceUID": 1,
    "received_at": 1,
    "updated_at": 1,
    "stable": 1,
    "source": 1,
    "remote_address": 1,
    "called_ae_title": 1,
    "main": 1,
    # Only where the text was not kept.
    "attributes": {"$cond": [{"$eq": [{"$type": "$main"}, "object"]}, "$$REMOVE", "$attributes"]},
    "size": 1,
    "NumberOfStudyRelatedSeries": 1,
    "NumberOfStudyRelatedInstances": 1,
    "NumberOfSeriesRelatedInstances": 1,
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A patient, study, series or instance, by itself."""

    level: Level
    id: str
    patient: str
    """Public ids of what contains it, and its own; empty below its level. Of a patient, the
    newest study."""
    study: str
    series: str
    main: dict[str, str]
    """Orthanc's main DICOM tags of its own level (`hilum.core.main_tags`)."""
    patient_main: dict[str, str]
    """Those of the patient; of a study and a patient alone."""
    patient_id: str
    uids: tuple[str, ...]
    """Study, Series and SOP Instance UID, as far down as it lies; none of a patient."""
    received_at: datetime
    """When its first instance arrived, and its last one (UTC)."""
    updated_at: datetime
    stable: bool
    source: str
    """Who sent the last of it: a calling AE title, ``http``, ``import``."""
    remote_address: str
    """Of an instance, as far as it is known: where it came from, and what this node was called."""
    called_ae_title: str
    studies: int
    """How many it contains, itself included."""
    series_count: int
    instances: int
    size_bytes: int
    stored: StoredInstance | None = field(default=None, repr=False)
    """Of an instance: where its bytes are."""

    def at(self, level: Level) -> str:
        """Return the public id of what contains it at a level, or its own; empty below it.

        Of a patient's studies it is the newest.
        """
        ids = {
            Level.PATIENT: self.patient,
            Level.STUDY: self.study,
            Level.SERIES: self.series,
            Level.IMAGE: self.id if self.level is Level.IMAGE else "",
        }
        return ids[level]

    @property
    def parent(self) -> str:
        """Public id of what contains it; empty for a patient."""
        return self.at(self.level.above[-1]) if self.level.above else ""


def resource_of(level: Level, document: Document) -> Resource:
    """Return the study, series or instance that a document describes."""
    updated_at = document.get("updated_at") or document["received_at"]
    uids = (
        document["StudyInstanceUID"],
        document.get("SeriesInstanceUID", ""),
        document.get("SOPInstanceUID", ""),
    )
    stored = stored_instance(document) if level is Level.IMAGE else None
    instances = {
        Level.STUDY: document.get("NumberOfStudyRelatedInstances", 0),
        Level.SERIES: document.get("NumberOfSeriesRelatedInstances", 0),
    }
    return Resource(
        level=level,
        id=document["_id"],
        patient=document["patient"],
        study=document["_id"] if level is Level.STUDY else document["study"],
        series=document["_id"] if level is Level.SERIES else document.get("series", ""),
        main=main_of(level, document),
        patient_main=main_of(Level.PATIENT, document) if level is Level.STUDY else {},
        patient_id=document["PatientID"],
        uids=uids[: DOCUMENTED_LEVELS.index(level) + 1],
        received_at=document["received_at"],
        updated_at=updated_at,
        stable=_is_stable(document, updated_at),
        source=document.get("source", ""),
        remote_address=document.get("remote_address", ""),
        called_ae_title=document.get("called_ae_title", ""),
        studies=1,
        series_count=document.get("NumberOfStudyRelatedSeries", 1),
        instances=instances.get(level, 1),
        size_bytes=stored.blob.size_bytes if stored else document.get("size", 0),
        stored=stored,
    )


def patient_of(studies: Sequence[Document]) -> Resource:
    """Return the patient of these studies, all there are; the newest speaks for them."""
    each = [resource_of(Level.STUDY, study) for study in studies]
    return Resource(
        level=Level.PATIENT,
        id=each[0].patient,
        patient=each[0].patient,
        study=each[0].id,
        series="",
        main=each[0].patient_main,
        patient_main=each[0].patient_main,
        patient_id=each[0].patient_id,
        uids=(),
        received_at=min(study.received_at for study in each),
        updated_at=max(study.updated_at for study in each),
        stable=all(study.stable for study in each),
        source=each[0].source,
        remote_address="",
        called_ae_title="",
        studies=len(each),
        series_count=sum(study.series_count for study in each),
        instances=sum(study.instances for study in each),
        size_bytes=sum(study.size_bytes for study in each),
    )


def main_of(level: Level, document: Document) -> dict[str, str]:
    """Return Orthanc's main tags of a level that a document has."""
    kept: dict[str, Any] | None = document.get("main")
    if kept is None:
        # Stored by a version that did not keep the text.
        return main_dicom_tags(level, document.get("attributes", {}))
    return {keyword: kept[keyword] for keyword in MAIN_DICOM_TAGS[level] if keyword in kept}


def _is_stable(document: Document, updated_at: datetime) -> bool:
    stable: bool | None = document.get("stable")
    return datetime.now(UTC) - updated_at > _AT_REST if stable is None else stable
