"""Metadata: the data sets of a study in the DICOM JSON model, without their bulk data.

Made from the stored files, some instances at a time, and kept compressed in the disk cache.
What is kept is named by what it is made of, the files' digests in their order: it is never
out of date, and if it is gone it is made again.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import structlog

from hilum.core.errors import Corrupt, Invalid, NotFound, Temporary
from hilum.imaging.data_set_json import BASE, data_set_json
from hilum.imaging.reader import open_reader
from hilum.index.catalogue import Catalogue
from hilum.index.stored import StoredInstance
from hilum.storage.cache import Cache
from hilum.storage.store import Store

try:
    from isal import isal_zlib

    compress: Callable[[bytes, int], bytes] = isal_zlib.compress
    decompress: Callable[[bytes], bytes] = isal_zlib.decompress
except ImportError:
    # Not on every platform; the standard library writes the same format, only slower.
    compress, decompress = zlib.compress, zlib.decompress

log = structlog.get_logger(__name__)

#: Part of every name: raise it when the same files are to give other metadata.
_MAKER: Final = "1"
#: Made and kept together: memory is bounded by this, whatever the size of a series.
_INSTANCES_TOGETHER: Final = 128
_FRAMES_TOGETHER: Final = 1024
#: One instance with no more of them is not worth keeping.
_FEW_FRAMES: Final = 16
_LEVEL: Final = 1


@dataclass(frozen=True)
class Batch:
    """Consecutive instances of one series, whose metadata is made together."""

    instances: tuple[StoredInstance, ...]

    @cached_property
    def name(self) -> str:
        """What their metadata is made of, as a SHA-256 in hexadecimal."""
        made_of = ",".join([each.blob.digest for each in self.instances])
        return hashlib.sha256(f"{_MAKER} {made_of}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DataSets:
    """The metadata of a batch."""

    text: bytes
    """JSON objects with commas between them; `BASE` is where the service's URL belongs."""
    left_out: tuple[str, ...] = ()
    """SOP Instance UIDs of those whose files cannot be read."""

    def at(self, service_url: str) -> bytes:
        """Return the text for clients that reach the service at this URL."""
        return self.text.replace(BASE, service_url.encode())


class Metadata:
    """Makes metadata, or has it kept. Runs on the loop, works in threads."""

    def __init__(self, catalogue: Catalogue, store: Store, cache: Cache) -> None:
        self._catalogue = catalogue
        self._store = store
        self._cache = cache

    async def select(
        self, study: str, series: str | None = None, instance: str | None = None
    ) -> list[Batch]:
        """Return what a study, a series or an instance consists of, in reading order.

        Raises
        ------
        NotFound
            There is nothing under these UIDs.
        IndexUnavailable
            MongoDB does not answer.
        """
        layout = await self._catalogue.study_frames(study)
        return list(_batches(layout.below(series, instance)))

    async def data_sets(self, batch: Batch) -> DataSets:
        """Return the metadata of a batch, from the cache if it is there.

        Raises
        ------
        StorageUnavailable
            The store cannot be reached.
        """
        return await asyncio.to_thread(self._data_sets, batch)

    def _data_sets(self, batch: Batch) -> DataSets:
        if len(batch.instances) == 1 and batch.instances[0].number_of_frames <= _FEW_FRAMES:
            return self._make(batch)  # as fast as to read it
        key = f"{batch.name}-metadata"
        packed = self._cache.get(key)
        if packed is not None:
            return DataSets(decompress(packed))
        made = self._make(batch)
        if not made.left_out:  # the file may be mended
            self._cache.put(key, compress(made.text, _LEVEL))
        return made

    def _make(self, batch: Batch) -> DataSets:
        texts = []
        left_out = []
        for instance in batch.instances:
            uid = instance.identity.sop_instance_uid
            try:
                texts.append(self._one(instance))
            except (Corrupt, Invalid, NotFound) as error:
                log.warning("no metadata", sop_instance_uid=uid, reason=str(error))
                left_out.append(uid)
            except Temporary:
                raise
            except Exception:  # a fault of ours over one file must not hide the others
                log.exception("no metadata", sop_instance_uid=uid)
                left_out.append(uid)
        return DataSets(b",".join(texts), tuple(left_out))

    def _one(self, instance: StoredInstance) -> bytes:
        identity = instance.identity
        with self._store.open(instance.blob.digest) as file:
            text = data_set_json(
                open_reader(file, instance.transfer_syntax_uid, instance.data_set_offset),
                instance.data_set_offset,
                instance.transfer_syntax_uid,
                instance.pixel_data,
            )
        address = (
            f"/studies/{identity.study_instance_uid}/series/{identity.series_instance_uid}"
            f"/instances/{identity.sop_instance_uid}"
        )
        return text.replace(BASE, BASE + address.encode())


def _batches(instances: Sequence[StoredInstance]) -> Iterator[Batch]:
    batch: list[StoredInstance] = []
    frames = 0
    for instance in instances:
        full = len(batch) == _INSTANCES_TOGETHER or frames >= _FRAMES_TOGETHER
        if batch and (full or instance.identity.series != batch[0].identity.series):
            yield Batch(tuple(batch))
            batch, frames = [], 0
        batch.append(instance)
        frames += instance.number_of_frames
    yield Batch(tuple(batch))
