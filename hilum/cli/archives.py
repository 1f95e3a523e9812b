"""What the commands that ask another archive have in common: how it is named, and who asks."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hilum.config.settings import Settings
from hilum.core.errors import Invalid
from hilum.moving.orthanc import Access

Url: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="Where it is: http://HOST:8042, or http://USER:PASSWORD@HOST:8042.",
        show_default=False,
    ),
]
User: TypeAlias = Annotated[
    str, typer.Option("--user", metavar="NAME", envvar="ORTHANC_USER", help="Who asks it.")
]
Password: TypeAlias = Annotated[
    str,
    typer.Option(
        "--password",
        metavar="TEXT",
        envvar="ORTHANC_PASSWORD",
        help="Better in the variable: other users of the machine see what is on command lines.",
        show_envvar=True,
    ),
]
CaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="Certificates to trust beside the system's, for https.",
        exists=True,
        dir_okay=False,
    ),
]
Jobs: TypeAlias = Annotated[
    int, typer.Option("--jobs", metavar="N", min=1, max=64, help="Instances at a time.")
]


def access(url: str, user: str = "", password: str = "", ca_file: Path | None = None) -> Access:
    """Return where a server is and who asks.

    Raises
    ------
    typer.BadParameter
        The URL is none.
    """
    try:
        return Access.parse(url, user, password, ca_file)
    except Invalid as error:
        raise typer.BadParameter(str(error)) from None


def own_access(settings: Settings) -> Access:
    """Return how the node with these settings is reached, if it runs on this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound
    host = anywhere.get(settings.bind, settings.bind)
    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{settings.http.port}"
    for user, password in settings.http.users.items():  # one is as good as another
        return Access(url, user, password.get_secret_value())
    return Access(url)
