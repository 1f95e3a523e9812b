"""Migration: every instance of a running Orthanc into a node, whole, and under the same id.

Then what people have noted of them (`hilum.moving.note_migration`).

What the node has already is not fetched again, so that a migration that was interrupted, by
whatever, is continued by starting it again. What arrives in Orthanc meanwhile is taken too:
its log of changes is followed to the end, and then its list of instances read once more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hilum.core.errors import Conflict, Invalid, NotFound
from hilum.core.levels import Level
from hilum.http.orthanc.resources import NAMES
from hilum.moving.each import for_each
from hilum.moving.note_migration import NoteMigration
from hilum.moving.orthanc import Change, Orthanc, Received, ServerFault
from hilum.moving.targets import Target

#: Taken in before it is waited for that they can be found; meanwhile the next ones come.
_BATCH_SIZE: Final = 250


#: What Orthanc's log says of a resource whose notes have changed.
_NOTED: Final = frozenset({"UpdatedAttachment", "UpdatedMetadata"})
_LEVELS: Final = {name: level for level, name in NAMES.items()}


class _Damaged(ServerFault):
    """What came is not what the server says it has: worth another try."""


@dataclass
class Migrated:
    """What became of the instances so far."""

    total: int = 0
    """Instances of Orthanc, when it was asked last."""
    copied: int = 0
    size_bytes: int = 0
    """Of those that were copied."""
    present: int = 0
    """They were there already."""
    deleted: int = 0
    """They went from Orthanc after it had named them."""
    unstated: int = 0
    """Copied; Orthanc keeps no digest of them that their bytes could be compared with."""
    failures: dict[str, str] = field(default_factory=dict)
    """By id, why an instance is not in the node as it is in Orthanc."""
    notes: int = 0
    """Metadata, attachments, labels and protections that were copied."""
    unnoted: dict[str, str] = field(default_factory=dict)
    """By path, why the notes of a resource are not in the node as they are in Orthanc."""
    last_change: int = 0
    """Up to and with this entry of Orthanc's log everything was taken."""

    @property
    def done(self) -> int:
        """How many instances were dealt with."""
        return self.copied + self.present + self.deleted + len(self.failures)


class Migration:
    """Copies from one server to one node.

    Parameters
    ----------
    notes
        Copies what people have noted.
    jobs
        How many instances are on their way at a time.
    on_progress
        Is called when an instance is dealt with.
    """

    def __init__(
        self,
        source: Orthanc,
        target: Target,
        notes: NoteMigration,
        jobs: int,
        on_progress: Callable[[Migrated], None],
    ) -> None:
        self._source = source
        self._target = target
        self._notes = notes
        self._jobs = jobs
        self._on_progress = on_progress
        self._report = Migrated()
        self._seen: set[str] = set()
        self._noted: dict[tuple[Level, str], None] = {}

    async def run(self, since: int | None = None) -> Migrated:
        """Copy what the node does not have.

        Parameters
        ----------
        since
            Only what Orthanc has noted in its log of changes behind this entry; None:
            everything.

        Raises
        ------
        Temporary
            Orthanc or the node does not answer any more. What was copied is kept.
        """
        report = self._report
        report.total = (await self._source.statistics())["instances"]
        if since is None:
            report.last_change = await self._source.last_change()
            await self._copy_all()
        else:
            report.last_change = since
        await self._follow()
        if since is None:
            # Pages shift under whoever reads them while instances go.
            await self._copy_all()
            report.total = (await self._source.statistics())["instances"]
        await self._copy_notes(everything=since is None)
        return report

    async def _copy_notes(self, *, everything: bool) -> None:
        notes = self._notes
        await (notes.copy_all() if everything else notes.copy_labelled())
        await self._follow()
        while self._noted:
            noted, self._noted = self._noted, {}
            await notes.copy(noted)
            await self._follow()
        self._report.notes, self._report.unnoted = notes.copied, notes.failures

    async def _copy_all(self) -> None:
        async for page in self._source.ids("instances"):
            await self._take(page)

    async def _follow(self) -> None:
        while True:
            changes, last = await self._source.changes(self._report.last_change)
            await self._take([each.id for each in changes if each.kind == "NewInstance"])
            self._noted.update(dict.fromkeys(_noted(changes)))
            if last <= self._report.last_change:
                return
            self._report.last_change = last

    async def _take(self, instances: Sequence[str]) -> None:
        """Copy those of `instances` that were not dealt with in this run."""
        new = [each for each in dict.fromkeys(instances) if each not in self._seen]
        self._seen.update(new)
        present = await self._target.present(new)
        self._report.present += len(present)
        self._on_progress(self._report)
        missing = [each for each in new if each not in present]
        for start in range(0, len(missing), _BATCH_SIZE):
            # The batch before is waited for while this one comes.
            settling = asyncio.create_task(self._settle())
            try:
                await for_each(missing[start : start + _BATCH_SIZE], self._jobs, self._copy)
            finally:
                await settling
        await self._settle()

    async def _settle(self) -> None:
        for instance, reason in (await self._target.settle()).items():
            self._report.copied -= 1
            self._report.failures[instance] = reason

    async def _copy(self, instance: str) -> None:
        try:
            received = await self._source.patiently(lambda: self._try_to_copy(instance))
        except NotFound:
            if await self._source.describe(instance) is None:
                self._report.deleted += 1
            else:
                self._report.failures[instance] = "Orthanc has the instance and not its file"
        except (Conflict, Invalid, ServerFault) as error:
            self._report.failures[instance] = str(error)
        else:
            self._report.copied += 1
            self._report.size_bytes += received.size_bytes
        self._on_progress(self._report)

    async def _try_to_copy(self, instance: str) -> Received:
        stated = await self._source.md5(instance)
        reception = await self._target.begin()
        try:
            received = await self._source.download(f"/instances/{instance}/file", reception.write)
            if stated is not None and received.md5 != stated:
                raise _Damaged(f"MD5 of what came is {received.md5}, Orthanc has {stated}")
            await reception.accept(instance, received.md5)
        finally:
            await reception.drop()
        self._report.unstated += stated is None
        return received


def _noted(changes: Sequence[Change]) -> list[tuple[Level, str]]:
    return [(_LEVELS[each.resource_type], each.id) for each in changes if each.kind in _NOTED]
