"""A load generator for HTTP: so many clients, each asking again when it has its answer."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import aiohttp


@dataclass(frozen=True, slots=True)
class Asked:
    """A path, and the ETag of what the client has already."""

    path: str
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and after how long."""

    status: int
    etag: str | None
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


def ask(base_url: str, questions: Sequence[Asked], clients: int) -> Load:
    """Ask everything once, with `clients` at a time."""
    return asyncio.run(_ask(base_url, questions, clients))


async def _ask(base_url: str, questions: Sequence[Asked], clients: int) -> Load:
    answers: list[Answer | None] = [None] * len(questions)
    waiting = iter(enumerate(questions))
    limits = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base_url, timeout=limits) as session:

        async def client() -> None:
            for place, question in waiting:
                answers[place] = await _get(session, question)

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - start
    return Load(tuple(answer for answer in answers if answer is not None), seconds)


async def _get(session: aiohttp.ClientSession, question: Asked) -> Answer:
    headers = {"Accept": "image/png"}
    if question.etag is not None:
        headers["If-None-Match"] = question.etag
    start = time.perf_counter()
    async with session.get(question.path, headers=headers) as response:
        body = await response.read()
        return Answer(
            response.status,
            response.headers.get("ETag"),
            len(body),
            time.perf_counter() - start,
        )
