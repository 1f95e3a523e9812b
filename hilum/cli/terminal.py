"""What the commands say, and how: answers on stdout, complaints on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

#: Of a file or a pipe, where lines have no end: identifiers in a table are not to be broken.
_UNBOUNDED_WIDTH: Final = 240


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else _UNBOUNDED_WIDTH
    return Console(stderr=file is sys.stderr, highlight=False, soft_wrap=True, width=width)


console = _console(sys.stdout)
errors = _console(sys.stderr)


def complain(message: str) -> None:
    """Print one line that says what went wrong."""
    errors.print(f"[red]hilum:[/red] {escape(message)}")


def tell_faults(faults: Iterable[tuple[str, str]]) -> None:
    """Print every wrong setting: its name, and what is wrong with it."""
    complain("the settings are wrong")
    for name, reason in faults:
        errors.print(f"  [bold]{escape(name)}[/bold]: {escape(reason)}")


def failure_table(
    failures: Sequence[tuple[str, str]], what: str, shown: int = 50, title: str = "Failed"
) -> Table:
    """Return a table of what failed and why; beyond `shown` rows, how many more there are."""
    table = Table(title=f"{title}: {len(failures)}", title_style="bold red", title_justify="left")
    table.add_column(what, overflow="fold")
    table.add_column("Reason", overflow="fold")
    for name, reason in failures[:shown]:
        table.add_row(escape(name), escape(reason))
    if len(failures) > shown:
        table.add_row("…", f"and {len(failures) - shown} more")
    return table


def progress() -> Progress:
    """Return a progress bar in instances; it leaves nothing behind but its last state."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}", style="dim"),
        TimeRemainingColumn(compact=True),
        console=errors,
    )
