"""The trash: bytes of what was deleted and can still be had back, ``trash/<deletion>/<digest>``.

A file comes here from its address in the store (`Store.discard`), and leaves for it again, or
for good. Which deletion it belongs to, and who had sent it, is for the index to say; a folder
that the index knows nothing of is left for a person.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from hilum.core.errors import Invalid
from hilum.core.identifiers import parse_digest
from hilum.storage.disk import faults, free_bytes
from hilum.storage.durable import make_folder, sync_folder

_DELETION: Final = re.compile(r"[0-9a-f]{24}")


class TrashFolder:
    """A trash folder. Thread-safe, and safe with other processes on the same folder.

    Parameters
    ----------
    root
        The folder ``trash``; made if missing. On the file system of ``objects``, so that
        what is deleted is renamed and not copied.

    Raises
    ------
    StorageUnavailable
        It cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with faults(f"open the trash {root}"):
            make_folder(root)

    def folder(self, deletion: str) -> Path:
        """Return where the files of a deletion are.

        Raises
        ------
        Invalid
            `deletion` is not an id of one.
        """
        if not _DELETION.fullmatch(deletion):
            raise Invalid(f"not the id of a deletion: {deletion[:40]!r}")
        return self._root / deletion

    def path(self, deletion: str, digest: str) -> Path:
        """Return where a file of a deletion is, or would be."""
        return self.folder(deletion) / parse_digest(digest)

    def present(self, deletion: str, digests: Collection[str]) -> set[str]:
        """Return which of these files are in the trash."""
        with faults("look into the trash"):
            return {digest for digest in digests if self.path(deletion, digest).exists()}

    def free_bytes(self) -> int:
        """Return what is free on the file system of the trash."""
        with faults("ask the disk"):
            return free_bytes(self._root)

    def remove(self, deletion: str) -> None:
        """Delete all files of a deletion; they stay deleted when this returns. Idempotent.

        Raises
        ------
        StorageUnavailable
            Some may be left.
        """
        folder = self.folder(deletion)
        with faults("empty the trash"):
            with suppress(FileNotFoundError):
                for path in folder.iterdir():
                    path.unlink(missing_ok=True)
                folder.rmdir()
            sync_folder(self._root)

    def leave(self, deletion: str) -> None:
        """Remove the folder of a deletion if nothing is in it any more."""
        with suppress(OSError):
            self.folder(deletion).rmdir()
