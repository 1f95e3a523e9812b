"""A TCP port to listen on, for either edge."""

import socket
from typing import Final

from hilum.core.errors import Invalid

_BACKLOG: Final = 512


def listen(host: str, port: int, service: str) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host, port
        Port 0 takes a free one.
    service
        What for, as the message has it: DICOM or HTTP.

    Raises
    ------
    Invalid
        The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Invalid(
            f"cannot listen for {service} on {host}:{port}: {error.strerror or error}"
        ) from error
