"""Instances as routing looks at them: where their files are, and what rules ask about."""

from collections.abc import Collection
from typing import Any, Final

from hilum.core.instance import MIGRATION
from hilum.core.levels import Level
from hilum.core.routing import Traits
from hilum.index.database import Database, Document
from hilum.index.faults import translated
from hilum.index.instance_documents import STORED_FIELDS, stored_instance
from hilum.index.stored import StoredInstance

#: Fields of the documents, by trait.
_OF_INSTANCE: Final = {
    "sop_class_uid": "SOPClassUID",
    "transfer_syntax_uid": "TransferSyntaxUID",
}
_OF_SERIES: Final = {
    "modality": "Modality",
    "body_part_examined": "BodyPartExamined",
    "series_description": "SeriesDescription",
    "protocol_name": "ProtocolName",
    "station_name": "StationName",
    "manufacturer": "Manufacturer",
}
_OF_STUDY: Final = {"study_description": "StudyDescription"}
#: Every trait there is, and the name of a condition on it.
TRAITS: Final = (
    *("source", "calling_ae_title", "called_ae_title"),
    *_OF_INSTANCE,
    *_OF_SERIES,
    *_OF_STUDY,
)

#: What traits are made of.
_FIELDS: Final = {
    **dict.fromkeys(("study", "series", "source", "called_ae_title"), 1),
    **dict.fromkeys(_OF_INSTANCE.values(), 1),
}
#: Sources that are no AE titles (`hilum.core.instance.Origin`).
_NOT_DICOM: Final = frozenset({"http", "import", MIGRATION, "unknown"})


class Consignments:
    """Reads instances for routing. Runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.

    Parameters
    ----------
    ae_title
        The node's own, which most senders call it.
    """

    def __init__(self, database: Database, ae_title: str) -> None:
        self._database = database
        self._ae_title = ae_title

    async def traits(self, ids: Collection[str]) -> dict[str, Traits]:
        """Return the traits of the instances with these public ids that are there."""
        with translated():
            found = self._database.instances.find({"_id": {"$in": list(ids)}}, _FIELDS)
            return await self._traits_of(await found.to_list(None))

    async def stored(self, ids: Collection[str]) -> dict[str, StoredInstance]:
        """Return those of the instances with these public ids that are there."""
        with translated():
            found = self._database.instances.find({"_id": {"$in": list(ids)}}, STORED_FIELDS)
            return {each["_id"]: stored_instance(each) for each in await found.to_list(None)}

    async def below(self, level: Level, public_id: str) -> list[tuple[StoredInstance, Traits]]:
        """Return the instances of a study or series with their traits, series by series."""
        container = "study" if level is Level.STUDY else "series"
        with translated():
            found = self._database.instances.find(
                {container: public_id}, {**STORED_FIELDS, **_FIELDS}
            )
            documents = await found.to_list(None)
            documents.sort(key=lambda each: (each["series"], each["order"]))
            traits = await self._traits_of(documents)
            return [(stored_instance(each), traits[each["_id"]]) for each in documents]

    async def _traits_of(self, documents: Collection[Document]) -> dict[str, Traits]:
        series = await self._above(self._database.series, documents, "series", _OF_SERIES)
        studies = await self._above(self._database.studies, documents, "study", _OF_STUDY)
        return {
            each["_id"]: {
                **studies.get(each["study"], {}),
                **series.get(each["series"], {}),
                **_traits(each, _OF_INSTANCE),
                **self._sender(each),
            }
            for each in documents
        }

    def _sender(self, document: Document) -> Traits:
        source = document["source"]
        if source in _NOT_DICOM:
            return {"source": source, "calling_ae_title": "", "called_ae_title": ""}
        called = document.get("called_ae_title") or self._ae_title
        return {"source": "dicom", "calling_ae_title": source, "called_ae_title": called}

    async def _above(
        self,
        collection: Any,
        documents: Collection[Document],
        level: str,
        fields: dict[str, str],
    ) -> dict[str, Traits]:
        ids = list({each[level] for each in documents})
        found = collection.find({"_id": {"$in": ids}}, dict.fromkeys(fields.values(), 1))
        return {each["_id"]: _traits(each, fields) for each in await found.to_list(None)}


def _traits(document: Document, fields: dict[str, str]) -> Traits:
    return {trait: str(document.get(field) or "") for trait, field in fields.items()}
