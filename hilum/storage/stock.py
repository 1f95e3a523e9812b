"""Empty files made ahead, so that an instance that arrives finds one whose name lasts.

A name costs a sync of its folder, however many names that sync is for. A batch of files is
therefore made at a time, before anybody needs them, and by a thread on which no sender waits.
"""

import itertools
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from hilum.storage.durable import create_slot, sync_folder
from hilum.storage.names import SlotName

_BATCH: Final = 32
# A batch takes a few milliseconds, in which four senders use up about this many.
_LOW: Final = 16


class Stock:
    """Empty files of one folder. Thread-safe.

    Nothing is made before the first is taken.

    Parameters
    ----------
    folder
        Where they are.
    run
        Begins their names (`SlotName`).
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._numbers = itertools.count()
        self._paths: deque[Path] = deque()
        self._making = threading.Lock()
        self._closed = False

    def take(self) -> Path:
        """Return a file whose name lasts. It is the caller's from now on.

        Waits for the disk only if no file is left.

        Raises
        ------
        OSError
            None is left, and none can be made.
        """
        while True:
            with suppress(IndexError):
                path = self._paths.popleft()
                break
            with self._making:
                if not self._paths:
                    self._make()
        if len(self._paths) < _LOW and not self._making.locked():
            threading.Thread(target=self._refill, name="spool-stock", daemon=True).start()
        return path

    def close(self) -> None:
        """Remove what was not taken. Idempotent."""
        with self._making:
            self._closed = True
            while self._paths:
                with suppress(OSError):  # an empty file is removed by the next start, too
                    self._paths.popleft().unlink()

    def _refill(self) -> None:
        # Whoever finds no file left meets the fault again, and has somebody to tell.
        with self._making, suppress(OSError):
            if not self._closed and len(self._paths) < _LOW:
                self._make()

    def _make(self) -> None:
        """Make a batch, or as much of it as the disk takes; raise if that is nothing."""
        made: list[Path] = []
        try:
            for number in itertools.islice(self._numbers, _BATCH):
                path = self._folder / str(SlotName(self._run, number))
                create_slot(path)
                made.append(path)
        except OSError:
            if not made:
                raise
        sync_folder(self._folder)
        self._paths.extend(made)
