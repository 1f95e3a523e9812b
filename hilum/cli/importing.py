"""`hilum import`: files and folders of this machine into the store, without a network."""

import asyncio

import typer
from rich.markup import escape

from hilum.cli.files import find_files
from hilum.cli.options import ConfigFile, DataDir, MongodbUri, Paths, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.config import logging
from hilum.holdings import open_core
from hilum.moving.importing import Import, Imported
from hilum.premises import holding, with_mongodb


def import_(
    paths: Paths,
    *,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
) -> None:
    """Read local files and folders into the store; while a node runs, use send.

    ZIP archives are unpacked, and the storage folder of an Orthanc is understood.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")  # the table at the end says the rest
    files = list(find_files(paths))

    async def run() -> Imported:
        async with (
            holding(settings),
            with_mongodb(settings) as complete,
            open_core(complete) as core,
        ):
            with progress() as bar:
                task = bar.add_task("Importing", total=len(files), detail="")
                importing = Import(core, lambda count: bar.advance(task, count))
                work = asyncio.ensure_future(asyncio.to_thread(importing.run, files))
                try:
                    return await asyncio.shield(work)
                except asyncio.CancelledError:
                    importing.stop()
                    await work  # the core must not close under the threads
                    raise

    report = asyncio.run(run())
    for outcome, count in sorted(report.outcomes.items()):
        console.print(f"{count:>8} {escape(outcome)}")
    if report.failures:
        console.print(failure_table(report.failures, "File"))
        raise typer.Exit(1)
