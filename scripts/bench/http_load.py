"""A load generator for HTTP: so many clients, each asking again when it has its answer."""

import asyncio
import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import aiohttp

#: Of a body that is dropped: what is read at a time.
_BUFFER_BYTES: Final = 1 << 20
_LIMIT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A path, the ETag of what the client has already, and what it takes."""

    path: str
    etag: str | None = None
    accept: str = "image/png"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and after how long."""

    status: int
    etag: str | None
    body: bytes = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A body that was read and dropped."""

    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """All answers, in the order of the questions, and how long they took together."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def per_second(self) -> float:
        """Answers a second, of all clients together."""
        return len(self.answers) / self.seconds

    @property
    def median_milliseconds(self) -> float:
        """What one client waits for one answer."""
        return 1000 * median(answer.seconds for answer in self.answers)

    def require(self, status: int) -> "Load":
        """Return itself, if every answer has `status`: no node is fast at saying no."""
        wrong = {answer.status for answer in self.answers} - {status}
        if wrong:
            raise ValueError(f"HTTP status {wrong}, not {status}")
        return self


def ask(
    base_url: str, questions: Sequence[Asked], clients: int, at_least_seconds: float = 0
) -> Load:
    """Ask everything, with `clients` at a time.

    Parameters
    ----------
    at_least_seconds
        If it takes less, everything is asked again and again until it has taken as long.
    """
    return asyncio.run(_ask(base_url, questions, clients, at_least_seconds))


async def _ask(
    base_url: str, questions: Sequence[Asked], clients: int, at_least_seconds: float
) -> Load:
    answers: dict[int, Answer] = {}
    waiting = enumerate(cycle(questions))
    limits = aiohttp.ClientTimeout(total=_LIMIT_SECONDS)
    async with aiohttp.ClientSession(base_url, timeout=limits) as session:

        async def client() -> None:
            for place, question in waiting:
                if place >= len(questions) and time.perf_counter() - start >= at_least_seconds:
                    return
                answers[place] = await _get(session, question)

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - start
    return Load(tuple(answers[place] for place in sorted(answers)), seconds)


def download(base_url: str, question: Asked) -> Downloaded:
    """Ask once, and drop the body as it comes: the client is to be no limit.

    Raises
    ------
    ValueError
        The status is not 200.
    """
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=_LIMIT_SECONDS)
    buffer = bytearray(_BUFFER_BYTES)
    size_bytes = 0
    try:
        start = time.perf_counter()
        connection.request("GET", question.path, headers={"Accept": question.accept})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"HTTP status {answer.status}, not 200")
        while count := answer.readinto(buffer):
            size_bytes += count
        return Downloaded(size_bytes, time.perf_counter() - start)
    finally:
        connection.close()


async def _get(session: aiohttp.ClientSession, question: Asked) -> Answer:
    headers = {"Accept": question.accept}
    if question.etag is not None:
        headers["If-None-Match"] = question.etag
    start = time.perf_counter()
    async with session.get(question.path, headers=headers) as response:
        body = await response.read()
        return Answer(
            response.status,
            response.headers.get("ETag"),
            body,
            time.perf_counter() - start,
        )
