"""`hilum ohif install`: the files of the OHIF viewer, to where they are served from.

OHIF is not part of Hilum and not in its package: it is 200 MB under a licence of its own
(MIT), and has a pace of its own.
"""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

from hilum.cli.ohif_package import PINNED, Origin, fetch, installed, unpack
from hilum.cli.options import ConfigFile, DataDir, settings_of
from hilum.cli.terminal import console, errors
from hilum.core.errors import StorageUnavailable
from hilum.premises import ohif_folder

app = typer.Typer(help="The OHIF viewer, which the node serves at /ohif.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `install` a command with a name, though it is the only one."""


@app.command("install")
def install(
    *,
    version: Annotated[
        str, typer.Option(metavar="VERSION", help="Of npm's package @ohif/app.")
    ] = PINNED.version,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Another npm registry than npm's own settings name (npm_config_registry).",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The package as a file, got elsewhere: for machines without npm.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to put it; else as the settings say."),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch OHIF from the npm registry, check it, and lay it where the node serves it from.

    Does nothing if that version is there already. A running node need not be restarted.
    """
    if folder is None:
        folder = ohif_folder(settings_of(config, data_dir=data_dir))
    origin = Origin(version, PINNED.integrity if version == PINNED.version else None)
    if file is None and installed(folder) == origin.version:
        console.print(f"OHIF {escape(version)} is in {escape(str(folder))} already")
        return
    try:
        _install(origin, folder, file, registry)
    except OSError as error:
        raise StorageUnavailable(f"cannot install OHIF in {folder}: {error.strerror}") from error
    console.print(f"OHIF {escape(version)} is in {escape(str(folder))}; see it at /ohif")


def _install(origin: Origin, folder: Path, file: Path | None, registry: str | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hilum-ohif-") as scratch, _progress() as bar:
        task = bar.add_task("Fetching OHIF", total=None)
        package = file or fetch(origin, Path(scratch), dict(os.environ), registry)
        bar.update(task, description="Unpacking", total=package.stat().st_size)
        unpack(package, origin, folder, lambda done: bar.update(task, completed=done))


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=errors,
    )
