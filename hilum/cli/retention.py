"""`hilum retention`: what retention would delete, and to let it go on after it has halted."""

import asyncio
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from hilum.cli.options import ConfigFile, DataDir, MongodbUri, settings_of
from hilum.cli.terminal import console
from hilum.config import logging
from hilum.config.settings import Settings
from hilum.holdings import open_planner
from hilum.services.retention_plan import Plan, readable

app = typer.Typer(no_args_is_help=True, help="Deletion by rule: retention.*")

_SHOWN: Final = 100


@app.command()
def preview(
    *,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    every: Annotated[bool, typer.Option("--all", help="List every study.")] = False,
) -> None:
    """Show what the rules would delete now, and why; delete nothing.

    The rules are those of the settings given here: try new ones beside a running node before it
    gets them.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")

    async def run() -> Plan:
        async with open_planner(settings) as (planner, _):
            return await planner.plan()

    _show(settings, asyncio.run(run()), None if every else _SHOWN)


@app.command()
def resume(
    *, config: ConfigFile = None, data_dir: DataDir = None, mongodb_uri: MongodbUri = None
) -> None:
    """Let the rule for free space go on, which halts when deleting frees nothing."""
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")

    async def run() -> None:
        async with open_planner(settings) as (_, candidates):
            await candidates.resume()

    asyncio.run(run())
    minutes = f"{settings.retention.every_minutes:g} minutes"
    console.print(f"retention goes on within {minutes}")


def _show(settings: Settings, plan: Plan, shown: int | None) -> None:
    console.print(
        f"store {readable(plan.store_bytes)}, trash {readable(plan.trash_bytes)}, "
        f"free on the disk {readable(plan.free_bytes)}"
    )
    for warning in plan.warnings:
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    if not (settings.retention.max_age_days or settings.retention.max_bytes) and (
        not settings.retention.keep_free_bytes
    ):
        console.print("no rule is set: nothing is ever deleted")
        return
    if not plan.doomed:
        console.print("nothing would be deleted now")
        return
    table = Table("Study", "Date", "Modalities", "Received", "Size", "Why")
    for each in plan.doomed[:shown]:
        candidate = each.candidate
        table.add_row(
            candidate.study_instance_uid,
            escape(candidate.study_date),
            escape(" ".join(candidate.modalities)),
            f"{candidate.received_at:%Y-%m-%d %H:%M}",
            readable(candidate.size_bytes),
            escape(each.reason.removeprefix("retention: ")),
        )
    console.print(table)
    if shown is not None and len(plan.doomed) > shown:
        console.print(f"and {len(plan.doomed) - shown} more; --all lists them")
    total = f"{len(plan.doomed)} studies, {readable(plan.size_bytes)}"
    more = ", and more in the runs after that" if plan.more else ""
    console.print(f"[bold]{total}[/bold] would be deleted{more}")
