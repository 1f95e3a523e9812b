"""The program `hilum`: its commands, and how every failure of them looks.

Exit status: 0 done, 1 something failed, 2 the command line or the settings are wrong,
130 interrupted. A traceback is a defect of Hilum's, never the answer to a mistake.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hilum import __version__
from hilum.cli import (
    compare,
    config,
    demo,
    echo,
    importing,
    migrate,
    ohif,
    reindex,
    retention,
    send,
    serve,
    verify,
)
from hilum.cli.terminal import complain, console, tell_faults
from hilum.config.loading import WrongSettings
from hilum.core.errors import HilumError

app = typer.Typer(
    name="hilum",
    help="A DICOM node: takes studies in, finds them, gives them back, shows them.",
    no_args_is_help=True,
    # Typer's own tracebacks print local variables, and those may be a patient's.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"Hilum {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command("serve")(serve.serve)
app.command("echo")(echo.echo)
app.command("send")(send.send)
app.command("demo")(demo.demo)
app.command("import")(importing.import_)
app.command("verify")(verify.verify)
app.command("reindex")(reindex.reindex)
app.command("config")(config.config)
app.add_typer(migrate.app, name="migrate")
app.add_typer(compare.app, name="compare")
app.add_typer(ohif.app, name="ohif")
app.add_typer(retention.app, name="retention")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit; `arguments` default to those of the process."""
    try:
        app(list(arguments) if arguments is not None else None)
    except WrongSettings as wrong:
        tell_faults(wrong.faults)
        sys.exit(2)
    except HilumError as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
