"""Taking in the files of one upload as their bytes arrive, in a thread.

No socket here: `intake` feeds pieces of the request's body, of any size, and what became
of each file is an arrival. What a part of the body is, each kind of upload says for itself.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from hilum.core.errors import HilumError
from hilum.core.instance import Origin
from hilum.core.levels import json_tag
from hilum.http.body import BodyParser
from hilum.http.multipart import Event, Malformed, PartBegins, PartData, PartEnds
from hilum.services.ingest import ExpectedStudy, Ingest, Receipt
from hilum.storage.spool import SpoolWriter

#: `Origin.source` of everything that comes this way.
SOURCE: Final = "http"
#: Address of whoever makes the request that is at work; empty in no request's name.
CLIENT: Final[ContextVar[str]] = ContextVar("client", default="")
_PARTS: Final = 100_000
_TOLD: Final = (json_tag("PatientName"),)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one file, uploaded by itself or in an archive."""

    name: str
    """As the client called it, for the answer alone: it may hold a patient's name."""
    result: Receipt | HilumError
    frame_count: int = 0
    original: str | None = None
    """SOP Instance UID of what was uploaded, if `result` was made from it."""


class Part(Protocol):
    """A part of the body while it arrives."""

    name: str
    """Of a file, as it is shown; empty for whatever else."""

    def write(self, data: bytes) -> None:
        """Take in the next piece of it."""
        ...

    def end(self) -> None:
        """Take note that it is complete."""
        ...

    def drop(self) -> None:
        """Let go of it: the rest will not come. Nothing happens after `end`."""
        ...


class Reception:
    """One upload. For one thread at a time; `close` it in any case."""

    def __init__(self, parser: BodyParser) -> None:
        self.arrivals: list[Arrival] = []
        """One for each file, in the order of the request."""
        self._parser = parser
        self._parts = 0
        self._part: Part | None = None

    def feed(self, data: bytes) -> None:
        """Take in the next piece of the body.

        Raises
        ------
        Malformed
            The body is not what it was announced to be; feed no more of it, but `finish`.
        """
        self._take(self._parser.feed(data))

    def finish(self, fault: HilumError | None = None) -> None:
        """End the upload: `fault` if one ended it, else it is looked for here.

        What a broken body took with it is an arrival too: the file it broke off in, or
        one without a name for whatever would have come.
        """
        if fault is None:
            try:
                self._take(self._parser.end())
            except Malformed as error:
                fault = error
        if fault is not None:
            self.arrivals.append(Arrival(self._part.name if self._part else "", fault))
        self._complete()
        self.close()

    def close(self) -> None:
        """Drop what is incomplete. Idempotent."""
        if self._part is not None:
            self._part.drop()
        self._part = None

    def _begin(self, begins: PartBegins) -> Part:
        """Return what takes in the part that begins; each kind of upload has its own."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Do what takes all the parts; those that are whole have ended."""

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case PartBegins():
                    self._parts += 1
                    if self._parts > _PARTS:
                        raise Malformed(f"more than {_PARTS} parts")
                    self._part = self._begin(event)
                case PartData(data=content):
                    assert self._part is not None
                    self._part.write(content)
                case PartEnds():
                    assert self._part is not None
                    self._part.end()
                    self._part = None


class FilePart:
    """A part that is a DICOM file, written to the spool."""

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        arrivals: list[Arrival],
        expected: ExpectedStudy | None = None,
        source: str = SOURCE,
    ) -> None:
        self.name = name
        self._ingest = ingest
        self._arrivals = arrivals
        self._expected = expected
        self._writer: SpoolWriter | None = None
        self._fault: HilumError | None = None
        try:
            self._writer = ingest.begin(origin(source))
        except HilumError as error:
            self._fault = error

    def write(self, data: bytes) -> None:
        """See `Part.write`."""
        # After a fault the rest of the file is read and dropped: what follows it in the
        # request may still be taken.
        if self._writer is None or self._fault is not None:
            return
        try:
            self._writer.write(data)
        except HilumError as error:
            self._fault = error

    def end(self) -> None:
        """See `Part.end`."""
        if self._writer is None or self._fault is not None:
            assert self._fault is not None
            self._arrivals.append(Arrival(self.name, self._fault))
            return
        with self._writer as writer:
            self._accept(writer)

    def drop(self) -> None:
        """See `Part.drop`."""
        if self._writer is not None:
            self._writer.abort()

    def _accept(self, writer: SpoolWriter) -> None:
        """Take what was written whole."""
        self._arrive(self.name, partial(self._ingest.accept, writer, self._expected))

    def _arrive(self, name: str, accept: Callable[[], Receipt]) -> None:
        self._arrivals.append(arrival_of(name, accept))


def arrival_of(name: str, accept: Callable[[], Receipt]) -> Arrival:
    """Return what comes of accepting a file."""
    try:
        return arrived(name, accept())
    except HilumError as error:
        return Arrival(name, error)


def arrived(name: str, receipt: Receipt) -> Arrival:
    """Return the arrival of an accepted file, with no more of its header than is told.

    An archive may hold 100,000 of them.
    """
    header = receipt.header
    frame_count = header.pixel_data.frame_count if header.pixel_data is not None else 0
    kept = {tag: header.attributes[tag] for tag in _TOLD if tag in header.attributes}
    lighter = replace(
        receipt, header=replace(header, attributes=kept, pixel_data=None, main_tags={})
    )
    return Arrival(name, lighter, frame_count)


def origin(source: str = SOURCE) -> Origin:
    """Return where an upload comes from, by whose hand, and that it comes now."""
    return Origin(source, datetime.now(UTC), CLIENT.get())
