"""What a process and its children have used, from ``/proc``."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


def tree(pid: int) -> Iterator[int]:
    """Yield `pid` and every descendant that is alive."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):
        for children in (_PROC / str(pid) / "task").glob("*/children"):
            for child in children.read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of `pid`, its descendants, and those that have ended."""
    ticks = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = (_PROC / str(each) / "stat").read_text()
            # Behind the name, which may have any character: utime, stime, cutime, cstime.
            fields = stat.rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """Return the memory of `pid` and its descendants; shared pages count once (PSS)."""
    kilobytes = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            rollup = (_PROC / str(each) / "smaps_rollup").read_text()
            kilobytes += next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
            )
    return kilobytes * 1024
