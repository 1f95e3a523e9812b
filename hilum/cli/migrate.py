"""`hilum migrate`: what another archive holds, into this one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer
from rich.markup import escape

from hilum.cli.archives import CaFile, Jobs, Password, Url, User, access, own_access
from hilum.cli.options import ConfigFile, DataDir, MongodbUri, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.config import logging
from hilum.config.settings import Settings
from hilum.holdings import open_core
from hilum.moving.migration import Migrated, Migration
from hilum.moving.note_migration import NoteMigration
from hilum.moving.orthanc import Access, Orthanc
from hilum.moving.targets import DataFolder, RunningNode, Target
from hilum.premises import holding, with_mongodb
from hilum.storage.lock import InUse

app = typer.Typer(help="Copy what another archive holds into this one.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `orthanc` a command with a name, though it is the only one."""


@app.command("orthanc")
def orthanc(
    url: Url,
    *,
    user: User = "",
    password: Password = "",
    ca_file: CaFile = None,
    jobs: Jobs = 8,
    since: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Only what came behind this entry of Orthanc's log of changes.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A running node; else the data folder, or the node that uses it."
        ),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
) -> None:
    """Copy every instance of a running Orthanc, compare its digest, and keep its ids.

    What is there already is not fetched again: interrupted, it goes on when started again.
    Orthanc is only read.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")  # the table at the end says the rest
    source = access(url, user, password, ca_file)
    node = access(to, ca_file=ca_file) if to else None

    async def run() -> Migrated:
        async with Orthanc(source) as orthanc:
            await orthanc.about()
            async with _target(settings, node) as target:
                with progress() as bar:
                    task = bar.add_task(f"From {escape(str(source))}", total=None, detail="")
                    start = time.monotonic()

                    def show(report: Migrated) -> None:
                        seconds = max(time.monotonic() - start, 1e-6)
                        bar.update(
                            task,
                            completed=report.done,
                            total=max(report.total, report.done),
                            detail=f"{report.copied / seconds:.0f} instances/s, "
                            f"{report.size_bytes / seconds / 1e6:.1f} MB/s",
                        )

                    names = settings.http.user_metadata
                    notes = NoteMigration(orthanc, target.notes, names, jobs)
                    return await Migration(orthanc, target, notes, jobs, show).run(since)

    _tell(asyncio.run(run()))


def _tell(report: Migrated) -> None:
    console.print(f"{report.copied:>8} copied, {report.size_bytes / 1e6:.1f} MB")
    console.print(f"{report.present:>8} were here already")
    if report.deleted:
        console.print(f"{report.deleted:>8} were deleted in Orthanc meanwhile")
    if report.unstated:
        console.print(f"{report.unstated:>8} of those copied have no digest in Orthanc to compare")
    if report.notes:
        console.print(f"{report.notes:>8} notes of people on them")
    console.print(f"what comes later: --since {report.last_change}")
    for failures, what in ((report.failures, "Instance"), (report.unnoted, "Notes of")):
        if failures:
            console.print(failure_table(sorted(failures.items()), what))
    if report.failures or report.unnoted:
        raise typer.Exit(1)


@asynccontextmanager
async def _target(settings: Settings, node: Access | None) -> AsyncIterator[Target]:
    """Yield where instances go: the node that is named, the data folder, or who uses it."""
    async with AsyncExitStack() as stack:
        if node is None:
            try:
                await stack.enter_async_context(holding(settings))
            except InUse:
                node = own_access(settings)
        if node is None:
            complete = await stack.enter_async_context(with_mongodb(settings))
            yield DataFolder(await stack.enter_async_context(open_core(complete)))
        else:
            server = await stack.enter_async_context(Orthanc(node))
            await server.about()
            yield RunningNode(server, settings.http.user_metadata)
