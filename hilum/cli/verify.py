"""`hilum verify`: whether what is stored is what was received, and the index knows all of it."""

import asyncio
import time

import typer

from hilum.cli.options import ConfigFile, DataDir, MongodbUri, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.config import logging
from hilum.config.cores import usable_cores
from hilum.holdings import open_index
from hilum.services.verification import Verification, Verified


def verify(
    *, config: ConfigFile = None, data_dir: DataDir = None, mongodb_uri: MongodbUri = None
) -> None:
    """Read every stored file and compare it with its name and with the index.

    Changes nothing, and may run while the node does. Exit status 1 if anything is wrong.
    """
    settings = settings_of(config, data_dir=data_dir, mongodb__uri=mongodb_uri)
    logging.configure(settings.log.format, "error")

    async def run() -> Verified:
        async with open_index(settings) as opened:
            verification = Verification(opened.store, opened.references, usable_cores())
            with progress() as bar:
                task = bar.add_task("Verifying", total=None, detail="")
                start = time.monotonic()

                def show(done: int, total: int, size_bytes: int) -> None:
                    seconds = max(time.monotonic() - start, 1e-6)
                    rate = f"{size_bytes / seconds / 1e6:.1f} MB/s"
                    bar.update(task, completed=done, total=total, detail=rate)

                return await verification.run(show)

    found = asyncio.run(run())
    console.print(f"{found.files} files, {found.size_bytes / 1e6:.1f} MB read")
    for title, rows in _findings(found).items():
        if rows:
            console.print(failure_table(rows, "SHA-256", title=title))
    if found.unindexed:
        console.print("[bold]hilum reindex[/bold] brings stored files into the index")
    if found.faults:
        raise typer.Exit(1)
    console.print("each is what was stored, and the index knows all of them")


def _findings(found: Verified) -> dict[str, list[tuple[str, str]]]:
    return {
        "Damaged": list(found.damaged.items()),
        "In the index, not in the store": [
            (each.digest, f"SOP instance {each.sop_instance_uid}") for each in found.missing
        ],
        "In the store, not in the index": [(digest, "") for digest in found.unindexed],
    }
