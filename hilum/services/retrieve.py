"""Retrieve: which stored instances a request means, and their bytes."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import Corrupt, NoPixelData, NotFound
from hilum.core.instance import PixelData
from hilum.core.query import Query
from hilum.imaging.around import Rewritten, rewrite_around
from hilum.imaging.arrays import frame_array
from hilum.imaging.compress import compress_file, compress_frame
from hilum.imaging.encode import ENCODED
from hilum.imaging.extents import Extent, stored_extents
from hilum.imaging.picture import is_native
from hilum.imaging.raw_frame import raw_frame
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

    async def resource(
        self,
        study_instance_uid: str,
        series_instance_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> Sequence[StoredInstance]:
        """Return the instances of a study, a series of it, or one, in reading order.

        Whoever asks for one instance or frame asks for the next one of the study soon: what
        is known of the study is kept, and MongoDB not asked while nothing of it changes.

        Raises
        ------
        NotFound
            There is no such study, series or instance.
        IndexUnavailable
            MongoDB does not answer.
        """
        layout = await self._catalogue.study_frames(study_instance_uid)
        return layout.below(series_instance_uid, sop_instance_uid)

    async def with_uids(self, sop_instance_uids: Sequence[str]) -> list[StoredInstance]:
        """Return the instances of these SOP Instance UIDs, in whatever series, in no order.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        return await self._catalogue.with_uids(sop_instance_uids)

    def verify(self, instance: StoredInstance) -> None:
        """Read the file of `instance` whole; from a thread.

        Raises
        ------
        NotFound, Corrupt
            It is gone, or is not what was stored.
        """
        self._store.verify(instance.blob.digest)

    def check(self, instances: Iterable[StoredInstance]) -> None:
        """Look whether the files of `instances` are there, and whole as far as size tells.

        From a thread. What has been begun to be sent cannot be taken back.

        Raises
        ------
        Corrupt
            One is not; the message names it.
        """
        for instance in instances:
            uid = instance.identity.sop_instance_uid
            try:
                size = self._store.size(instance.blob.digest)
            except NotFound as error:
                raise Corrupt(f"the file of instance {uid} is gone from the store") from error
            if size != instance.blob.size_bytes:
                raise Corrupt(
                    f"the file of instance {uid} has {size} bytes, not {instance.blob.size_bytes}"
                )

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
            It cannot be rewritten, see `hilum.imaging.transcode` and `compress`.
        Temporary
            The node is stopping.
        """
        return self._crossing.call(self.rewritten(instance, transfer_syntax_uid))

    async def rewritten(self, instance: StoredInstance, transfer_syntax_uid: str) -> BinaryIO:
        """`rewrite`, on the loop."""
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="hilum-")
        target = Path(folder) / "rewritten.dcm"
        try:
            await self._workers.call(
                compress_file if transfer_syntax_uid in ENCODED else transcode_file,
                self._store.path(instance.blob.digest),
                instance.transfer_syntax_uid,
                transfer_syntax_uid,
                target,
                timeout_seconds=_REWRITE_SECONDS,
                owner=instance.identity.study,
            )
            # Stays readable when its folder goes.
            return await asyncio.to_thread(target.open, "rb", buffering=0)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def rewritten_around(
        self, instance: StoredInstance, transfer_syntax_uid: str
    ) -> Rewritten | None:
        """Return `instance` in another transfer syntax without its pixels; from a thread.

        None where they cannot stay as they are: `rewritten` does it then.

        Raises
        ------
        NotFound
            The store does not have it.
        Corrupt, NotDicom
            It cannot be read to its end.
        """
        with self._store.open(instance.blob.digest) as file:
            return rewrite_around(file, instance.transfer_syntax_uid, transfer_syntax_uid)

    def stored_frames(
        self, instance: StoredInstance, frame_indices: Sequence[int]
    ) -> list[tuple[Extent, ...]] | None:
        """Return where frames lie in the file, to be sent as they are stored; from a thread.

        Parameters
        ----------
        frame_indices
            From 0.

        Returns
        -------
        list or None
            For each frame its extents: little-endian samples if the transfer syntax is a
            native one, else the code stream. None if they do not lie in the file like that:
            `raw_frame` gives them.

        Raises
        ------
        NoPixelData
            The instance is no image.
        NotFound
            There is no such frame, or no file.
        Invalid, Corrupt
            The file does not say where its frames are, or is damaged.
        """
        pixel_data = _pixels(instance)
        path = self._store.path(instance.blob.digest)
        syntax, offset = instance.transfer_syntax_uid, instance.data_set_offset
        return stored_extents(path, pixel_data, syntax, offset, frame_indices)

    async def raw_frame(self, instance: StoredInstance, frame_index: int) -> bytes:
        """Return one frame, counted from 0, as Explicit VR Little Endian has it.

        Raises
        ------
        NoPixelData, NotFound, Invalid, Unsupported, Corrupt
            See `hilum.imaging.raw_frame`.
        Temporary
            The node is stopping.
        """
        arguments = self._frame(instance, frame_index)
        if is_native(instance.transfer_syntax_uid):
            return await asyncio.to_thread(raw_frame, *arguments)
        return await self._workers.call(raw_frame, *arguments, owner=instance.identity.series)

    async def frame_array(
        self, instance: StoredInstance, frame_index: int, *, rescale: bool
    ) -> bytes:
        """Return one frame, counted from 0, as a ``.npy`` file.

        Raises
        ------
        NoPixelData, NotFound, Invalid, Unsupported, Corrupt
            See `hilum.imaging.arrays.frame_array`.
        Temporary
            The node is stopping.
        """
        arguments = (*self._frame(instance, frame_index), rescale)
        if is_native(instance.transfer_syntax_uid):
            return await asyncio.to_thread(frame_array, *arguments)
        return await self._workers.call(frame_array, *arguments, owner=instance.identity.series)

    async def compressed_frame(
        self, instance: StoredInstance, frame_index: int, transfer_syntax_uid: str
    ) -> bytes:
        """Return one frame, counted from 0, compressed without loss.

        Raises
        ------
        NoPixelData, NotFound, Invalid, Unsupported, Corrupt
            See `hilum.imaging.compress.compress_frame`.
        Temporary
            The node is stopping.
        """
        arguments = self._frame(instance, frame_index)
        return await self._workers.call(
            compress_frame, *arguments, transfer_syntax_uid, owner=instance.identity.series
        )

    def _frame(
        self, instance: StoredInstance, frame_index: int
    ) -> tuple[Path, PixelData, str, int, int]:
        return (
            self._store.path(instance.blob.digest),
            _pixels(instance),
            instance.transfer_syntax_uid,
            instance.data_set_offset,
            frame_index,
        )


def _pixels(instance: StoredInstance) -> PixelData:
    if instance.pixel_data is None:
        raise NoPixelData(f"instance {instance.identity.sop_instance_uid} has no pixel data")
    return instance.pixel_data
