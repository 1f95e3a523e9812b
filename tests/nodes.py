"""Real nodes for tests: `hilum serve` as its own process, on free ports.

They have one worker, so that a node is a process, unless a test sets `HILUM_WORKERS`.
A start costs what a node does then and not what Python does before (`tests.forked`); of
nodes that are started by their command line there are others, in `tests/e2e`.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.forked import Forked

_LOWEST = 10_000
#: The first of the ports that the kernel gives to who calls, and does not say which.
_FIRST_LENT = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
#: Below it, unless the machine lends nearly all of them.
_END = _FIRST_LENT if _FIRST_LENT > _LOWEST + 5_000 else 65_536
#: Of several processes of tests each has ports of its own; they begin anywhere among them.
_PROCESSES = max(1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_PORTS = range(_LOWEST + _PROCESS, _END, _PROCESSES)
_NEXT = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_port() -> int:
    """Return a port that is free, and stays so until who asked for it listens there.

    A port that the kernel chooses may be that of somebody's connection a moment later. These
    it never chooses, and each is given once.
    """
    while True:
        port = _PORTS[next(_NEXT) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """Poll `condition` until it is true and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has asked for its status does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class RunningNode:
    """A node in a process of its own."""

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    aet: str = "HILUM"
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: Forked | None = None

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def peer(self) -> tuple[str, str, str, str]:
        """Arguments by which a dcmtk program calls this node."""
        return ("-aec", self.aet, "127.0.0.1", str(self.dicom_port))

    @property
    def log_path(self) -> Path:
        return self.data_dir.with_suffix(".log")

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self, seconds: float = 60) -> "RunningNode":
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HILUM_")}
        environment |= {
            "HILUM_AET": self.aet,
            "HILUM_DATA_DIR": str(self.data_dir),
            "HILUM_DICOM_PORT": str(self.dicom_port),
            "HILUM_HTTP_PORT": str(self.http_port),
            "HILUM_LOG_FORMAT": "json",
            "HILUM_WORKERS": "1",
            **self.settings,
        }
        self.process = Forked(["serve"], environment, self.data_dir.parent, self.log_path)
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds: float = 60) -> None:
        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with {self.process.returncode}:\n{self.log}")
            try:
                socket.create_connection(("127.0.0.1", self.dicom_port), 1).close()
                urllib.request.urlopen(f"{self.http_url}/health", timeout=2).close()
            except urllib.error.HTTPError:
                return True  # up, and saying what is wrong
            except OSError:
                return False
            return True

        try:
            wait_until(ready, seconds, "the node answers")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.http_url}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def get_json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def stop(self) -> int:
        """Ask the node to drain and stop; return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """End the node as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def rss_bytes(self) -> int:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def read_bytes(self) -> int:
        """Bytes the process has read so far, from files and sockets."""
        assert self.process is not None
        line = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()[0]
        return int(line.removeprefix("rchar: "))


@contextlib.contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[RunningNode]:
    """Run a node for the length of a block; `settings` are environment variables."""
    node = RunningNode(data_dir, settings).start()
    try:
        yield node
    finally:
        with contextlib.suppress(ProcessLookupError):
            node.stop()
