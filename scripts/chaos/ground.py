"""Where a case takes place: a folder of its own, and what was started in it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.mongod import Mongod
from scripts.chaos.mounts import SmallDisk
from scripts.node import Node


@dataclass
class Ground:
    """Nodes, databases and disks for one case; all end with it.

    Parameters
    ----------
    workers
        Worker processes of each node.
    """

    folder: Path
    workers: int = 2
    _stack: ExitStack = field(default_factory=ExitStack)

    def node(self, data_dir: Path | None = None, **settings: str) -> Node:
        """Start a node; `settings` are environment variables."""
        node = Node(data_dir or self.folder / "node", settings, self.workers)
        self._stack.callback(node.stop)
        node.start()
        return node

    def mongod(self) -> Mongod:
        """Start a MongoDB of the case's own."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hilum-m-"))
        mongod = Mongod(Path(folder))
        self._stack.callback(mongod.kill)
        mongod.start()
        return mongod

    def disk(self, size_bytes: int) -> SmallDisk:
        """Mount a small file system in memory."""
        disk = SmallDisk(self.folder / "disk")
        disk.mount(size_bytes)
        self._stack.callback(disk.unmount)
        return disk

    def at_end(self, do: Callable[[], object]) -> None:
        """Have something undone when the case is over, however it ends."""
        self._stack.callback(do)


@contextmanager
def ground(folder: Path, workers: int = 2) -> Iterator[Ground]:
    """Prepare a ground in `folder`, and clear it of processes and mounts at the end."""
    made = Ground(folder, workers)
    with made._stack:
        yield made
