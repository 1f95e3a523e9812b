"""The notes of a server: an Orthanc of whatever version, or a node that speaks its language."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from hilum.core.errors import Invalid, NotFound
from hilum.core.levels import Level
from hilum.http.orthanc.metadata import BUILT_IN
from hilum.http.orthanc.own_names import FIRST, LAST
from hilum.http.orthanc.resources import NAMES, PLURALS
from hilum.moving.notes import Notes
from hilum.moving.orthanc import Orthanc, Pieces

T = TypeVar("T")

_FOUND_AT_ONCE: Final = 1000
#: What plugins of Orthanc keep to be faster, and nobody else reads: OHIF's of each instance, and
#: the metadata that DICOMweb has made of each series.
_CACHES: Final = frozenset({("metadata", 4202), ("attachments", 4301)})
#: Further metadata of some versions of Orthanc.
_OTHERS_BUILT_IN: Final = frozenset({"HttpHost"})


class ServerNotes:
    """A `NoteTarget`.

    Parameters
    ----------
    names
        Numbers of metadata by name, for a server that does not tell.
    """

    def __init__(self, server: Orthanc, names: Mapping[str, int]) -> None:
        self._server = server
        self._names = names
        self._about: dict[str, Any] | None = None
        self._labelled: bool | None = None

    async def resources(self, level: Level) -> AsyncIterator[list[str]]:
        """See `NoteSource.resources`. An Orthanc before 1.12.5 has to be asked for each."""
        about = await self._known()
        # That a patient is protected is no part of what is found.
        finds = about.get("Capabilities", {}).get("HasExtendedFind", False)
        if not finds or level is Level.PATIENT:
            async for page in self._server.ids(PLURALS[level]):
                yield page
            return
        question = {
            "Level": NAMES[level],
            "Query": {},
            "ResponseContent": ["Attachments", "Labels", "Metadata"],
            "Limit": _FOUND_AT_ONCE,
        }
        since = 0
        while page := await self._server.ask("/tools/find", {**question, "Since": since}):
            yield [each["ID"] for each in page if self._may_have_some(each)]
            since += len(page)

    async def of(self, level: Level, public_id: str) -> Notes | None:
        """See `NoteSource.of`."""
        path = f"/{PLURALS[level]}/{public_id}"
        try:
            metadata, unnumbered = await self._metadata(path)
            attachments = await self._attachments(path)
            labels = frozenset(await self._labels(path))
            protected = level is Level.PATIENT and await self._is_protected(path)
        except NotFound:
            return None
        return Notes(metadata, attachments, labels, protected, unnumbered)

    async def note(self, level: Level, public_id: str, number: int, value: bytes) -> None:
        """See `NoteTarget.note`."""
        await self._server.put(f"/{PLURALS[level]}/{public_id}/metadata/{number}", value)

    async def attach(
        self, level: Level, public_id: str, number: int, pieces: Pieces, size_bytes: int
    ) -> None:
        """See `NoteTarget.attach`."""
        path = f"/{PLURALS[level]}/{public_id}/attachments/{number}"
        await self._server.put(path, pieces, size_bytes)

    async def label(self, level: Level, public_id: str, label: str) -> None:
        """See `NoteTarget.label`."""
        self._labelled = True
        await self._server.put(f"/{PLURALS[level]}/{public_id}/labels/{quote(label)}", b"")

    async def protect(self, public_id: str) -> None:
        """See `NoteTarget.protect`."""
        await self._server.put(f"/{PLURALS[Level.PATIENT]}/{public_id}/protected", b"1")

    async def labelled(self, level: Level) -> list[str]:
        """Return the ids of a level that have a label. Orthanc's log does not tell of labels."""
        labels = await self._all_labels()
        if not labels:
            return []
        question = {
            "Level": NAMES[level],
            "Query": {},
            "Labels": labels,
            "LabelsConstraint": "Any",
        }
        found: list[str] = await self._server.ask("/tools/find", question)
        return found

    async def _known(self) -> dict[str, Any]:
        if self._about is None:
            self._about = await self._server.about()
        return self._about

    def _may_have_some(self, found: Mapping[str, Any]) -> bool:
        attached = any(_is_own("attachments", each["ContentType"]) for each in found["Attachments"])
        return bool(found["Labels"]) or attached or bool(self._own(found["Metadata"]))

    def _own(self, listed: Iterable[str | int]) -> dict[str | int, int | None]:
        """Return what of metadata is clients' own, with its number if it is known."""
        told = (self._about or {}).get("UserMetadata", {})
        numbers: dict[str | int, int | None] = {}
        for each in listed:
            known = (
                int(each) if str(each).isdecimal() else told.get(each, self._names.get(str(each)))
            )
            if known is None:
                if each not in BUILT_IN and each not in _OTHERS_BUILT_IN:
                    numbers[each] = None
            elif _is_own("metadata", known):
                numbers[each] = known
        return numbers

    async def _metadata(self, path: str) -> tuple[dict[int, bytes], frozenset[str]]:
        await self._known()
        # With their numbers in Orthanc 1.12, else with their names.
        own = self._own(await self._server.json(f"{path}/metadata?numeric"))
        found = {}
        for number in own.values():
            if number is not None:
                # As it is: JSON has no place for what is no text.
                value = await _unless_gone(self._server.content(f"{path}/metadata/{number}"))
                if value is not None:
                    found[number] = value
        return found, frozenset(str(name) for name, number in own.items() if number is None)

    async def _attachments(self, path: str) -> dict[int, str]:
        listed = await self._server.json(f"{path}/attachments?full")
        if not isinstance(listed, dict):
            raise Invalid(f"{self._server} does not tell the numbers of attachments")
        found = {}
        for number in listed.values():
            if _is_own("attachments", number):
                md5 = await _unless_gone(self._md5(f"{path}/attachments/{number}"))
                if md5 is not None:
                    found[number] = md5
        return found

    async def _md5(self, attachment: str) -> str:
        stated = await self._server.stated_md5(attachment)
        if stated is not None:
            return stated

        async def ignore(_piece: bytes) -> None:
            await asyncio.sleep(0)

        path = f"{attachment}/data"
        return (await self._server.patiently(lambda: self._server.download(path, ignore))).md5

    async def _labels(self, path: str) -> list[str]:
        if self._labelled is None:
            self._labelled = bool(await self._all_labels())
        if not self._labelled:
            return []
        found: list[str] = await self._server.json(f"{path}/labels")
        return found

    async def _all_labels(self) -> list[str]:
        if not (await self._known()).get("HasLabels", False):
            return []
        found: list[str] = await self._server.json("/tools/labels")
        return found

    async def _is_protected(self, path: str) -> bool:
        return (await self._server.content(f"{path}/protected")).strip() == b"1"


def _is_own(kind: str, number: int) -> bool:
    return FIRST <= number <= LAST and (kind, number) not in _CACHES


async def _unless_gone(answer: Awaitable[T]) -> T | None:
    """Return an answer; None if what was asked for went away since it was listed."""
    try:
        return await answer
    except NotFound:
        return None
