"""Pictures: a frame of the index, out of the store, as a PNG.

A picture's address is derived from what it is made of (bytes, frame, rendering), so a
client that has it already is told so before anything is decoded.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from hilum.core.errors import NoPixelData, NotFound
from hilum.imaging.picture import draw, is_native
from hilum.imaging.render import Rendering
from hilum.imaging.workers import DecodeWorkers
from hilum.index.catalogue import Catalogue
from hilum.index.stored import StoredInstance
from hilum.storage.store import Store

#: Part of every address: raise it when the same request is to give other pixels.
_RENDERER = "1"


@dataclass(frozen=True, slots=True)
class Located:
    """One frame of one instance as a client wants to see it."""

    instance: StoredInstance
    frame_index: int
    rendering: Rendering

    @property
    def etag(self) -> str:
        """Strong validator: equal if and only if the PNG is."""
        parts = (_RENDERER, self.instance.blob.digest, self.frame_index, self.rendering)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class Pictures:
    """Finds frames and draws them, native ones in a thread, others in helper processes."""

    def __init__(self, catalogue: Catalogue, store: Store, workers: DecodeWorkers) -> None:
        self._catalogue = catalogue
        self._store = store
        self._workers = workers

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

    async def draw(self, located: Located) -> bytes:
        """Return the PNG, 8 bits a sample, grey or RGB.

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
        instance = located.instance
        pixel_data = instance.pixel_data
        if pixel_data is None:
            raise NoPixelData(f"instance {instance.identity.sop_instance_uid} has no pixel data")
        path = self._store.path(instance.blob.digest)
        arguments = (
            path,
            pixel_data,
            instance.transfer_syntax_uid,
            instance.data_set_offset,
            located.frame_index,
            located.rendering,
        )
        try:
            if is_native(instance.transfer_syntax_uid):
                return await asyncio.to_thread(draw, *arguments)
            return await self._workers.picture(*arguments)
        except FileNotFoundError as error:
            raise NotFound(f"object {instance.blob.digest} is not in the store") from error
