"""`hilum compare`: whether another archive and this one hold the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hilum.cli.archives import CaFile, Jobs, Password, Url, User, access
from hilum.cli.options import ConfigFile, DataDir, MongodbUri, settings_of
from hilum.cli.terminal import console, errors, failure_table, progress
from hilum.config import logging
from hilum.config.settings import Settings
from hilum.holdings import open_index
from hilum.moving.comparison import Compared, Comparison, Difference
from hilum.moving.orthanc import Access, Orthanc
from hilum.moving.sides import Folder, Server, Side

app = typer.Typer(help="Tell what another archive and this one differ in.", no_args_is_help=True)

_TITLES = {
    "missing_here": "Missing here",
    "missing_there": "Missing in Orthanc",
    "different": "Other bytes under the same id",
    "unread": "Could not be read",
}


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
    node: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="URL", help="A running node; else the data folder of this machine."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The findings as JSON, whole, to stdout.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
) -> None:
    """Compare a running Orthanc with a node: ids, then the bytes of each instance.

    Prints nothing to stdout and exits with 0 if nothing differs, else with 1. Both are only
    read, and may be in use.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")
    there = access(url, user, password, ca_file)
    named = access(node, ca_file=ca_file) if node else None
    names = settings.http.user_metadata

    async def run() -> Compared:
        async with Orthanc(there) as server:
            await server.about()
            async with _here(settings, named) as here:
                with progress() as bar:
                    task = bar.add_task("Comparing", total=None, detail="")

                    def show(found: Compared, total: int) -> None:
                        bar.update(task, completed=found.compared, total=total)

                    return await Comparison(here, Server(server, names), jobs, show).run()

    found = asyncio.run(run())
    errors.print(_counts(found))
    if found.same_data_sets:
        errors.print(f"{found.same_data_sets} are the same behind other file meta information")
    if as_json:
        # Not through the console, which may be as narrow as a terminal.
        typer.echo(json.dumps(_as_json(found), indent=2))
    else:
        for name, title in _TITLES.items():
            differences: list[Difference] = getattr(found, name)
            if differences:
                console.print(
                    failure_table([_row(each) for each in differences], "Id", title=title)
                )
        if found.notes:
            noted = [(each.resource, each.reason) for each in found.notes]
            console.print(failure_table(noted, "Resource", title="Other notes"))
    if found.differences:
        raise typer.Exit(1)


def _row(each: Difference) -> tuple[str, str]:
    uid = f"SOP instance {each.sop_instance_uid}" if each.sop_instance_uid else ""
    return each.instance, "\n".join(filter(None, (uid, each.reason)))


def _counts(found: Compared) -> Table:
    table = Table()
    table.add_column("")
    for name in ("Here", "Orthanc"):
        table.add_column(name, justify="right")
    for level, count in found.here.items():
        table.add_row(escape(level), str(count), str(found.there[level]))
    return table


def _as_json(found: Compared) -> dict[str, Any]:
    return {**asdict(found), "equal": not found.differences}


@asynccontextmanager
async def _here(settings: Settings, node: Access | None) -> AsyncIterator[Side]:
    if node is None:
        async with open_index(settings) as opened:
            yield Folder(opened)
    else:
        async with Orthanc(node) as server:
            await server.about()
            yield Server(server, settings.http.user_metadata)
