"""`hilum` in processes of their own, forked from one that has imported it already.

Importing the package and what it needs takes a second and more of a processor, and the tests
start some two hundred nodes. From the fork on nothing is different: a process that can be
killed, with descriptors, threads and memory of its own.
"""

import multiprocessing
import os
import signal
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["hilum.cli", "hilum.node", "tests.forked"])


class Forked:
    """A process that runs `hilum`; to be used like one of `subprocess`.

    Parameters
    ----------
    arguments
        What follows ``hilum`` on the command line.
    environment
        All of its environment variables.
    folder
        Where it works.
    log
        What it writes to stdout and stderr goes to the end of this file.
    """

    def __init__(
        self, arguments: list[str], environment: dict[str, str], folder: Path, log: Path
    ) -> None:
        # A daemon: should a test leave it behind, it ends with the tests.
        self._process = _CONTEXT.Process(
            target=_run, args=(arguments, environment, folder, log), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status; below 0 the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, seconds: float) -> int:
        """Return its exit status when it has ended.

        Raises
        ------
        TimeoutError
            It does not end within that time.
        """
        self._process.join(seconds)
        if self.returncode is None:
            raise TimeoutError(f"process {self.pid} runs on after {seconds} s")
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], folder: Path, log: Path) -> None:
    """Become a `hilum` as a shell would have started it."""
    from hilum.cli import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    main(arguments)
