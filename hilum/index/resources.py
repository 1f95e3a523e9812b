"""Patients, studies, series and instances by their public ids, and lists of them.

What Orthanc's REST API asks: one resource, all of them page by page, what contains it and
what it contains. Every answer takes as many round trips as there are levels in it, whatever
the number of resources.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson.regex import Regex

from hilum.core.errors import NotFound
from hilum.core.levels import LEVEL_OF, Level, json_tag
from hilum.core.main_tags import MAIN_DICOM_TAGS, main_dicom_tags, text_of
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.instance_documents import STORED_FIELDS, stored_instance
from hilum.index.stored import StoredInstance

#: A study that has been at rest for so long counts as stable where nobody has said so.
_AT_REST: Final = timedelta(seconds=60)
#: Levels that have documents, from the top.
_STORED: Final = (Level.STUDY, Level.SERIES, Level.IMAGE)
#: Field of a document of the level below with the id of the resource that contains it.
_CONTAINER: Final = {Level.STUDY: "patient", Level.SERIES: "study", Level.IMAGE: "series"}
_BELOW: Final = {Level.PATIENT: Level.STUDY, Level.STUDY: Level.SERIES, Level.SERIES: Level.IMAGE}
_SORT: Final = {
    Level.STUDY: [("StudyDate", -1), ("StudyTime", -1), ("_id", 1)],
    Level.SERIES: [("order", 1), ("_id", 1)],
    Level.IMAGE: [("order", 1), ("_id", 1)],
}
_FIELDS: Final[Document] = {
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


class Resources:
    """Reads. Any number may run at once; runs on the loop of its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def one(self, level: Level, public_id: str) -> Resource:
        """Return one resource.

        Raises
        ------
        NotFound
            There is none of this id at this level.
        IndexUnavailable
            MongoDB does not answer.
        """
        found = await self.some(level, [public_id])
        if not found:
            raise NotFound(f"no {level.value.lower()} {public_id[:44]}")
        return found[0]

    async def some(self, level: Level, ids: Sequence[str]) -> list[Resource]:
        """Return those of the resources that are there, in the order of `ids`.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            if level is Level.PATIENT:
                cursor = self._database.studies.find({"patient": {"$in": list(ids)}}, _FIELDS)
                studies = await cursor.sort(_SORT[Level.STUDY]).to_list(None)
                by_patient: dict[str, list[Document]] = {}
                for study in studies:
                    by_patient.setdefault(study["patient"], []).append(study)
                found = {key: _patient(each) for key, each in by_patient.items()}
            else:
                fields = {**_FIELDS, **STORED_FIELDS} if level is Level.IMAGE else _FIELDS
                cursor = self._database.collection(level).find({"_id": {"$in": list(ids)}}, fields)
                found = {each["_id"]: _resource(level, each) for each in await cursor.to_list(None)}
        return [found[key] for key in ids if key in found]

    async def page(self, level: Level, since: int = 0, limit: int | None = None) -> list[str]:
        """Return the public ids of all resources of a level, or some, oldest first.

        Parameters
        ----------
        since
            How many to leave out.
        limit
            How many to return; None for all.

        Notes
        -----
        What arrives goes to the end, so pages fit together while it does. The order is that
        in which MongoDB keeps documents: no index has to be kept for it.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        if limit == 0:
            return []
        with translated():
            if level is Level.PATIENT:
                stages: list[Document] = [
                    {"$group": {"_id": "$patient", "received_at": {"$min": "$received_at"}}},
                    {"$sort": {"received_at": 1, "_id": 1}},
                    {"$skip": since},
                    *([{"$limit": limit}] if limit is not None else []),
                ]
                documents = await self._database.studies.aggregate(stages).to_list(None)
            else:
                cursor = self._database.collection(level).find({}, {"_id": 1})
                cursor = cursor.sort("$natural", 1).skip(since).limit(limit or 0)
                documents = await cursor.to_list(None)
        return [document["_id"] for document in documents]

    async def children(
        self, level: Level, ids: Collection[str], below: Level | None = None
    ) -> dict[str, list[str]]:
        """Return what each of these resources contains, in reading order.

        Parameters
        ----------
        level
            Of `ids`.
        below
            Of what is wanted; by default the level right below.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        owners = {key: key for key in ids}
        children: dict[str, list[str]] = {key: [] for key in ids}
        below = below or _BELOW[level]
        with translated():
            while level is not below:
                level = _BELOW[level]
                owners = await self._contained(level, owners)
        for child, owner in owners.items():
            children[owner].append(child)
        return children

    async def _contained(self, level: Level, owners: dict[str, str]) -> dict[str, str]:
        """Return the entities of `level` right below those that are keys, with their owners."""
        container = _CONTAINER[level]
        cursor = self._database.collection(level).find(
            {container: {"$in": list(owners)}}, {container: 1}
        )
        by_container: dict[str, list[str]] = {}
        for each in await cursor.sort(_SORT[level]).to_list(None):
            by_container.setdefault(each[container], []).append(each["_id"])
        return {
            child: owner for key, owner in owners.items() for child in by_container.get(key, ())
        }

    async def main_tags_below(self, series: Sequence[str]) -> dict[str, list[dict[str, str]]]:
        """Return the main tags of all instances of these series, by series.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        fields = {"series": 1, "main": 1, "attributes": _FIELDS["attributes"]}
        found: dict[str, list[dict[str, str]]] = {}
        with translated():
            cursor = self._database.instances.find({"series": {"$in": list(series)}}, fields)
            for each in await cursor.to_list(None):
                found.setdefault(each["series"], []).append(_main(Level.IMAGE, each))
        return found

    async def texts(
        self, resources: Sequence[Resource], keywords: Sequence[str]
    ) -> dict[str, dict[str, str]]:
        """Return attributes of resources as text, by public id and keyword.

        Parameters
        ----------
        resources
            Of one level.
        keywords
            Of what the index keeps at that level or above it, computed ones too; others, and
            what a resource does not have, are left out.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        texts: dict[str, dict[str, str]] = {each.id: {} for each in resources}
        for level in _STORED:
            here = [each for each in keywords if _kept_at(each) is level]
            owners = {each.id: each.at(level) for each in resources}
            if not here or not all(owners.values()):
                continue
            fields = {"main": 1, **dict.fromkeys(here, 1)}
            fields |= {f"attributes.{json_tag(keyword)}": 1 for keyword in here}
            with translated():
                cursor = self._database.collection(level).find(
                    {"_id": {"$in": list(set(owners.values()))}}, fields
                )
                documents = {each["_id"]: each for each in await cursor.to_list(None)}
            for key, owner in owners.items():
                texts[key] |= _texts(documents.get(owner, {}), here)
        return texts

    async def instances(self, level: Level, public_id: str) -> list[StoredInstance]:
        """Return the instances of a resource in reading order: by study, series, instance.

        Raises
        ------
        NotFound
            There is no such resource.
        IndexUnavailable
            MongoDB does not answer.
        """
        if level is Level.IMAGE:
            ids = [public_id]
        else:
            ids = (await self.children(level, [public_id], Level.IMAGE))[public_id]
        with translated():
            cursor = self._database.instances.find({"_id": {"$in": ids}}, STORED_FIELDS)
            found = {each["_id"]: stored_instance(each) for each in await cursor.to_list(None)}
        if not found:
            raise NotFound(f"no {level.value.lower()} {public_id[:44]}")
        return [found[key] for key in ids if key in found]

    async def first_instance(self, level: Level, public_id: str) -> StoredInstance:
        """Return the first instance of a resource in reading order.

        Raises
        ------
        NotFound
            There is no such resource.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            while level is not Level.IMAGE:
                container, level = level, _BELOW[level]
                field = _CONTAINER[level]
                document = await self._database.collection(level).find_one(
                    {field: public_id}, STORED_FIELDS, sort=_SORT[level]
                )
                if document is None:
                    raise NotFound(f"no {container.value.lower()} {public_id[:44]}")
                public_id = document["_id"]
        return (await self.instances(level, public_id))[0]

    async def lookup(self, identifier: str) -> list[tuple[Level, str]]:
        """Return the resources that an identifier of DICOM names, by level and public id.

        Parameters
        ----------
        identifier
            A Patient ID, in whatever case, or a Study, Series or SOP Instance UID.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        patient: Any = identifier
        if identifier.lower() != identifier.upper():
            patient = Regex(f"^{re.escape(identifier)}$", "i")
        with translated():
            patients = await self._database.studies.distinct("patient", {"PatientID": patient})
            found = [(Level.PATIENT, key) for key in sorted(patients)]
            for level in _STORED:
                cursor = self._database.collection(level).find(
                    {level.unique_key: identifier}, {"_id": 1}
                )
                found += [(level, each["_id"]) for each in await cursor.to_list(None)]
        return found

    async def level_of(self, public_id: str) -> Level:
        """Return the level of whatever has this public id.

        Raises
        ------
        NotFound
            Nothing has.
        IndexUnavailable
            MongoDB does not answer.
        """
        with translated():
            for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
                collection = self._database.collection(level)
                if await collection.find_one({"_id": public_id}, {"_id": 1}) is not None:
                    return level
            if await self._database.studies.find_one({"patient": public_id}, {"_id": 1}):
                return Level.PATIENT
        raise NotFound(f"nothing has the id {public_id[:44]}")


def _resource(level: Level, document: Document) -> Resource:
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
        main=_main(level, document),
        patient_main=_main(Level.PATIENT, document) if level is Level.STUDY else {},
        patient_id=document["PatientID"],
        uids=uids[: _STORED.index(level) + 1],
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


def _patient(studies: list[Document]) -> Resource:
    """Return the patient of these studies, all there are; the newest speaks for them."""
    each = [_resource(Level.STUDY, study) for study in studies]
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


def _main(level: Level, document: Document) -> dict[str, str]:
    kept: dict[str, Any] | None = document.get("main")
    if kept is None:
        # Stored by a version that did not keep the text.
        return main_dicom_tags(level, document.get("attributes", {}))
    return {keyword: kept[keyword] for keyword in MAIN_DICOM_TAGS[level] if keyword in kept}


def _kept_at(keyword: str) -> Level | None:
    """Return the level whose documents have an attribute; a patient's are in studies."""
    level = LEVEL_OF.get(keyword)
    return Level.STUDY if level is Level.PATIENT else level


def _texts(document: Document, keywords: Sequence[str]) -> dict[str, str]:
    texts = {}
    for keyword in keywords:
        element = document.get("attributes", {}).get(json_tag(keyword))
        if (text := document.get("main", {}).get(keyword)) is not None:
            texts[keyword] = text
        elif element is not None:
            texts[keyword] = text_of(element)
        elif keyword in document:
            value = document[keyword]
            texts[keyword] = text_of({"Value": value if isinstance(value, list) else [value]})
    return texts


def _is_stable(document: Document, updated_at: datetime) -> bool:
    stable: bool | None = document.get("stable")
    return datetime.now(UTC) - updated_at > _AT_REST if stable is None else stable
