"""`hilum echo`: whether a peer is there, and what it says about itself."""

import typer
from pydicom.uid import UID
from rich.markup import escape
from rich.table import Table

from hilum.cli.options import ConfigFile, OwnTitle, Target, parse_target, settings_of
from hilum.cli.terminal import complain, console
from hilum.scp import client
from hilum.scp.status import SUCCESS


def echo(target: Target, *, aet: OwnTitle = None, config: ConfigFile = None) -> None:
    """Ask a DICOM node whether it is there (C-ECHO)."""
    peer = parse_target(target)
    settings = settings_of(config, aet=aet)
    answer = client.echo(peer, settings.aet)
    if answer.status != SUCCESS:
        complain(f"{peer} answers with status {answer.status:04X}")
        raise typer.Exit(1)
    console.print(f"[green]{escape(str(peer))}[/green] answers in {answer.seconds * 1000:.1f} ms")
    size = answer.maximum_pdu_bytes
    table = Table.grid(padding=(0, 2))
    table.add_row("  Called as", settings.aet)
    table.add_row("  Transfer syntax", UID(answer.transfer_syntax_uid).name)
    table.add_row("  Maximum PDU", f"{size:,} bytes" if size else "unlimited")
    table.add_row("  Implementation", escape(answer.implementation))
    console.print(table)
