"""A node as its own processes, with everything that may be done to them."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.waiting import wait_until

AE_TITLE = "HILUM"
_START_SECONDS = 60
_STOP_SECONDS = 60


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Node:
    """`hilum serve` over one data folder.

    Parameters
    ----------
    settings
        Environment variables for it.
    workers
        How many worker processes to ask for; None: as many as the node likes.
    """

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers: int | None = None
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> tuple[str, int]:
        """Where DICOM connections are taken."""
        return ("127.0.0.1", self.dicom_port)

    @property
    def peer(self) -> tuple[str, ...]:
        """Arguments by which a dcmtk program calls this node."""
        return ("-aec", AE_TITLE, "127.0.0.1", str(self.dicom_port))

    @property
    def log_path(self) -> Path:
        """What all runs of the node wrote to stderr."""
        return self.data_dir.with_suffix(".log")

    @property
    def pid(self) -> int:
        """The first process; the others descend from it."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until both ports answer."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HILUM_")}
        environment |= {
            "HILUM_AET": AE_TITLE,
            "HILUM_DATA_DIR": str(self.data_dir),
            "HILUM_DICOM_PORT": str(self.dicom_port),
            "HILUM_HTTP_PORT": str(self.http_port),
            "HILUM_LOG_FORMAT": "json",
            **self.settings,
        }
        command = [sys.executable, "-m", "hilum", "serve"]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(self._is_up, _START_SECONDS, f"the node is up, see {self.log_path}")

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the node ended, see {self.log_path}"
        try:
            socket.create_connection(self.address, 1).close()
        except OSError:
            return False
        return self.health() != 0

    def health(self, part: str = "") -> int:
        """Return the HTTP status of ``/health``, or of one part of it; 0: no answer."""
        try:
            with urllib.request.urlopen(self._url(f"/health{part}"), timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def tracebacks(self) -> int:
        """Return how often the node was surprised: tracebacks in its log."""
        return self.log_path.read_text(errors="replace").count("Traceback (most recent call last)")

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"

    def pids(self) -> list[int]:
        """Return all processes of the node, MongoDB's left aside, the first one first."""
        return [pid for pid in self._tree(self.pid) if _name(pid) != "mongod"]

    def worker_pids(self) -> list[int]:
        """Return the processes that listen for DICOM connections."""
        listening = _listening_inodes(self.dicom_port)
        return [pid for pid in self.pids() if listening & _socket_inodes(pid)]

    def _tree(self, pid: int) -> list[int]:
        children: list[int] = []
        with suppress(OSError):  # gone meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                children += map(int, (task / "children").read_text().split())
        return [pid, *(below for child in children for below in self._tree(child))]

    def send(self, number: signal.Signals, pids: list[int] | None = None) -> None:
        """Send a signal to some of the node's processes; None: to all of them."""
        for pid in self.pids() if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End every process of it as a power cut would."""
        self.send(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Ask it to drain and stop; ends it if that fails."""
        if self._process is None or self._process.poll() is not None:
            return
        self.send(signal.SIGCONT)
        self._process.terminate()
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(_STOP_SECONDS)


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _listening_inodes(port: int) -> set[str]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = (line.split() for line in lines)
    return {row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes
