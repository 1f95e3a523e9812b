"""Notes: what people have noted of a resource and attached to it, beside what is in its files.

A back end keeps ids of its own there. They are compared by their values, attachments by their
MD5.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hilum.core.levels import Level
from hilum.moving.orthanc import Pieces

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Notes:
    """Of one resource."""

    metadata: Mapping[int, bytes]
    """By number, from 1024 on."""
    attachments: Mapping[int, str]
    """MD5 by number, from 1024 on."""
    labels: frozenset[str]
    protected: bool
    """Retention leaves it alone; of a patient."""
    unnumbered: frozenset[str] = frozenset()
    """Names of further metadata, whose numbers nobody knows."""

    def __bool__(self) -> bool:
        parts = (self.metadata, self.attachments, self.labels, self.protected, self.unnumbered)
        return any(parts)


class NoteSource(Protocol):
    """An archive that is asked for notes."""

    def resources(self, level: Level) -> AsyncIterator[list[str]]:
        """Yield the ids of a level, at least those that have any notes, some at a time."""
        ...

    async def of(self, level: Level, public_id: str) -> Notes | None:
        """Return the notes of a resource; None if it is not there."""
        ...


class NoteTarget(NoteSource, Protocol):
    """An archive that notes are copied to.

    Everything here is idempotent, and raises `NotFound` for a resource that is not there.
    """

    async def note(self, level: Level, public_id: str, number: int, value: bytes) -> None:
        """Have metadata.

        Raises
        ------
        Conflict
            Somebody has noted something else here.
        """
        ...

    async def attach(
        self, level: Level, public_id: str, number: int, pieces: Pieces, size_bytes: int
    ) -> None:
        """Have an attachment.

        Raises
        ------
        Conflict
            Somebody has attached something else here.
        """
        ...

    async def label(self, level: Level, public_id: str, label: str) -> None:
        """Have a label."""
        ...

    async def protect(self, public_id: str) -> None:
        """Have a patient protected."""
        ...


def differences(here: Notes, there: Notes) -> Iterator[str]:
    """Yield in words what of two notes is not the same."""
    yield from _differences("metadata", here.metadata, there.metadata)
    yield from _differences("attachment", here.attachments, there.attachments)
    labels = dict.fromkeys(here.labels, 0), dict.fromkeys(there.labels, 0)
    yield from _differences("label", *labels)
    for name in sorted(there.unnumbered):
        yield no_number(name)
    if here.protected != there.protected:
        yield f"protected {'here' if here.protected else 'there'} only"


def no_number(name: str) -> str:
    """Return what is to be said of metadata whose number is not known."""
    return f"metadata {name} has a number that http.user_metadata does not tell"


def _differences(what: str, here: Mapping[T, object], there: Mapping[T, object]) -> Iterator[str]:
    for each in sorted(here.keys() | there.keys(), key=str):
        if each not in there:
            yield f"{what} {each} is here only"
        elif each not in here:
            yield f"{what} {each} is there only"
        elif here[each] != there[each]:
            yield f"{what} {each} is not the same"
