"""Patients, studies, series and instances by their public ids, and lists of them.

What Orthanc's REST API asks: one resource, all of them page by page, what contains it and
what it contains. Every answer takes as many round trips as there are levels in it, whatever
the number of resources.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

from bson.regex import Regex

from hilum.core.errors import NotFound
from hilum.core.levels import LEVEL_OF, Level, json_tag
from hilum.core.main_tags import text_of
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.instance_documents import STORED_FIELDS, stored_instance
from hilum.index.resource import (
    DOCUMENTED_LEVELS,
    RESOURCE_FIELDS,
    Resource,
    main_of,
    patient_of,
    resource_of,
)
from hilum.index.stored import StoredInstance

#: Field of a document of the level below with the id of the resource that contains it.
_CONTAINER: Final = {Level.STUDY: "patient", Level.SERIES: "study", Level.IMAGE: "series"}
_BELOW: Final = {Level.PATIENT: Level.STUDY, Level.STUDY: Level.SERIES, Level.SERIES: Level.IMAGE}
_SORT: Final = {
    Level.STUDY: [("StudyDate", -1), ("StudyTime", -1), ("_id", 1)],
    Level.SERIES: [("order", 1), ("_id", 1)],
    Level.IMAGE: [("order", 1), ("_id", 1)],
}


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
                cursor = self._database.studies.find(
                    {"patient": {"$in": list(ids)}}, RESOURCE_FIELDS
                )
                studies = await cursor.sort(_SORT[Level.STUDY]).to_list(None)
                by_patient: dict[str, list[Document]] = {}
                for study in studies:
                    by_patient.setdefault(study["patient"], []).append(study)
                found = {key: patient_of(each) for key, each in by_patient.items()}
            else:
                fields = (
                    {**RESOURCE_FIELDS, **STORED_FIELDS}
                    if level is Level.IMAGE
                    else RESOURCE_FIELDS
                )
                cursor = self._database.collection(level).find({"_id": {"$in": list(ids)}}, fields)
                found = {
                    each["_id"]: resource_of(level, each) for each in await cursor.to_list(None)
                }
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
        fields = {"series": 1, "main": 1, "attributes": RESOURCE_FIELDS["attributes"]}
        found: dict[str, list[dict[str, str]]] = {}
        with translated():
            cursor = self._database.instances.find({"series": {"$in": list(series)}}, fields)
            for each in await cursor.to_list(None):
                found.setdefault(each["series"], []).append(main_of(Level.IMAGE, each))
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
        for level in DOCUMENTED_LEVELS:
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
            for level in DOCUMENTED_LEVELS:
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
