"""`hilum reindex`: the index out of the store alone."""

import asyncio
import time

import typer

from hilum.cli.options import ConfigFile, DataDir, MongodbUri, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.config import logging
from hilum.holdings import open_core
from hilum.premises import holding, require_store, with_mongodb
from hilum.services.reindexing import Reindexed


def reindex(
    *, config: ConfigFile = None, data_dir: DataDir = None, mongodb_uri: MongodbUri = None
) -> None:
    """Index everything that is stored, into an empty or an existing database.

    Runs while no node does. Interrupted, it goes on where it was when started again.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")  # the table at the end says the rest

    require_store(settings)

    async def run() -> Reindexed:
        async with (
            holding(settings),
            with_mongodb(settings) as complete,
            open_core(complete) as core,
        ):
            # What was being deleted when the node died is deleted, and not indexed again.
            await core.deletion.resume(0)
            with progress() as bar:
                task = bar.add_task("Indexing", total=None, detail="")
                start = time.monotonic()

                def show(done: int, total: int, report: Reindexed) -> None:
                    seconds = max(time.monotonic() - start, 1e-6)
                    rate = f"{report.files / seconds:.0f} instances/s"
                    bar.update(task, completed=done, total=total, detail=rate)

                return await core.reindexing.rebuild(show)

    report = asyncio.run(run())
    console.print(f"{report.indexed:>8} indexed")
    console.print(f"{report.known:>8} were in the index")
    if report.failures:
        console.print(failure_table(list(report.failures.items()), "SHA-256"))
        raise typer.Exit(1)
