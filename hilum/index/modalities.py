"""The collection `modalities`: peers that clients have named, beside those of the settings."""

from hilum.core.peer import Modality, Peer
from hilum.index.database import Database, Document
from hilum.index.faults import translated


class ModalityLedger:
    """Reads and writes; runs on the loop of its database.

    Every method raises `IndexUnavailable` if MongoDB does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._modalities = database.raw["modalities"]

    async def all(self) -> list[Modality]:
        """Return all of them by name."""
        with translated():
            documents = await self._modalities.find().sort("_id", 1).to_list(None)
        return [_modality(document) for document in documents]

    async def put(self, modality: Modality) -> None:
        """Keep a modality; one of the same name goes."""
        document = {
            "ae_title": modality.peer.ae_title,
            "host": modality.peer.host,
            "port": modality.peer.port,
            "manufacturer": modality.manufacturer,
            "local_ae_title": modality.local_ae_title,
            "timeout_seconds": modality.timeout_seconds,
            "options": dict(modality.options),
        }
        with translated():
            await self._modalities.replace_one({"_id": modality.name}, document, upsert=True)

    async def remove(self, name: str) -> bool:
        """Forget a modality; return whether there was one."""
        with translated():
            return (await self._modalities.delete_one({"_id": name})).deleted_count > 0


def _modality(document: Document) -> Modality:
    return Modality(
        name=document["_id"],
        peer=Peer(document["ae_title"], document["host"], document["port"]),
        manufacturer=document["manufacturer"],
        local_ae_title=document["local_ae_title"],
        timeout_seconds=document["timeout_seconds"],
        options=document["options"],
    )
