"""dcmtk's programs and coreutils: the senders, and the judges.

Always by absolute path: pynetdicom installs scripts of the same names.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scripts.node import Node

SUCCESS = "Success"
OUT_OF_RESOURCES = "Refused: OutOfResources"  # what storescu calls A700

_FILES_A_CALL = 200
# Without Nagle's algorithm: what is measured is the node.
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass
class Sent:
    """What senders said of each file: the status it was answered with, or ``none``."""

    statuses: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def acknowledged(self) -> list[Path]:
        """The files whose originals may be deleted now."""
        return [path for path, status in self.statuses.items() if status == SUCCESS]

    def add(self, other: "Sent") -> None:
        """Add what another sender said; success stays success."""
        for path, status in other.statuses.items():
            if self.statuses.get(path) != SUCCESS:
                self.statuses[path] = status


class Sender:
    """One running ``storescu``: an association on which files are sent in turn."""

    def __init__(self, node: Node, files: Sequence[Path]) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            ["/usr/bin/storescu", "-v", "-nh", *node.peer, *map(str, files)],
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._current = Path()
        self._sent = Sent()

    def until(self, successes: int) -> None:
        """Read on until so many files were acknowledged, or there are no more answers."""
        while len(self._sent.acknowledged) < successes and self._step():
            pass

    def finish(self, seconds: float = 600) -> Sent:
        """Read on to the end; return what was said of all files."""
        assert self._process.stdout is not None
        with self._process.stdout:
            while self._step():
                pass
        self._process.wait(seconds)
        self._sent.seconds = time.monotonic() - self._started
        return self._sent

    def _step(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if match := re.match(r"I: Sending file: (.*)", line):
            self._current = Path(match[1])
            self._sent.statuses[self._current] = "none"
        elif match := re.match(r"I: Received Store Response \((.*)\)", line):
            self._sent.statuses[self._current] = match[1]
        return bool(line)


def send(node: Node, files: Sequence[Path]) -> Sent:
    """Send files on one association."""
    return Sender(node, files).finish()


def send_at_once(node: Node, series: Sequence[Sequence[Path]]) -> Sent:
    """Send each list of files on an association of its own, all at the same time."""
    started = time.monotonic()
    total = Sent()
    with ThreadPoolExecutor(len(series)) as pool:
        for sent in pool.map(lambda files: send(node, files), series):
            total.add(sent)
    total.seconds = time.monotonic() - started
    return total


def echo_seconds(node: Node) -> float:
    """Return how long ``echoscu`` takes, from its start to its end."""
    started = time.monotonic()
    command = ["/usr/bin/echoscu", *node.peer]
    subprocess.run(command, env=_ENVIRONMENT, check=True, capture_output=True, timeout=60)
    return time.monotonic() - started


@dataclass(frozen=True)
class Identity:
    """What an instance is, by ``dcmdump``."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


def identities(files: Iterable[Path]) -> list[Identity]:
    """Return the identity of each file."""
    tags = ("0008,0018", "0020,000d", "0020,000e")
    keys = [argument for tag in tags for argument in ("+P", tag)]
    paths = list(map(str, files))
    found = []
    for start in range(0, len(paths), _FILES_A_CALL):
        batch = paths[start : start + _FILES_A_CALL]
        uids = re.findall(r"UI \[([0-9.]+)", _output("dcmdump", "-q", "-Un", *keys, *batch))
        assert len(uids) == len(tags) * len(batch), "a file without its identifiers"
        found += [Identity(*uids[at : at + 3]) for at in range(0, len(uids), 3)]
    return found


def findable(node: Node, study: str, series: str) -> set[str]:
    """Return the SOP Instance UIDs that ``findscu`` is given; none if the query fails."""
    keys = {
        "QueryRetrieveLevel": "IMAGE",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": "",
    }
    arguments = [argument for key, value in keys.items() for argument in ("-k", f"{key}={value}")]
    output = _output("findscu", "-S", *node.peer, *arguments)
    return set(re.findall(r"\(0008,0018\) UI \[([0-9.]+)", output))


def damaged_objects(data_dir: Path) -> str:
    """Return what ``sha256sum`` has against the stored files; nothing if all are well."""
    script = (
        "find objects -path 'objects/??/??/*' -type f -printf '%f  %p\\n'"
        " | sha256sum --check --quiet 2>&1"
    )
    done = subprocess.run(
        script, shell=True, cwd=data_dir, check=False, capture_output=True, text=True
    )
    # With nothing stored at all there is nothing to check, which it calls an error.
    return "" if "no properly formatted" in done.stdout else done.stdout


def _output(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [f"/usr/bin/{program}", *arguments],
        env=_ENVIRONMENT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return done.stdout.decode("utf-8", "replace")
