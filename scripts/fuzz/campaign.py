"""A target fed with cases for a while: what was done, and what was found."""

import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.fuzz.sandbox import Book, Finding, Sandbox
from scripts.fuzz.shrink import shrunk
from scripts.fuzz.target import Target

_SHRINK_SECONDS: Final = 15.0


@dataclass
class Campaign:
    """What became of the cases of one target.

    Parameters
    ----------
    target, seed
        Say what the cases are.
    seconds, cases
        How long at most, by the clock, and how many; the first that is reached.
    """

    target: Target
    seed: int
    seconds: float
    cases: int | None = None
    first: int = 0
    results: int = 0
    refusals: int = 0
    cpu_seconds: float = 0.0
    slowest_seconds: float = 0.0
    slowest_number: int = 0
    peak_bytes: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    """The first of each signature."""
    repeated: int = 0
    """Findings of a signature that was there before."""

    @property
    def done(self) -> int:
        """Cases that were run."""
        return self.results + self.refusals + len(self.findings) + self.repeated

    def run(self, progress: Callable[["Campaign"], None] = lambda _: None) -> None:
        """Run the cases; `progress` is called now and then."""
        self.target.seeds()  # made once, before the processes are forked
        sandbox = Sandbox(self.target.run, self._numbered)
        deadline = time.monotonic() + self.seconds
        findings = sandbox.findings()
        for finding in findings:
            if finding and finding.signature in self.findings:
                self.repeated += 1
            elif finding:
                self.findings[finding.signature] = finding
            self._note(sandbox.book)
            progress(self)
            if time.monotonic() > deadline:
                break
        findings.close()
        self._note(sandbox.book)
        self.cpu_seconds = sandbox.cpu_seconds

    def _numbered(self, number: int) -> "itertools.chain[tuple[int, bytes]]":
        end = None if self.cases is None else self.first + self.cases
        numbers = itertools.count(max(number, self.first))
        within = itertools.takewhile(lambda number: end is None or number < end, numbers)
        return itertools.chain((number, self.target.case(self.seed, number)) for number in within)

    def _note(self, book: Book) -> None:
        self.results, self.refusals = book.results, book.refusals
        self.slowest_seconds, self.slowest_number = book.slowest_seconds, book.slowest_number
        self.peak_bytes = book.peak_bytes

    def keep(self, folder: Path) -> list[Path]:
        """Write each finding's input, made small, and what it did; return the inputs' paths."""
        folder.mkdir(parents=True, exist_ok=True)
        return [self._kept(folder, finding) for finding in self.findings.values()]

    def _kept(self, folder: Path, finding: Finding) -> Path:
        data = self.target.case(self.seed, finding.number)
        data = shrunk(self.target.run, data, finding.signature, _SHRINK_SECONDS)
        path = folder / f"{self.target.name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        path.write_bytes(data)
        origin = (
            f"--target {self.target.name} --seed {self.seed} --first {finding.number} --cases 1"
        )
        path.with_suffix(".txt").write_text(f"{finding.signature}\n{origin}\n{finding.details}\n")
        return path
