"""The command line: one file a command, and what the commands share.

Nothing is decided here: arguments come in, settings and services do the work, tables and
an exit status go out.
"""

from hilum.cli.app import main

__all__ = ["main"]
