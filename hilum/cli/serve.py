"""`hilum serve`: the node, from its first line to its last."""

import asyncio
import contextlib
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.markup import escape

from hilum import __version__
from hilum.cli.options import ConfigFile, DataDir, MongodbUri, OwnTitle, settings_of
from hilum.cli.terminal import console
from hilum.config import logging
from hilum.config.settings import Settings
from hilum.lifetime import run_until_told
from hilum.node import running

log = structlog.get_logger(__name__)


def serve(
    *,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    aet: OwnTitle = None,
    bind: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Address to listen on; 0.0.0.0 for all.")
    ] = None,
    dicom_port: Annotated[str | None, typer.Option(metavar="N", help="DICOM port.")] = None,
    http_port: Annotated[str | None, typer.Option(metavar="N", help="Web port.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Processes that share the work; else one a core."),
    ] = None,
    mongodb_uri: MongodbUri = None,
) -> None:
    """Run the node until SIGTERM or Ctrl-C, then drain and stop."""
    settings = settings_of(
        config,
        data_dir=data_dir,
        aet=aet,
        bind=bind,
        dicom__port=dicom_port,
        http__port=http_port,
        workers=workers,
        mongodb__uri=mongodb_uri,
    )
    logging.configure(settings.log.format, settings.log.level)

    @contextlib.asynccontextmanager
    async def announced() -> AsyncIterator[None]:
        # From here on a signal is a wish to stop, and no longer the end.
        log.info("starting", version=__version__, data_dir=str(settings.data_dir))
        async with running(settings):
            yield

    def greet() -> None:
        if settings.log.format != "json":  # else who reads this wants JSON and no more
            console.print(banner(settings))

    asyncio.run(run_until_told(announced(), when_ready=greet))
    log.info("stopped")


def banner(settings: Settings) -> str:
    """Return what a newcomer needs: the addresses, and how to send something."""
    anywhere = settings.bind in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    host = socket.gethostname() if anywhere else settings.bind
    address = f"[{host}]" if ":" in host else host
    target = f"{settings.aet}@{address}:{settings.dicom.port}"
    lines = [
        "",
        f"[bold]Hilum[/bold] {__version__}",
        "",
        f"  DICOM  [bold]{escape(target)}[/bold]",
        f"  Web    [bold]http://{escape(address)}:{settings.http.port}/[/bold]",
        f"  Data   {escape(str(settings.data_dir))}",
        "",
        "  Send it something:",
        f"    {escape(_own_command())} demo {escape(target)}",
        f"    storescu -aec {escape(settings.aet)} +sd +r {host} {settings.dicom.port} FOLDER",
        "",
        "  Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def _own_command() -> str:
    """Return how to call this program from where the user is."""
    if shutil.which("hilum"):
        return "hilum"
    path = Path(sys.executable).with_name("hilum")
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
