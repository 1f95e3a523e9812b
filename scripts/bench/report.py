"""The figures as a table for a terminal, and as Markdown for `docs/performance.md`."""

import datetime as dt
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from rich.table import Table

from scripts.bench.cases import Case, Figure

_BEGIN: Final = "<!-- make bench writes from here -->"
_END: Final = "<!-- to here -->"


@dataclass
class Results:
    """Figures by case and competitor, one a round, in the order of the rounds.

    Parameters
    ----------
    names
        The nodes; the first is compared with the second.
    floor
        What no node can go below, if it is measured; the first is compared with it too.
    """

    names: Sequence[str]
    floor: str | None = None
    figures: dict[Case, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, name: str, figure: Figure) -> None:
        """Note a figure of the competitor `name`."""
        self.figures.setdefault(figure.case, {}).setdefault(name, []).append(figure.value)

    @property
    def header(self) -> list[str]:
        """What stands above the columns."""
        compared = ["better by"] if len(self.names) > 1 else []
        limit = [self.floor, "reached"] if self.floor is not None else []
        return ["", *self.names, *compared, *limit]

    def row(self, case: Case) -> list[str]:
        """Return the cells of a line, below those of the header."""
        by_name = self.figures[case]
        ours = by_name.get(self.names[0], [])
        cells = [f"{case.title}, {case.unit}"]
        cells += [_spread(by_name.get(name, []), _figure) for name in self.names]
        if len(self.names) > 1:
            cells.append(_ratio(case, ours, by_name.get(self.names[1], []), _factor))
        if self.floor is not None:
            least = by_name.get(self.floor, [])
            cells += [_spread(least, _figure), _ratio(case, ours, least, _percent)]
        return cells


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _factor(value: float) -> str:
    return f"{value:.2f} ×"


def _percent(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def _spread(values: Sequence[float], written: Callable[[float], str]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return written(values[0])
    return f"{written(median(values))} ({written(min(values))}–{written(max(values))})"


def _ratio(
    case: Case,
    ours: Sequence[float],
    theirs: Sequence[float],
    written: Callable[[float], str],
) -> str:
    """Return by which factor ours is better: of the medians, and (least–most) of the rounds."""
    if not ours or len(ours) != len(theirs) or not all((*ours, *theirs)):
        return "–"

    def better(our: float, their: float) -> float:
        return their / our if case.less_is_better else our / their

    # Round by round: what slows the machine down for a while slows both down.
    rounds = [better(our, their) for our, their in zip(ours, theirs, strict=True)]
    middle = written(better(median(ours), median(theirs)))
    if len(rounds) == 1:
        return middle
    return f"{middle} ({_figure(min(rounds))}–{_figure(max(rounds))})"


def terminal_table(results: Results) -> Table:
    """Return everything as one table with a section a group."""
    table = Table(*results.header, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    group = ""
    for case in results.figures:
        if case.group != group:
            group = case.group
            table.add_section()
            table.add_row(f"[bold]{group}[/bold]")
        table.add_row(*results.row(case))
    return table


def markdown(results: Results, about: str) -> str:
    """Return `about` and a table a group."""
    lines = [about]
    group = ""
    for case in results.figures:
        if case.group != group:
            group = case.group
            header = [group, *results.header[1:]]
            lines += ["", _line(header), _line(["---", *("---:" for _ in header[1:])])]
        lines.append(_line(results.row(case)))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_into(document: Path, text: str) -> None:
    """Replace what stands between the marks of `document`.

    Raises
    ------
    ValueError
        It has no marks.
    """
    head, begin, rest = document.read_text().partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document} lacks {_BEGIN} or {_END}")
    document.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}")


def about(arguments: Sequence[str], folder: Path, load_before: float) -> str:
    """Return what was run, when and on what.

    Parameters
    ----------
    load_before
        Load average when the run began: what else the machine was doing.
    """
    command = "make bench" + (f" BENCH_ARGS='{' '.join(arguments)}'" if arguments else "")
    today = dt.datetime.now(tz=dt.UTC).date()
    return (
        f"`{command}`, {today}, Python {platform.python_version()}, {os.cpu_count()} cores of an "
        f"{_processor()}, {_file_system(folder)}, load average {load_before:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after. Median of the rounds (least–most)."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system `folder` is on: on a tmpfs a sync costs nothing."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    above = [(len(mount[1]), mount[2]) for mount in mounts if folder.is_relative_to(mount[1])]
    # Of mounts on one place the last is seen, and max() takes the first of equals.
    return max(reversed(above))[1]
