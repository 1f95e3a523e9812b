"""How many connections each worker of a node has: it decides who takes the next one.

Workers accept on one socket, and the fastest would take it all. So each writes its number
into memory that all of them see, and leaves a connection to one that has fewer.
"""

import mmap
import os
from typing import Final

#: The number of who is not there: nobody leaves it anything.
_ABSENT: Final = 2**32 - 1


class Shares:
    """The numbers of all workers, in memory shared by file descriptor.

    Parameters
    ----------
    workers
        How many there are.
    descriptor
        The memory, from another process; by default it is made, and nobody is there yet.
    """

    def __init__(self, workers: int, descriptor: int | None = None) -> None:
        size_bytes = 4 * workers
        self.descriptor = os.memfd_create("hilum-shares") if descriptor is None else descriptor
        if descriptor is None:
            os.truncate(self.descriptor, size_bytes)
        self._connections = memoryview(mmap.mmap(self.descriptor, size_bytes)).cast("I")
        if descriptor is None:
            for worker in range(workers):
                self.leave(worker)

    def close(self) -> None:
        """Give no further process the memory; those that have it keep it."""
        os.close(self.descriptor)

    def tell(self, worker: int, connections: int) -> None:
        """Let all know how many connections `worker` has."""
        self._connections[worker] = connections

    def leave(self, worker: int) -> None:
        """Let all know that `worker` takes no connections at the moment."""
        self._connections[worker] = _ABSENT

    def fewest(self) -> int:
        """Return how many connections the worker with the fewest has."""
        return min(self._connections)
