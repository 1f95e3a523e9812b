"""C-ECHO as SCP (PS3.4 Annex A, PS3.7 9.1.5)."""

from hilum.scp.request import Request
from hilum.scp.status import SUCCESS


def handle(request: Request) -> None:
    """Answer that this node is here."""
    request.respond(request.command.response(SUCCESS))
