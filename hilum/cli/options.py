"""Options that several commands share, and the settings they lead to."""

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hilum.config.loading import load
from hilum.config.settings import Settings
from hilum.core.errors import Invalid
from hilum.core.identifiers import parse_ae_title
from hilum.core.peer import Peer

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in TOML; else ./hilum.toml."),
]
# Text, whatever their type: the settings check them, so that all faults come at once.
DataDir: TypeAlias = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Where everything is kept.")
]
OwnTitle: TypeAlias = Annotated[
    str | None, typer.Option("--aet", metavar="AET", help="AE title of this side.")
]
MongodbUri: TypeAlias = Annotated[
    str | None,
    typer.Option("--mongodb-uri", metavar="URI", help="A MongoDB of your own for the index."),
]
Paths: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="PATH…", help="Files and folders.", exists=True, show_default=False),
]
Target: TypeAlias = Annotated[
    str, typer.Argument(metavar="AET@HOST:PORT", help="The node to call.", show_default=False)
]


def settings_of(config: Path | None = None, **flags: str | None) -> Settings:
    """Return the settings under the given flags, named ``section__name``.

    Raises
    ------
    WrongSettings
        Something is wrong with them.
    """
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load(os.environ, dotted, config).settings


def parse_target(text: str) -> Peer:
    """Return the peer that ``AET@HOST:PORT`` names; an IPv6 host stands in brackets.

    Raises
    ------
    typer.BadParameter
        It is not of that form.
    """
    title, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (at and colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise typer.BadParameter(f"not of the form AET@HOST:PORT: {text!r}")
    try:
        return Peer(parse_ae_title(title), host, int(port))
    except Invalid as error:
        raise typer.BadParameter(str(error)) from None
