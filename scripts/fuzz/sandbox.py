"""A process of its own for cases, which may kill it: limits, and a book the outside reads.

Forked, so that neither corpus nor codecs are loaded again after a crash. The book lies in
shared memory: which case was being run survives the process that ran it.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from hilum.core.errors import HilumError

#: What a case may take.
CPU_SECONDS: Final = 10.0
CLOCK_SECONDS: Final = 60.0
MEMORY_BYTES: Final = 1 << 30

_POLL_SECONDS: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG: Final = 1
_PACKAGE: Final = f"{Path(__file__).parents[2] / 'hilum'}{os.sep}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that ended as none may."""

    number: int
    kind: str
    """``crash``, ``hang``, ``memory``, or the name of an exception."""
    place: str
    """The signal, or the innermost line of the node's own code."""
    details: str = ""

    @property
    def signature(self) -> str:
        """The same for findings that are likely of one cause."""
        return f"{self.kind} {self.place}".strip()


class Book(ctypes.Structure):
    """What a sandbox writes down as it goes."""

    _fields_ = (
        ("number", ctypes.c_longlong),
        ("cpu_begin", ctypes.c_double),
        ("clock_begin", ctypes.c_double),
        ("results", ctypes.c_longlong),
        ("refusals", ctypes.c_longlong),
        ("slowest_seconds", ctypes.c_double),
        ("slowest_number", ctypes.c_longlong),
        ("peak_bytes", ctypes.c_longlong),
    )


class Sandbox:
    """Runs cases, in one process after another: each lasts until a case kills it.

    Parameters
    ----------
    run
        Feeds one case; HilumError is a refusal, any other exception a finding.
    cases
        Given the first number wanted, yields numbers and inputs.
    """

    def __init__(
        self, run: Callable[[bytes], None], cases: Callable[[int], Iterable[tuple[int, bytes]]]
    ) -> None:
        self._run = run
        self._cases = cases
        self.book = Book.from_buffer(mmap.mmap(-1, ctypes.sizeof(Book)))
        self.cpu_seconds = 0.0
        """Of the processes that have ended, and theirs."""

    def findings(self) -> Generator[Finding | None, None, None]:
        """Run all cases; yield findings as they are made, and None now and then.

        Closing the generator kills the process.
        """
        first = 0
        while True:
            reading, writing = os.pipe()
            process = os.fork()
            if not process:
                os.close(reading)
                self._live(first, writing)
            os.close(writing)
            last = yield from self._watched(process, reading)
            if last is None:
                return
            yield last
            first = last.number + 1

    def _watched(
        self, process: int, reading: int
    ) -> Generator[Finding | None, None, Finding | None]:
        """Yield what one process finds; return the case that ended it, None after the last."""
        os.set_blocking(reading, False)
        told, late = b"", False
        ended = None
        try:
            while ended is None:
                time.sleep(_POLL_SECONDS)
                ended = self._end(process, os.WNOHANG)
                told += _all(reading)
                *lines, told = told.split(b"\n")
                for line in lines:
                    yield Finding(**json.loads(line))
                if ended is None and not late and self._is_late(process):
                    late = True
                    os.kill(process, signal.SIGKILL)
                yield None
        finally:
            os.close(reading)
            if ended is None:
                os.kill(process, signal.SIGKILL)
                self._end(process, 0)
        number = int(self.book.number)
        if late:
            return Finding(number, "hang", "")
        if os.WIFSIGNALED(ended):
            return Finding(number, "crash", signal.Signals(os.WTERMSIG(ended)).name)
        if os.WEXITSTATUS(ended):
            return Finding(number, "exit", str(os.WEXITSTATUS(ended)))
        return None

    def _end(self, process: int, options: int) -> int | None:
        """Return how the process ended, if it did, and book the time it took."""
        found, status, usage = os.wait4(process, options)
        if not found:
            return None
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        return status

    def _is_late(self, process: int) -> bool:
        """Return whether the case in hand has had its time."""
        book = self.book
        number, cpu_begin, clock_begin = book.number, book.cpu_begin, book.clock_begin
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        spent = (int(fields[11]) + int(fields[12])) / _TICKS - cpu_begin
        waited = time.monotonic() - clock_begin
        overdue = spent > CPU_SECONDS or waited > CLOCK_SECONDS
        # The process goes on while its book is read: what was read must be of one case.
        same = (book.number, book.cpu_begin, book.clock_begin) == (number, cpu_begin, clock_begin)
        return bool(clock_begin) and same and overdue

    def _live(self, first: int, writing: int) -> None:
        """Be the process: run the cases from the first on, and never return."""
        try:
            _bound()
            for number, data in self._cases(first):
                finding = self._judged(number, data)
                if finding is not None:
                    os.write(writing, json.dumps(asdict(finding)).encode() + b"\n")
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing may unwind into the parent's frames
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)

    def _judged(self, number: int, data: bytes) -> Finding | None:
        """Run one case, and write down how it went."""
        book, finding = self.book, None
        book.number = number
        book.cpu_begin, book.clock_begin = time.process_time(), time.monotonic()
        try:
            self._run(data)
            book.results += 1
        except HilumError:
            book.refusals += 1
        except MemoryError as error:
            finding = _finding(number, "memory", error)
        except BaseException as error:  # noqa: BLE001 - pyo3 panics are no Exception
            finding = _finding(number, type(error).__name__, error)
        seconds = time.process_time() - book.cpu_begin
        book.clock_begin = 0.0
        book.peak_bytes = max(
            book.peak_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        )
        if seconds > book.slowest_seconds:
            book.slowest_seconds, book.slowest_number = seconds, number
        return finding


def _bound() -> None:
    """Die with the parent, leave its terminal alone, and take no more memory than a case may."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    # The soft limit alone: a helper process sets limits of its own.
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _all(descriptor: int) -> bytes:
    """Return what can be read from a pipe without waiting."""
    parts = []
    try:
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def _finding(number: int, kind: str, error: BaseException) -> Finding:
    # Where memory was short, to tell of it takes some more.
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, limits[1]))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].name}"
    details = "".join(traceback.format_exception(error, limit=-12))[-6000:]
    resource.setrlimit(resource.RLIMIT_AS, limits)
    return Finding(number, kind, place, details)
