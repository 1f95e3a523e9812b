"""A MongoDB of the case's own, to be killed and frozen at will."""

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

import pymongo

from hilum.index.mongod import find_mongod


@dataclass
class Mongod:
    """One `mongod` on a socket in a folder, whose path has to be short for that."""

    folder: Path
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        """Its connection string."""
        socket = quote_plus(str(self.folder / "m.sock"))
        return f"mongodb://{socket}/?directConnection=true"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                *(find_mongod(), "--quiet", "--dbpath", self.folder),
                *("--bind_ip", self.folder / "m.sock", "--wiredTigerCacheSizeGB", "0.25"),
            ],
            stdout=subprocess.DEVNULL,
        )
        with pymongo.MongoClient[dict[str, object]](
            self.uri, serverSelectionTimeoutMS=30_000
        ) as client:
            client.admin.command("ping")

    def freeze(self) -> None:
        """Stop it where it is: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would; harmless if it does not run."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
