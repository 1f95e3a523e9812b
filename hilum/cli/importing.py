"""`hilum import`: files and folders of this machine into the store, without a network.

Works on the data folder itself, so it runs while no node does. What is stored already is
recognised by its content and passed over: an interrupted import is continued by starting
it again.
"""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer
from rich.markup import escape
from rich.progress import Progress

from hilum.cli.files import find_files, has_dicom_prefix
from hilum.cli.options import ConfigFile, DataDir, MongodbUri, Paths, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.config import logging
from hilum.core.errors import HilumError, Invalid, Temporary
from hilum.core.instance import Origin
from hilum.imaging.header import read_header
from hilum.node import Core, open_core
from hilum.premises import holding, with_mongodb
from hilum.services.ingest import Receipt

# Each file waits for the disk once: a few at a time share the wait.
_THREADS: Final = 4
# As many as are taken in before they are waited for in the index.
_BATCH: Final = 500
_CHUNK_BYTES: Final = 1 << 20
_INDEX_SECONDS: Final = 300.0


@dataclass
class _Report:
    """What became of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)


def import_(
    paths: Paths,
    *,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
) -> None:
    """Read local files and folders into the store; while a node runs, use send."""
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")  # the table at the end says the rest
    files = list(find_files(paths))
    report = _Report()

    async def run() -> None:
        async with (
            holding(settings),
            with_mongodb(settings) as complete,
            open_core(complete) as core,
        ):
            stopping = threading.Event()
            with progress() as bar:
                work = asyncio.ensure_future(
                    asyncio.to_thread(_import_all, core, files, report, bar, stopping)
                )
                try:
                    await asyncio.shield(work)
                except asyncio.CancelledError:
                    stopping.set()
                    await work  # the core must not close under the threads
                    raise

    asyncio.run(run())
    for outcome, count in sorted(report.outcomes.items()):
        console.print(f"{count:>8} {escape(outcome)}")
    if report.failures:
        console.print(failure_table(report.failures, "File"))
        raise typer.Exit(1)


def _import_all(
    core: Core, files: list[Path], report: _Report, bar: Progress, stopping: threading.Event
) -> None:
    task = bar.add_task("Importing", total=len(files), detail="")

    def take(path: Path) -> Receipt | str | HilumError:
        try:
            return "skipped" if stopping.is_set() else _import_one(core, path)
        except OSError as error:
            return Invalid(error.strerror or str(error))
        except HilumError as error:
            return error

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="import") as pool:
        for batch in _batches(files):
            receipts: list[Receipt] = []
            for path, result in zip(batch, pool.map(take, batch), strict=True):
                if isinstance(result, Receipt):
                    receipts.append(result)
                elif isinstance(result, str):
                    report.outcomes[result] += 1
                else:
                    report.failures.append((str(path), str(result)))
                bar.advance(task)
            if not core.ingest.wait_visible(receipts, _INDEX_SECONDS):
                raise Temporary("the index does not follow; start the import again to go on")
            report.outcomes.update(receipt.outcome.result().value for receipt in receipts)
            if stopping.is_set():
                return


def _import_one(core: Core, path: Path) -> Receipt | str:
    """Take one file in; a word in place of a receipt says why it was passed over."""
    with path.open("rb") as file:
        try:
            read_header(file)
        except Invalid:
            # It stays where it is: nothing is gained by a copy in quarantine.
            if has_dicom_prefix(path):
                raise
            return "not DICOM"
        file.seek(0)
        if core.store.contains(hashlib.file_digest(file, "sha256").hexdigest()):
            return "already-stored"
        file.seek(0)
        with core.ingest.begin(Origin("import", datetime.now(UTC))) as writer:
            while chunk := file.read(_CHUNK_BYTES):
                writer.write(chunk)
            return core.ingest.accept(writer)


def _batches(files: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(files), _BATCH):
        yield files[start : start + _BATCH]
