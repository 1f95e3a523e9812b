"""What retention would delete, by which rule, and why.

A plan is made of the index and the disk as they are at this moment, and changes nothing: a
preview shows it, a run carries it out (`hilum.services.retention`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from hilum.core.levels import Level
from hilum.index.protections import Protections
from hilum.index.retention import Candidate, Candidates, Eligible
from hilum.services.deletion import Trash

#: What has got something new within that time may still be arriving, stable or not.
_QUIET: Final = timedelta(minutes=10)
#: By its date a study may be old when it comes, as a prior or from another archive: it stays a day.
_WELCOME: Final = timedelta(days=1)
#: Studies of one plan, so that it fits into memory; the next one goes on.
_AT_ONCE: Final = 10_000
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


class Rule(StrEnum):
    """By which rule a study goes."""

    AGE = "age"
    SIZE = "size"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to be deleted; zero: there is no such rule."""

    max_age_days: float = 0
    age_of: Literal["received", "study"] = "received"
    max_bytes: int = 0
    keep_free_bytes: int = 0
    modalities: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is any rule."""
        return bool(self.max_age_days or self.max_bytes or self.keep_free_bytes)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A study that goes."""

    candidate: Candidate
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the rules come to at this moment."""

    doomed: tuple[Doomed, ...]
    """In the order in which they go."""
    store_bytes: int
    """Of all studies, current versions only."""
    free_bytes: int
    """On the disk."""
    trash_bytes: int
    """In the trash, which gives way before any study does."""
    makes_room: bool
    """The trash, and what goes for the sake of free space, is emptied until enough is free."""
    warnings: tuple[str, ...] = ()
    more: bool = False
    """There will be more in the next run."""

    @property
    def size_bytes(self) -> int:
        """Of the studies that go."""
        return sum(each.candidate.size_bytes for each in self.doomed)


class Planner:
    """Makes plans. Lives on the loop."""

    def __init__(
        self, rules: Rules, candidates: Candidates, protections: Protections, trash: Trash
    ) -> None:
        self.rules = rules
        self._candidates = candidates
        self._protections = protections
        self._trash = trash

    async def free_bytes(self) -> int:
        """Return what is free on the disk.

        Raises
        ------
        StorageUnavailable
            It cannot be asked.
        """
        return await asyncio.to_thread(self._trash.files.free_bytes)

    async def plan(self) -> Plan:
        """Return what would be deleted now. Changes nothing.

        Raises
        ------
        IndexUnavailable, StorageUnavailable
            It cannot be known.
        """
        rules = self.rules
        eligible = await self.eligible()
        store_bytes = await self._candidates.size_bytes()
        free_bytes = await self.free_bytes()
        _, trash_bytes = await self._trash.notes.total()
        doomed = await self._aged(eligible) if rules.max_age_days else []
        more = len(doomed) == _AT_ONCE
        warnings: list[str] = []
        going = sum(each.candidate.size_bytes for each in doomed)
        if rules.max_bytes and not more:
            found = await self._oldest(
                Rule.SIZE,
                f"retention: the store has more than {readable(rules.max_bytes)}",
                eligible,
                doomed,
                store_bytes - going - rules.max_bytes,
                warnings,
            )
            doomed += found or []
            going = sum(each.candidate.size_bytes for each in doomed)
        makes_room = 0 < rules.keep_free_bytes > free_bytes
        if makes_room and await self._candidates.halted() == rules.keep_free_bytes:
            makes_room = False
            warnings.append(
                "keep_free_bytes has halted: deleting has freed next to nothing, as with snapshots "
                "or hard links of the files; when that is mended: hilum retention resume"
            )
        elif makes_room and not more:
            found = await self._oldest(
                Rule.FREE,
                f"retention: less than {readable(rules.keep_free_bytes)} is free",
                eligible,
                doomed,
                rules.keep_free_bytes - free_bytes - trash_bytes - going,
                warnings,
            )
            makes_room = found is not None
            doomed += found or []
        return Plan(
            doomed=tuple(doomed),
            store_bytes=store_bytes,
            free_bytes=free_bytes,
            trash_bytes=trash_bytes,
            makes_room=makes_room,
            warnings=tuple(warnings),
            more=len(doomed) >= _AT_ONCE,
        )

    async def eligible(self) -> Eligible:
        """Return which studies may go at all.

        Raises
        ------
        IndexUnavailable
            MongoDB does not answer.
        """
        protected = await self._protections.all()
        return Eligible(
            quiet_since=datetime.now(UTC) - _QUIET,
            patients=protected[Level.PATIENT],
            studies=protected[Level.STUDY],
            modalities=self.rules.modalities,
        )

    async def _aged(self, eligible: Eligible) -> list[Doomed]:
        rules = self.rules
        now = datetime.now(UTC)
        before = now - timedelta(days=rules.max_age_days)
        reason = f"retention: nothing has come for {rules.max_age_days:g} days"
        if rules.age_of == "study":
            eligible = replace(eligible, quiet_since=now - _WELCOME)
            reason = f"retention: its date is more than {rules.max_age_days:g} days ago"
        found = await self._candidates.aged(eligible, rules.age_of, before, _AT_ONCE)
        return [Doomed(each, Rule.AGE, reason) for each in found]

    async def _oldest(
        self,
        rule: Rule,
        reason: str,
        eligible: Eligible,
        doomed: Sequence[Doomed],
        short_bytes: int,
        warnings: list[str],
    ) -> list[Doomed] | None:
        """Return the studies that have to go for `short_bytes`; None if they are not enough."""
        if short_bytes <= 0:
            return []
        without = [each.candidate.study for each in doomed]
        # What goes by age may go at all.
        going = sum(each.candidate.size_bytes for each in doomed)
        there = await self._candidates.size_bytes(eligible) - going
        if there < short_bytes:
            warnings.append(
                f"{reason}; {readable(short_bytes)} would have to go, and only {readable(there)} "
                "may: nothing is deleted for it"
            )
            return None
        limit = max(_AT_ONCE - len(doomed), 1)
        found = await self._candidates.oldest(eligible, without, short_bytes, limit)
        return [Doomed(each, rule, reason) for each in found]


def readable(size_bytes: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in _UNITS:
        if abs(size_bytes) < 1024 or unit == _UNITS[-1]:
            break
        size_bytes /= 1024
    return f"{size_bytes:.{0 if unit == 'bytes' else 1}f} {unit}"
