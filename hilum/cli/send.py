"""`hilum send`: files and folders to a DICOM node, and a table of what it did not take."""

import time
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.markup import escape

from hilum.cli.files import find_files, has_dicom_prefix
from hilum.cli.options import ConfigFile, OwnTitle, Paths, Target, parse_target, settings_of
from hilum.cli.terminal import console, failure_table, progress
from hilum.core.peer import Peer
from hilum.scp import client


def send(
    target: Target,
    paths: Paths,
    *,
    aet: OwnTitle = None,
    config: ConfigFile = None,
) -> None:
    """Send files and folders to a DICOM node (C-STORE)."""
    peer = parse_target(target)
    settings = settings_of(config, aet=aet)
    if not send_files(peer, settings.aet, list(find_files(paths)), named=paths):
        raise typer.Exit(1)


def send_files(
    peer: Peer, ae_title: str, files: Sequence[Path], named: Sequence[Path] = ()
) -> bool:
    """Send `files`, show how it goes, and return whether all of them were taken.

    Parameters
    ----------
    named
        Paths the user gave. A file that only lay in a folder and is no DICOM is passed
        over; one that was named itself is a failure.
    """
    failures: list[tuple[str, str]] = []
    stored = passed_over = size_bytes = 0
    start = time.monotonic()
    with progress() as bar:
        task = bar.add_task(f"Sending to {escape(str(peer))}", total=len(files), detail="")
        for sent in client.send(peer, ae_title, files):
            if sent.stored:
                stored += 1
                size_bytes += sent.path.stat().st_size
            elif sent.status is None and sent.path not in named and not _is_dicom(sent.path):
                passed_over += 1
            else:
                status = "" if sent.status is None else f"{sent.status:04X} "
                failures.append((str(sent.path), f"{status}{sent.reason}".strip()))
            seconds = max(time.monotonic() - start, 1e-6)
            bar.update(task, advance=1, detail=f"{size_bytes / seconds / 1e6:.1f} MB/s")
    seconds = max(time.monotonic() - start, 1e-6)
    console.print(
        f"{stored} of {len(files) - passed_over} stored by {escape(str(peer))}: "
        f"{size_bytes / 1e6:.1f} MB in {seconds:.1f} s, {stored / seconds:.0f} instances/s"
    )
    if passed_over:
        console.print(f"{passed_over} files in the folders are not DICOM")
    if failures:
        console.print(failure_table(failures, "File"))
    return not failures


def _is_dicom(path: Path) -> bool:
    try:
        return has_dicom_prefix(path)
    except OSError:
        return True  # cannot be told: then it is worth a line
