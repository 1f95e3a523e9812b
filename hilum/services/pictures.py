"""Pictures: a frame of the index, out of the store, as a client wants to see it.

A picture's address is derived from what it is made of (bytes, frame, rendering), so a
client that has it already is told so before anything is decoded. By that address a picture
is kept: in memory, then on disk where all workers find it. And it is made once, however many
ask for it at the same moment.
"""

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from hilum.core.errors import NoPixelData
from hilum.core.instance import PixelData
from hilum.imaging.picture import draw, is_native
from hilum.imaging.render import Rendering
from hilum.imaging.turns import Turns
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.stored import StoredInstance
from hilum.services.flights import Flights
from hilum.storage.cache import Cache
from hilum.storage.store import Store

#: Part of every address: raise it when the same request is to give other pixels.
_RENDERER: Final = "2"
#: Pictures in the memory of a worker: some hundred slices.
_MEMORY_BYTES: Final = 64 << 20
#: Native pixels are drawn in threads of their own: who waits for a disk elsewhere does not
#: keep pictures waiting.
_THREADS: Final = 4
#: Beside them, for pictures that take long (`hilum.imaging.turns`).
_SLOW_THREADS: Final = 4
#: Pictures that wait to be written to the disk. What is beyond is drawn once more one day.
_PENDING: Final = 64


@dataclass(frozen=True, slots=True)
class Located:
    """One frame of one instance as a client wants to see it."""

    instance: StoredInstance
    frame_index: int
    rendering: Rendering

    @property
    def etag(self) -> str:
        """Strong validator: equal if and only if the picture is."""
        return _address(self.instance.blob.digest, self.frame_index, self.rendering)


@lru_cache(maxsize=4096)
def _address(digest: str, frame_index: int, rendering: Rendering) -> str:
    parts = (_RENDERER, digest, frame_index, rendering)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class Pictures:
    """Finds frames and draws them, native ones in a thread, others in helper processes."""

    def __init__(
        self, catalogue: Catalogue, store: Store, workers: DecodeWorkers, cache: Cache | None = None
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._workers = workers
        self._cache = cache
        self._recent = _Recent(_MEMORY_BYTES)
        self._flights: Flights[bytes] = Flights()
        self._turns = Turns(_THREADS, _SLOW_THREADS)
        self._threads = ThreadPoolExecutor(_THREADS + _SLOW_THREADS, "pictures")
        self._writer = ThreadPoolExecutor(1, "picture-cache")
        self._pending = 0

    def close(self) -> None:
        """Let the threads go; nothing can be drawn afterwards."""
        self._threads.shutdown()
        self._writer.shutdown()

    async def locate(self, study_instance_uid: str, index: int, rendering: Rendering) -> Located:
        """Return the study's `index`-th frame, counted from 0 over all its series.

        Raises
        ------
        NotFound
            There is no such study, or it has fewer frames.
        IndexUnavailable
            MongoDB does not answer.
        """
        layout = await self._catalogue.study_frames(study_instance_uid)
        instance, frame_index = layout.frame_at(index)
        return Located(instance, frame_index, rendering)

    def seen(self, located: Located) -> bytes | None:
        """Return the picture if it is at hand: without waiting for anything."""
        return self._recent.get(located.etag)

    async def draw(self, located: Located) -> bytes:
        """Return the picture, in the format that its rendering says.

        Raises
        ------
        NoPixelData
            The instance is no image.
        Invalid, Unsupported
            Its pixels cannot be shown: a faulty description, an unknown codec.
        Corrupt
            Its pixels are damaged.
        NotFound
            The store does not have the file.
        """
        etag = located.etag
        picture = self._recent.get(etag)
        if picture is None:
            picture = await self._flights.join(etag, lambda: self._make(located))
        return picture

    async def _make(self, located: Located) -> bytes:
        instance = located.instance
        if instance.pixel_data is None:
            raise NoPixelData(f"instance {instance.identity.sop_instance_uid} has no pixel data")
        series = instance.identity.series
        key = f"{instance.blob.digest}-{located.etag}"
        loop = asyncio.get_running_loop()
        turn = await self._turns.take(series)
        turn.begin()
        try:
            kept, drawn, path = await loop.run_in_executor(
                self._threads, self._look_or_draw, key, located, instance.pixel_data
            )
        finally:
            turn.end()
        picture = kept or drawn
        if picture is None:
            picture = await self._workers.picture(
                path,
                instance.pixel_data,
                instance.transfer_syntax_uid,
                instance.data_set_offset,
                located.frame_index,
                located.rendering,
                owner=series,
            )
        if kept is None:
            self._keep(key, picture)
        self._recent.put(located.etag, picture)
        return picture

    def _look_or_draw(
        self, key: str, located: Located, pixel_data: PixelData
    ) -> tuple[bytes | None, bytes | None, Path]:
        """Return the picture as it was kept, or as it is drawn if no codec is needed for that.

        And where its file is, for a helper; in a thread.
        """
        instance = located.instance
        path = self._store.path(instance.blob.digest)
        kept = self._cache.get(key) if self._cache is not None else None
        if kept is not None or not is_native(instance.transfer_syntax_uid):
            return kept, None, path
        drawn = draw(
            path,
            pixel_data,
            instance.transfer_syntax_uid,
            instance.data_set_offset,
            located.frame_index,
            located.rendering,
        )
        return None, drawn, path

    def _keep(self, key: str, picture: bytes) -> None:
        """Have a picture written to the disk some time: nobody waits for it."""
        if self._cache is None or self._pending >= _PENDING:
            return
        self._pending += 1
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._writer, self._cache.put, key, picture)
        writing.add_done_callback(self._kept)

    def _kept(self, writing: "asyncio.Future[None]") -> None:
        self._pending -= 1
        writing.exception()


class _Recent:
    """The pictures asked for last, as many as fit into so many bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._pictures: OrderedDict[str, bytes] = OrderedDict()

    def get(self, etag: str) -> bytes | None:
        picture = self._pictures.get(etag)
        if picture is not None:
            self._pictures.move_to_end(etag)
        return picture

    def put(self, etag: str, picture: bytes) -> None:
        if etag in self._pictures or len(picture) > self._limit_bytes // 4:
            return
        self._pictures[etag] = picture
        self._size_bytes += len(picture)
        while self._size_bytes > self._limit_bytes:
            _, forgotten = self._pictures.popitem(last=False)
            self._size_bytes -= len(forgotten)
