"""A TCP port to listen on, for either edge."""

import errno
import os
import socket
from typing import Final

from hilum.core.errors import Invalid

_BACKLOG: Final = 512


class AddressInUse(Invalid):
    """Another process listens there."""


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
    AddressInUse
        Another process listens there, perhaps not for long any more.
    Invalid
        The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        kind = AddressInUse if error.errno == errno.EADDRINUSE else Invalid
        reason = error.strerror or str(error)
        if error.errno is not None and error.errno > 0:  # below are those of names not found
            reason = os.strerror(error.errno)  # Python's own text names the address once more
        raise kind(f"cannot listen for {service} on {host}:{port}: {reason}") from error
