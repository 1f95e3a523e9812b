"""What the kernel's books say a node holds: descriptors, threads, memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.waiting import wait_until
from scripts.node import Node

MEGABYTE = 1 << 20
_SETTLE_SECONDS = 60


@dataclass(frozen=True)
class Footprint:
    """Sums over the processes of a node, and the memory of each."""

    descriptors: int
    threads: int
    rss_bytes: dict[int, int]
    """Resident memory by process id."""

    def __str__(self) -> str:
        memory = sum(self.rss_bytes.values()) / MEGABYTE
        return f"{self.descriptors} descriptors, {self.threads} threads, {memory:.0f} MB"

    def growth_bytes(self, before: "Footprint") -> int:
        """Return by how much that process grew that grew most since `before`."""
        return max(
            (size - before.rss_bytes.get(pid, size) for pid, size in self.rss_bytes.items()),
            default=0,
        )


def footprint(node: Node) -> Footprint:
    """Measure `node` now."""
    descriptors = threads = 0
    rss_bytes = {}
    for pid in node.pids():
        with suppress(OSError):  # a process that ends meanwhile holds nothing
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            status = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":" in line
            )
            threads += int(status["Threads"])
            rss_bytes[pid] = int(status["VmRSS"].split()[0]) * 1024
    return Footprint(descriptors, threads, rss_bytes)


def settled(node: Node) -> Footprint:
    """Wait until the node is at rest, and measure it: twice the same, a second apart."""
    last: list[tuple[int, int]] = []

    def rests() -> Footprint | None:
        time.sleep(0.1)
        now = footprint(node)
        last.append((now.descriptors, now.threads))
        return now if len(last) > 10 and len(set(last[-10:])) == 1 else None

    found = wait_until(rests, _SETTLE_SECONDS, "the node rests")
    assert found is not None
    return found


def back(node: Node, before: Footprint, growth_bytes: int = 16 * MEGABYTE) -> str:
    """Wait until descriptors and threads are as `before`; return the change in words.

    Parameters
    ----------
    growth_bytes
        What a process may have grown by: an allocator keeps what it may need again.

    Raises
    ------
    AssertionError
        Something stays.
    """

    def as_before() -> Footprint | None:
        now = footprint(node)
        # A thread pool, or the driver's pool of connections, may have grown to its size.
        fits = now.descriptors <= before.descriptors + 8 and now.threads <= before.threads + 16
        return now if fits else None

    try:
        wait_until(as_before, _SETTLE_SECONDS, "descriptors and threads are as before")
    except AssertionError as error:
        raise AssertionError(f"{error}: {before} before, {footprint(node)} now") from None
    now = settled(node)
    growth = now.growth_bytes(before)
    assert growth < growth_bytes, f"a process grew by {growth / MEGABYTE:.0f} MB"
    return f"{before} before, {now} after"


@dataclass
class Peak:
    """The most that was seen while something lasted."""

    before: Footprint
    growth_bytes: int = 0
    threads: int = 0
    descriptors: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self, node: Node) -> None:
        """Look ten times a second until told to stop."""
        while not self._over.wait(0.1):
            now = footprint(node)
            self.growth_bytes = max(self.growth_bytes, now.growth_bytes(self.before))
            self.threads = max(self.threads, now.threads)
            self.descriptors = max(self.descriptors, now.descriptors)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


@contextmanager
def peak(node: Node, before: Footprint) -> Iterator[Peak]:
    """Watch the node for the length of a block."""
    seen = Peak(before)
    watcher = threading.Thread(target=seen.watch, args=(node,))
    watcher.start()
    try:
        yield seen
    finally:
        seen.stop()
        watcher.join()
