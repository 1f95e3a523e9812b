"""Import: files of this machine into a data folder that no node uses.

What is stored already is recognised by its content and passed over: an import that was
interrupted is continued by starting it again.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import HilumError, Invalid, Temporary
from hilum.core.instance import Header, Origin
from hilum.core.levels import json_tag
from hilum.holdings import Core
from hilum.imaging.header import read_header
from hilum.moving.local_files import LocalFile, is_part10, local_files
from hilum.services.ingest import Receipt

# Each file waits for the disk once: a few at a time share the wait.
_THREADS: Final = 4
# As many as are taken in before they are waited for in the index.
_BATCH: Final = 500
_CHUNK_BYTES: Final = 1 << 20
_INDEX_SECONDS: Final = 300.0
_BEGINNING: Final = "a beginning"
_ROWS: Final = json_tag("Rows")


@dataclass
class Imported:
    """What became of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """In a word or two, and of how many."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Their names, and the reasons."""


class Import:
    """Takes files in, in threads of its own. For one thread.

    Parameters
    ----------
    core
        The data folder, opened.
    on_progress
        Is called when so many further files were dealt with.
    """

    def __init__(self, core: Core, on_progress: Callable[[int], None]) -> None:
        self._core = core
        self._on_progress = on_progress
        self._stopping = threading.Event()
        self._beginnings: list[Path] = []
        self._report = Imported()

    def stop(self) -> None:
        """Have `run` end soon; from any thread."""
        self._stopping.set()

    def run(self, files: Sequence[Path]) -> Imported:
        """Take files in, and what is in archives among them.

        Raises
        ------
        Temporary
            The index does not follow.
        """
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="import") as pool:
            for start in range(0, len(files), _BATCH):
                self._take(pool, files[start : start + _BATCH], whole_only=True)
            # Now that all whole files can be found: beginnings of none of them are all that
            # is left of an instance, or one without pixels.
            left, self._beginnings = self._beginnings, []
            for start in range(0, len(left), _BATCH):
                self._take(pool, left[start : start + _BATCH], whole_only=False)
        return self._report

    def _take(self, pool: ThreadPoolExecutor, batch: Sequence[Path], *, whole_only: bool) -> None:
        def take(path: Path) -> list[tuple[str, Receipt | str | HilumError]]:
            return list(self._take_file(path, whole_only))

        receipts: list[Receipt] = []
        for path, results in zip(batch, pool.map(take, batch), strict=True):
            for name, result in results:
                if isinstance(result, Receipt):
                    receipts.append(result)
                elif isinstance(result, HilumError):
                    self._report.failures.append((name, str(result)))
                elif result == _BEGINNING:
                    self._beginnings.append(path)
                else:
                    self._report.outcomes[result] += 1
            self._on_progress(int(whole_only))
        if not self._core.ingest.wait_visible(receipts, _INDEX_SECONDS):
            raise Temporary("the index does not follow; start the import again to go on")
        self._report.outcomes.update(receipt.outcome.result().value for receipt in receipts)

    def _take_file(
        self, path: Path, whole_only: bool
    ) -> Iterator[tuple[str, Receipt | str | HilumError]]:
        if self._stopping.is_set():
            yield str(path), "skipped"
            return
        try:
            for local in local_files(path):
                yield local.name, self._try_to_take(local, whole_only)
        except OSError as error:
            yield str(path), Invalid(error.strerror or str(error))
        except HilumError as error:
            yield str(path), error

    def _try_to_take(self, local: LocalFile, whole_only: bool) -> Receipt | str | HilumError:
        try:
            with local.open() as file:
                return self._take_one(local, file, whole_only)
        except OSError as error:
            return Invalid(error.strerror or str(error))
        except HilumError as error:
            return error

    def _take_one(self, local: LocalFile, file: BinaryIO, whole_only: bool) -> Receipt | str:
        """Take one file in; a word in place of a receipt says why it was passed over."""
        try:
            header = read_header(file)
        except Invalid:
            # It stays where it is: nothing is gained by a copy in quarantine.
            file.seek(0)
            if is_part10(local.name, file.read(132)):
                raise
            return "not DICOM"
        if local.of_orthanc and looks_cut(header):
            if whole_only:
                return _BEGINNING
            instance = header.identity.instance
            if self._core.crossing.call(self._core.references.of([instance])):
                return "beginnings that Orthanc keeps of other files"
        file.seek(0)
        if self._core.store.contains(_sha256(file)):
            return "already-stored"
        file.seek(0)
        with self._core.ingest.begin(Origin("import", datetime.now(UTC))) as writer:
            while chunk := file.read(_CHUNK_BYTES):
                writer.write(chunk)
            return self._core.ingest.accept(writer)


def looks_cut(header: Header) -> bool:
    """Return whether an instance says that it has pixels, and has none."""
    return header.pixel_data is None and "Value" in header.attributes.get(_ROWS, {})


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
