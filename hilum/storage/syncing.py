"""One sync of a folder for everybody who needs one at the moment.

A sync of a folder makes every name last that was in it when the sync began. So whoever
comes while one is running needs the next one, and all who come meanwhile need the same:

- Who finds nothing running begins at once. A sender on its own loses no time.
- The first to come during a sync leads the next group: it waits for that sync to end, and
  then syncs for itself and for all who have joined it by then.
- A group is closed before its sync begins. What its members did before they called is
  therefore in the folder when it begins, and lasts when it ends.
- A sync that fails has failed for every member: none of them may say that its file is safe.

Nobody waits longer than for the sync that is running and the one after it, however many
come, and each member is woken once.

Only folders are synced like this. Files are not: each has bytes of its own to wait for, and
disk and file system share the work of concurrent syncs by themselves (a journal puts them
into one commit). Measured with four threads on ext4, one that synced the files of a group in
turn took twice as long as four that each synced their own.
"""

import errno
import threading
from pathlib import Path

from hilum.storage.durable import sync_folder


class _Group:
    """Those who share one sync."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        # Until the sync has succeeded it has not, however it may come to an end.
        self.fault: OSError | None = OSError(errno.EIO, "the sync was not completed")


class SharedSync:
    """Syncs of one folder, shared by the threads that ask for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._running: _Group | None = None
        self._gathering: _Group | None = None

    def sync(self) -> None:
        """Make the names in the folder last: those added, changed and removed until now.

        Raises
        ------
        OSError
            The sync that this call took part in failed.
        """
        with self._lock:
            before, group = self._running, self._gathering
            leads = group is None
            if group is None:
                group = self._gathering = _Group()
        if leads:
            if before is not None:
                before.ended.wait()
            self._lead(group)
        else:
            group.ended.wait()
        if group.fault is not None:
            # An exception of its own for each thread: they add their tracebacks to it.
            raise OSError(group.fault.errno, group.fault.strerror) from group.fault

    def _lead(self, group: _Group) -> None:
        with self._lock:
            self._running, self._gathering = group, None
        try:
            sync_folder(self._folder)
            group.fault = None
        except OSError as error:
            group.fault = error
        finally:
            with self._lock:
                self._running = None
            group.ended.set()
