"""`hilum demo`: four synthetic studies to a DICOM node, as modalities would send them."""

import tempfile
from pathlib import Path

import typer

from hilum.cli.options import ConfigFile, OwnTitle, Target, parse_target, settings_of
from hilum.cli.send import send_files
from hilum.cli.terminal import progress
from hilum.demo.studies import INSTANCE_COUNT, write_studies
from hilum.scp import client


def demo(target: Target, *, aet: OwnTitle = None, config: ConfigFile = None) -> None:
    """Send synthetic CT, MR, CR and XA studies to a DICOM node."""
    peer = parse_target(target)
    settings = settings_of(config, aet=aet)
    client.echo(peer, settings.aet)  # nothing is drawn for nobody
    with tempfile.TemporaryDirectory(prefix="hilum-demo-") as folder:
        with progress() as bar:
            task = bar.add_task("Drawing CT, MR, CR and XA", total=INSTANCE_COUNT, detail="")
            files = []
            for path in write_studies(Path(folder)):
                files.append(path)
                bar.advance(task)
        if not send_files(peer, settings.aet, files):
            raise typer.Exit(1)
