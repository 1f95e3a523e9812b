"""Retrieve: which stored instances a request means, and their bytes."""

from typing import BinaryIO

from hilum.core.query import Query
from hilum.index.catalogue import Catalogue
from hilum.index.stored import StoredInstance
from hilum.storage.store import Store


class Retrieve:
    """Joins what the index selects with what the store holds."""

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store

    async def select(self, query: Query) -> list[StoredInstance]:
        """Return the instances a retrieve identifier selects, in reading order.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._catalogue.instances(query)

    def open(self, instance: StoredInstance) -> BinaryIO:
        """Open the Part 10 file of `instance`, positioned at its first byte.

        Raises
        ------
        NotFound
            The store does not have it.
        """
        return self._store.open(instance.blob.digest)
