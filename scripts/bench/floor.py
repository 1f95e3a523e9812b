"""The shortest possible loop as a competitor: what no node can go below."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.bench import shortest_loop
from scripts.bench.drivers import Ran, run_at_once
from scripts.bench.peers import Peer

_PROGRAM: Final = (sys.executable, "-I", "-S", shortest_loop.__file__)


class Floor(Peer):
    """`shortest_loop` as a receiver, and as the senders that feed it."""

    def __init__(self) -> None:
        self.name = "shortest loop"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, receiver_port: int) -> None:  # noqa: ARG002
        """Start on the empty `folder` and wait for it to answer."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [*_PROGRAM, "serve", str(listener.fileno()), folder],
                pass_fds=[listener.fileno()],
            )

    def stop(self) -> None:
        """End it and its children."""
        if self._process is not None:
            self._process.kill()  # its children end with their connections
            self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def send(self, folders: Sequence[Path], *, nagle: bool = False) -> Ran:  # noqa: ARG002
        """Send each folder on a connection of its own, all at once."""
        return run_at_once(
            [[*_PROGRAM, "send", str(self._port), str(folder)] for folder in folders]
        )
