"""Archives: many instances as one ZIP file, packed while it is sent.

Nothing is compressed: most of what is large is compressed already, and to send is faster than
to deflate. So an archive of stored files says its length ahead. A file is opened when its turn
comes, and no more than a block of it is ever in memory.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol

import structlog
from pydicom.uid import generate_uid
from zipstream import ZipStream

from hilum.core.errors import Corrupt, NoPixelData, NotFound, Unsupported
from hilum.core.levels import Level
from hilum.imaging.dicomdir import Directory, Entry
from hilum.imaging.part10 import file_meta, read_file_meta
from hilum.imaging.reader import open_reader
from hilum.index.jobs import Job
from hilum.index.resource import Resource
from hilum.index.resources import Resources
from hilum.index.stored import StoredInstance
from hilum.services.folders import Folders
from hilum.services.jobs import Control

log = structlog.get_logger(__name__)

_BLOCK_BYTES: Final = 1 << 20
#: Of a data set: all that the keys of directory records lie in.
_HEAD_BYTES: Final = 256 << 10
_FILE_SET_ID: Final = "HILUM"
_IMAGES: Final = "IMAGES"
_DIRECTORY: Final = "DICOMDIR"

#: Kinds of jobs, without and with a DICOMDIR.
ARCHIVE: Final = "Archive"
MEDIA: Final = "Media"


class Files(Protocol):
    """Where the files come from; see `hilum.services.retrieve.Retrieve`. From a thread."""

    def open(self, instance: StoredInstance) -> BinaryIO:
        """Open a file as it is stored."""

    def rewrite(self, instance: StoredInstance, transfer_syntax_uid: str) -> BinaryIO:
        """Open a file in another transfer syntax."""

    def check(self, instances: Iterable[StoredInstance]) -> None:
        """Look whether the files are there."""


@dataclass(frozen=True)
class Archive:
    """What is to be packed: names and instances, in order."""

    members: Sequence[tuple[str, StoredInstance]] = field(repr=False)
    files: Files = field(repr=False)
    directory: bool = False
    """Whether there is a DICOMDIR, which makes a file set of it (PS3.10 8)."""
    extended: bool = False
    """Whether it says what a series is."""
    transfer_syntax_uid: str | None = None
    """What to rewrite instances to where that can be done."""

    @property
    def size_bytes(self) -> int | None:
        """Of the ZIP file; None where that shows at its end only."""
        return None if self._unsized else len(self._zip(lambda _name, _instance: iter(())))

    @property
    def _unsized(self) -> bool:
        return self.directory or self.transfer_syntax_uid is not None

    def blocks(self) -> Generator[bytes, None, None]:
        """Yield the ZIP file, in blocks of about a megabyte; from threads. Close it.

        Raises
        ------
        HilumError
            A file is gone or cannot be read: what was yielded is worth nothing then.
        """
        directory = (
            Directory(_FILE_SET_ID, generate_uid(), extended=self.extended)
            if self.directory
            else None
        )

        def pieces(name: str, instance: StoredInstance) -> Iterator[bytes]:
            return self._pieces(name, instance, directory)

        packed = self._zip(pieces)
        if directory is not None:
            packed.add(_at_last(directory), _DIRECTORY)
        return _joined(packed)

    def _zip(self, pieces: Callable[[str, StoredInstance], Iterator[bytes]]) -> ZipStream:
        packed = ZipStream(sized=not self._unsized)
        for name, instance in self.members:
            size = None if self._unsized else len(_meta(instance)) + instance.blob.size_bytes
            packed.add(pieces(name, instance), name, size=size)
        return packed

    def _pieces(
        self, name: str, instance: StoredInstance, directory: Directory | None
    ) -> Iterator[bytes]:
        """Yield a file, and have it written into the directory."""
        file, syntax, offset = self._opened(instance)
        with file:
            if directory is not None:
                reader = open_reader(file, syntax, offset)
                directory.add(
                    Entry(
                        file_id=name.replace("/", "\\"),
                        sop_class_uid=instance.sop_class_uid,
                        sop_instance_uid=instance.identity.sop_instance_uid,
                        transfer_syntax_uid=syntax,
                        patient=instance.identity.patient_id,
                        study=instance.identity.study_instance_uid,
                        series=instance.identity.series_instance_uid,
                        head=reader.read_at(offset, _HEAD_BYTES),
                    )
                )
            if offset == 0:
                yield _meta(instance)
            file.seek(0)
            while block := file.read(_BLOCK_BYTES):
                yield block

    def _opened(self, instance: StoredInstance) -> tuple[BinaryIO, str, int]:
        """Return a file, the transfer syntax it is in, and where its data set begins."""
        wanted = self.transfer_syntax_uid
        stored = instance.transfer_syntax_uid
        if wanted is not None and wanted != stored:
            try:
                file = self.files.rewrite(instance, wanted)
            except (Unsupported, Corrupt, NoPixelData) as error:
                # Better as it is, which the file says of itself, than not at all.
                uid = instance.identity.sop_instance_uid
                log.info("packed as stored", sop_instance_uid=uid, reason=str(error))
            else:
                return file, wanted, read_file_meta(open_reader(file)).data_set_offset
        return self.files.open(instance), stored, instance.data_set_offset


def _meta(instance: StoredInstance) -> bytes:
    """Return the file meta information that a data set received bare gets."""
    if instance.data_set_offset:
        return b""
    uid = instance.identity.sop_instance_uid
    return file_meta(instance.sop_class_uid, uid, instance.transfer_syntax_uid)


def _at_last(directory: Directory) -> Iterator[bytes]:
    """Yield the directory when everything has gone by."""
    yield directory.encoded()


def _joined(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Yield the same in blocks of a size that is worth a thread's while."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


async def promise(job: Job, control: Control) -> None:
    """Do the work of a job that makes an archive: none, for it is packed when it is fetched."""
    control.done = job.total


class Archives:
    """Plans archives. Runs on the loop."""

    def __init__(self, resources: Resources, files: Files) -> None:
        self._resources = resources
        self._files = files

    async def find(self, ids: Sequence[str]) -> list[Resource]:
        """Return resources of any level by their public ids, in that order.

        Raises
        ------
        NotFound
            Nothing has one of the ids.
        IndexUnavailable
            MongoDB does not answer.
        """
        found: dict[str, Resource] = {}
        for level in Level:
            missing = [each for each in ids if each not in found]
            if missing:
                found |= {each.id: each for each in await self._resources.some(level, missing)}
        for each in ids:
            if each not in found:
                raise NotFound(f"nothing has the id {each[:44]!r}")
        return [found[each] for each in ids]

    async def of(
        self,
        chosen: Sequence[Resource],
        *,
        directory: bool = False,
        extended: bool = False,
        transfer_syntax_uid: str | None = None,
    ) -> Archive:
        """Return the archive of some resources, each instance in it once.

        Parameters
        ----------
        chosen
            From `find`, or from the index.
        directory, extended, transfer_syntax_uid
            As of `Archive`.

        Raises
        ------
        NotFound
            One of them has gone meanwhile.
        IndexUnavailable
            MongoDB does not answer.
        """
        instances: dict[str, StoredInstance] = {}
        for each in chosen:
            if each.stored is not None:
                below = [each.stored]
            else:
                below = await self._resources.instances(each.level, each.id)
            for instance in below:
                instances.setdefault(instance.identity.instance, instance)
        found = list(instances.values())
        if directory:
            members = [(f"{_IMAGES}/IM{place}", each) for place, each in enumerate(found)]
        else:
            members = await self._in_folders(found)
        return Archive(members, self._files, directory, extended, transfer_syntax_uid)

    async def _in_folders(
        self, instances: Sequence[StoredInstance]
    ) -> list[tuple[str, StoredInstance]]:
        """Return instances with their names: patient, study and series are folders."""
        studies = {each.identity.study: each.identity.patient for each in instances}
        series = {each.identity.series: each.identity.study for each in instances}
        about = {
            each.id: each
            for level, ids in ((Level.STUDY, studies), (Level.SERIES, series))
            for each in await self._resources.some(level, list(ids))
        }
        folders = Folders(about)
        members = []
        counts: dict[str, int] = {}
        for each in instances:
            number = counts.setdefault(each.identity.series, 0)
            counts[each.identity.series] += 1
            members.append((folders.of(each) + folders.file(each, number), each))
        return members
