"""Comparison: whether two archives hold the same instances, and the same in them.

Ids first, then digests. An instance is the same if its data set is, byte for byte, and its
transfer syntax: what was sent by C-STORE has the file meta information of whoever received it
(PS3.10 7.1), so that the files of two receivers differ and nothing is wrong. Equal MD5 of the
files say that with a hash; where they differ both files are looked at.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hilum.core.errors import HilumError, NotFound, Temporary
from hilum.core.levels import Level
from hilum.http.orthanc.resources import PLURALS
from hilum.moving.each import for_each
from hilum.moving.notes import NoteSource, differences
from hilum.moving.orthanc import ServerFault
from hilum.moving.sides import Quarantined, Side
from hilum.moving.threads import in_thread
from hilum.services.sameness import same_data_set


@dataclass(frozen=True, slots=True)
class Difference:
    """An instance that is not the same on both sides."""

    instance: str
    sop_instance_uid: str
    reason: str = ""
    """What is known of why."""


@dataclass(frozen=True, slots=True)
class NoteDifference:
    """A resource on both sides, of which other things are noted."""

    resource: str
    """Its path."""
    reason: str


@dataclass
class Compared:
    """What a comparison found."""

    here: dict[str, int] = field(default_factory=dict)
    """How many patients, studies, series and instances there are."""
    there: dict[str, int] = field(default_factory=dict)
    same_files: int = 0
    same_data_sets: int = 0
    """Of further instances; behind other file meta information."""
    missing_here: list[Difference] = field(default_factory=list)
    missing_there: list[Difference] = field(default_factory=list)
    different: list[Difference] = field(default_factory=list)
    unread: list[Difference] = field(default_factory=list)
    """On both sides; one of the two did not give its file."""
    notes: list[NoteDifference] = field(default_factory=list)

    @property
    def differences(self) -> int:
        """How many there are."""
        parts = (self.missing_here, self.missing_there, self.different, self.unread)
        return sum(map(len, parts)) + len(self.notes)

    @property
    def compared(self) -> int:
        """How many instances that are on both sides were dealt with."""
        parts = (self.different, self.unread)
        return self.same_files + self.same_data_sets + sum(map(len, parts))


class Comparison:
    """Compares two sides.

    Parameters
    ----------
    jobs
        How many instances are looked at at a time.
    on_progress
        Is called when an instance is dealt with, with what was found so far, and how many
        there are to be dealt with.
    """

    def __init__(
        self, here: Side, there: Side, jobs: int, on_progress: Callable[[Compared, int], None]
    ) -> None:
        self._here = here
        self._there = there
        self._jobs = jobs
        self._on_progress = on_progress
        self._found = Compared()

    async def run(self) -> Compared:
        """Compare all instances.

        Raises
        ------
        Temporary
            A side does not answer any more.
        """
        found = self._found
        here, there = await asyncio.gather(self._here.instances(), self._there.instances())
        both = sorted(here & there)

        async def compare(instance: str) -> None:
            await self._compare(instance)
            self._on_progress(found, len(both))

        await for_each(both, self._jobs, compare)
        if there - here:
            quarantined = await self._here.quarantined()
            await for_each(
                sorted(there - here),
                self._jobs,
                lambda each: self._note_missing_here(each, quarantined),
            )
        await for_each(sorted(here - there), self._jobs, self._note_missing_there)
        for level in Level:
            await self._compare_notes(level)
        for part in (found.missing_here, found.missing_there, found.different, found.unread):
            part.sort(key=lambda each: each.instance)
        found.notes.sort(key=lambda each: each.resource)
        found.here, found.there = await asyncio.gather(self._here.counts(), self._there.counts())
        return found

    async def _compare(self, instance: str) -> None:
        found = self._found
        try:
            here = await self._here.md5(instance)
            there = await self._there.md5(instance)
            if here == there:
                found.same_files += 1
            elif await self._have_same_data_set(instance):
                found.same_data_sets += 1
            else:
                reason = f"MD5 {here} here, {there} there"
                found.different.append(await self._difference(instance, reason))
        except (NotFound, ServerFault) as error:
            found.unread.append(await self._difference(instance, str(error)))
        except Temporary:
            raise
        except HilumError as error:  # a file that is no DICOM any more
            found.different.append(await self._difference(instance, str(error)))

    async def _have_same_data_set(self, instance: str) -> bool:
        async with self._here.open(instance) as here, self._there.open(instance) as there:
            return await in_thread(same_data_set, here, there)

    async def _difference(self, instance: str, reason: str) -> Difference:
        uid = await self._here.sop_instance_uid(instance)
        return Difference(instance, uid or "", reason)

    async def _note_missing_here(self, instance: str, quarantined: dict[str, Quarantined]) -> None:
        uid = await self._there.sop_instance_uid(instance)
        # It may have gone, or come, since the ids were listed.
        if uid is None or await self._here.sop_instance_uid(instance) is not None:
            return
        reason = ""
        if quarantined:
            try:
                kept = quarantined.get(await self._there.md5(instance))
            except (NotFound, ServerFault):
                kept = None
            if kept is not None:
                reason = f"in quarantine: {kept.name}: {kept.reason}"
        self._found.missing_here.append(Difference(instance, uid, reason))

    async def _note_missing_there(self, instance: str) -> None:
        uid = await self._here.sop_instance_uid(instance)
        if uid is None or await self._there.sop_instance_uid(instance) is not None:
            return
        self._found.missing_there.append(Difference(instance, uid))

    async def _compare_notes(self, level: Level) -> None:
        """Compare what is noted of those resources of a level that are on both sides."""
        here, there = self._here.notes, self._there.notes
        compared: set[str] = set()

        async def compare(side: NoteSource, public_id: str) -> None:
            if public_id in compared or not await side.of(level, public_id):
                return
            compared.add(public_id)
            ours, theirs = await here.of(level, public_id), await there.of(level, public_id)
            if ours is None or theirs is None:
                return
            reasons = "; ".join(differences(ours, theirs))
            if reasons:
                path = f"/{PLURALS[level]}/{public_id}"
                self._found.notes.append(NoteDifference(path, reasons))

        for side in (there, here):
            async for page in side.resources(level):
                await for_each(page, self._jobs, partial(compare, side))
