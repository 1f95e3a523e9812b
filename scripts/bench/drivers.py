"""dcmtk's programs as senders, askers and receivers: the same for whoever is measured.

By absolute path: pynetdicom installs scripts of the same names. Without Nagle's algorithm,
which costs two programs of dcmtk 40 ms a message when they talk to each other, unless it is
what is measured.
"""

import contextlib
import os
import resource
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.nodes import free_port, wait_until

_LIMIT_SECONDS: Final = 300.0
#: Has whatever is made with dcmtk send without Nagle's algorithm.
NO_DELAY: Final = {**os.environ, "TCP_NODELAY": "1"}
#: AE title that retrieved instances go to.
RECEIVER: Final = "RECEIVER"
# What a fast workstation would ask for; dcmtk's default of 16 KB costs both sides the same.
_LARGE_PDUS: Final = ("-pdu", "131072")


@dataclass(frozen=True, slots=True)
class Called:
    """How a DICOM node is called."""

    aet: str
    port: int

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of a dcmtk program."""
        return ("-aec", self.aet, "127.0.0.1", str(self.port))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a set of programs took: from the first one's start to the last one's end."""

    seconds: float
    cpu_seconds: float


def run_at_once(commands: Sequence[Sequence[str]], *, nagle: bool = False) -> Ran:
    """Run programs beside each other.

    Parameters
    ----------
    commands
        Each a program and its arguments.
    nagle
        Have dcmtk send with Nagle's algorithm, its default.

    Raises
    ------
    subprocess.CalledProcessError
        One of them failed.
    subprocess.TimeoutExpired
        One of them did not end; it is killed.
    """
    environment = os.environ | {"TCP_NODELAY": "0"} if nagle else NO_DELAY
    cpu_before = _children_seconds()
    start = time.perf_counter()
    with ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        for command in commands:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)  # of no effect on one that has ended
            processes.append(process)
        for process in processes:
            status = _wait(process)
            if status:
                raise subprocess.CalledProcessError(status, process.args)
    return Ran(time.perf_counter() - start, _children_seconds() - cpu_before)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Return the status of a program as soon as it has ended.

    `Popen.wait` with a time limit looks every 50 ms: a retrieval of 120 ms would take as long
    as one of 160.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        if not end.poll(_LIMIT_SECONDS * 1000):
            raise subprocess.TimeoutExpired(process.args, _LIMIT_SECONDS)
    finally:
        os.close(descriptor)
    return process.wait()


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def send(node: Called, folders: Sequence[Path], *, nagle: bool) -> Ran:
    """Send each folder on an association of its own, all at once."""
    return run_at_once(
        [["/usr/bin/storescu", "-q", "+sd", *node.arguments, str(folder)] for folder in folders],
        nagle=nagle,
    )


def _keys(keys: dict[str, str]) -> list[str]:
    return [argument for key, value in keys.items() for argument in ("-k", f"{key}={value}")]


def find(node: Called, keys: dict[str, str], repeat: int) -> Ran:
    """Send the same query `repeat` times on one association."""
    options = ["-q", "-S", "--repeat", str(repeat)]
    return run_at_once([["/usr/bin/findscu", *options, *_keys(keys), *node.arguments]])


def count_matches(node: Called, keys: dict[str, str]) -> int:
    """Return how many responses with an identifier a query gets."""
    done = subprocess.run(
        ["/usr/bin/findscu", "-v", "-S", *_keys(keys), *node.arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=NO_DELAY,
        check=True,
        timeout=_LIMIT_SECONDS,
    )
    return done.stdout.count(b"(Pending)")


def move(node: Called, study_uid: str) -> Ran:
    """Have the node send a study to the receiver."""
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study_uid}
    return run_at_once(
        [["/usr/bin/movescu", "-q", "-S", "-aem", RECEIVER, *_keys(keys), *node.arguments]]
    )


def get(node: Called, study_uid: str) -> Ran:
    """Fetch a study on the asking association, and drop it."""
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study_uid}
    options = ["-q", "-S", "--ignore", *_LARGE_PDUS]
    return run_at_once([["/usr/bin/getscu", *options, *_keys(keys), *node.arguments]])


@contextlib.contextmanager
def receiver() -> Iterator[int]:
    """Run a storage SCP that drops what it receives; gives its port."""
    port = free_port()
    command = ["/usr/bin/storescp", "-q", "--ignore", *_LARGE_PDUS, "-aet", RECEIVER, str(port)]
    process = subprocess.Popen(command, env=NO_DELAY, stdout=subprocess.DEVNULL)
    try:
        echo = ["/usr/bin/echoscu", "-q", "127.0.0.1", str(port)]
        wait_until(lambda: subprocess.call(echo, stderr=subprocess.DEVNULL) == 0, what="storescp")
        yield port
    finally:
        process.kill()
        process.wait()
