"""Retrieve: which stored instances a request means, and their bytes."""

import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.query import Query
from hilum.imaging.transcode import transcode_file
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.stored import StoredInstance
from hilum.services.crossing import Crossing
from hilum.storage.store import Store

#: A film of thousands of compressed frames takes minutes.
_REWRITE_SECONDS: Final = 600.0


class Retrieve:
    """Joins what the index selects with what the store holds."""

    def __init__(
        self, catalogue: Catalogue, store: Store, workers: DecodeWorkers, crossing: Crossing
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._workers = workers
        self._crossing = crossing

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

    def rewrite(self, instance: StoredInstance, transfer_syntax_uid: str) -> BinaryIO:
        """Open `instance` as a Part 10 file in another transfer syntax; from a thread.

        The work is done by a helper process: decoders are fed by strangers.

        Raises
        ------
        NotFound
            The store does not have it.
        Unsupported, Corrupt
            It cannot be rewritten, see `hilum.imaging.transcode`.
        Temporary
            The node is stopping.
        """
        with tempfile.TemporaryDirectory(prefix="hilum-") as folder:
            target = Path(folder) / "rewritten.dcm"
            self._crossing.call(
                self._workers.call(
                    transcode_file,
                    self._store.path(instance.blob.digest),
                    instance.transfer_syntax_uid,
                    transfer_syntax_uid,
                    target,
                    timeout_seconds=_REWRITE_SECONDS,
                )
            )
            return target.open("rb")  # stays readable when its folder goes
