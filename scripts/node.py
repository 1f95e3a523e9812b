"""A node as its own processes, with everything that may be done to them."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.waiting import wait_until
from tests.nodes import alive, free_port

AE_TITLE = "HILUM"
_START_SECONDS = 60
_STOP_SECONDS = 60


@dataclass
class Node:
    """`hilum serve` over one data folder.

    Parameters
    ----------
    settings
        Environment variables for it.
    workers
        How many processes share the work; 1: a single process is the whole node.
    """

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers: int = 2
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None
    _started_before: int = 0

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
        """Start it and wait until every worker serves."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HILUM_")}
        environment |= {
            "HILUM_AET": AE_TITLE,
            "HILUM_DATA_DIR": str(self.data_dir),
            "HILUM_DICOM_PORT": str(self.dicom_port),
            "HILUM_HTTP_PORT": str(self.http_port),
            "HILUM_LOG_FORMAT": "json",
            **self.settings,
        }
        command = [sys.executable, "-m", "hilum", "serve", "--workers", str(self.workers)]
        self._started_before = self.starts()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(self._is_up, _START_SECONDS, f"the node is up, see {self.log_path}")

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the node ended, see {self.log_path}"
        return self.starts() - self._started_before >= self.workers and self.health() != 0

    def starts(self) -> int:
        """Return how many workers have come to serve so far, over all runs."""
        return self._log().count('"listening for DICOM"')

    def wait_replaced(self, starts_before: int, killed: int) -> None:
        """Wait until `killed` workers more serve than did at `starts_before`."""
        wait_until(
            lambda: (
                self.starts() >= starts_before + killed and len(self.worker_pids()) == self.workers
            ),
            _START_SECONDS,
            "the worker is replaced",
        )

    def _log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def leader_pid(self) -> int:
        """Return the worker that does what one does for all, or has come in its place."""
        lines = [json.loads(line) for line in self._log().splitlines() if line.startswith("{")]
        number = [each["worker"] for each in lines if each["event"] == "this worker leads"][-1]
        started = [each for each in lines if each["event"] == "worker started"]
        return int([each["pid"] for each in started if each["worker"] == number][-1])

    def health(self, part: str = "") -> int:
        """Return the HTTP status of ``/health``, or of one part of it; 0: no answer."""
        try:
            with urllib.request.urlopen(self.url(f"/health{part}"), timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def tracebacks(self) -> int:
        """Return how often the node was surprised: tracebacks in its log."""
        return self._log().count("Traceback (most recent call last)")

    def url(self, path: str) -> str:
        """Return where a path is answered."""
        return f"http://127.0.0.1:{self.http_port}{path}"

    def pids(self) -> list[int]:
        """Return all processes of the node, MongoDB's left aside, the first one first."""
        return [pid for pid in self._tree(self.pid) if _name(pid) != "mongod"]

    def worker_pids(self) -> list[int]:
        """Return the processes that serve associations."""
        if self.workers == 1:
            return [self.pid]
        return [pid for pid in self.pids() if b"hilum.worker" in _command(pid)]

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

    def kill(self, *, only_first: bool = False) -> None:
        """End every process of it as a power cut would, or the first, and see the others go."""
        everyone = self.pids()
        self.send(signal.SIGKILL, everyone[:1] if only_first else everyone)
        self._wait()
        wait_until(
            lambda: not any(map(alive, everyone)),
            _STOP_SECONDS,
            "no process outlives the node",
        )

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


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
