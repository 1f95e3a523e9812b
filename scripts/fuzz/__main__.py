"""Runs campaigns, or one kept input again; prints a table; status 1 if anything was found."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.fuzz import http_targets, imaging_targets
from scripts.fuzz.campaign import Campaign
from scripts.fuzz.shrink import finding_of
from scripts.fuzz.target import TARGETS

# Importing a room makes its targets known.
ROOMS = (imaging_targets, http_targets)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    names = ", ".join(TARGETS)
    parser.add_argument("--target", default="all", help=f"one or more of {names}; or all")
    parser.add_argument("--seconds", type=float, default=600, help="of each target")
    parser.add_argument("--cases", type=int, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0, help="other cases for another seed")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--findings", type=Path, default=Path("test-artifacts/fuzz"), help="folder to write"
    )
    parser.add_argument("--replay", type=Path, help="run this input once instead")
    arguments = parser.parse_args()
    chosen = list(TARGETS) if arguments.target == "all" else arguments.target.split(",")
    if unknown := set(chosen) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {names}")
    if arguments.replay:
        return _replay(chosen, arguments.replay)
    campaigns = [
        Campaign(TARGETS[name], arguments.seed, arguments.seconds, arguments.cases, arguments.first)
        for name in chosen
    ]
    _run(campaigns, arguments.findings)
    return 1 if any(campaign.findings for campaign in campaigns) else 0


def _replay(names: list[str], path: Path) -> int:
    found = [finding_of(TARGETS[name].run, path.read_bytes()) for name in names]
    for name, finding in zip(names, found, strict=True):
        print(f"{name}: {finding.signature if finding else 'nothing'}")
        if finding and finding.details:
            print(finding.details)
    return 1 if any(found) else 0


def _run(campaigns: list[Campaign], folder: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.fields[cases]:>9,} cases {task.fields[rate]:>7,.0f}/s"),
        TextColumn("{task.fields[found]} found"),
        TimeElapsedColumn(),
    )
    # Refreshed by hand: with a thread of its own, forking would not be safe.
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        for campaign in campaigns:
            whole = campaign.cases or campaign.seconds
            task = bar.add_task(campaign.target.name, total=whole, cases=0, rate=0.0, found=0)

            def show(now: Campaign, task: int = task) -> None:
                elapsed = bar.tasks[task].elapsed or 0.0
                bar.update(
                    task,
                    completed=now.done if now.cases else min(elapsed, now.seconds),
                    cases=now.done,
                    rate=now.done / elapsed if elapsed else 0.0,
                    found=len(now.findings),
                )
                bar.refresh()

            campaign.run(show)
            for path in campaign.keep(folder) if campaign.findings else ():
                signature = path.with_suffix(".txt").read_text().partition("\n")[0]
                bar.console.print(f"[red]{campaign.target.name}: {signature}[/red] {path}")
    console.print(_table(campaigns))


def _table(campaigns: list[Campaign]) -> Table:
    table = Table(title="Cases")
    for heading in ("target", "cases", "results", "refusals", "CPU", "a case", "slowest", "peak"):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    table.add_column("found", justify="right")
    for campaign in campaigns:
        table.add_row(
            campaign.target.name,
            f"{campaign.done:,}",
            f"{campaign.results:,}",
            f"{campaign.refusals:,}",
            f"{campaign.cpu_seconds:.0f} s",
            f"{1000 * campaign.cpu_seconds / max(campaign.done, 1):.2f} ms",
            f"{campaign.slowest_seconds:.2f} s",
            f"{campaign.peak_bytes >> 20} MB",
            f"{len(campaign.findings)}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
