"""A MongoDB of the node's own: found, started, watched, and stopped with the node.

It listens on a unix socket only, keeps its data under the node's data folder, and cannot
outlive the node: the kernel stops it when the node dies (`hilum.core.tether`). The folder is
guarded by a lock that dies with its holder too, so that whatever `mongod` is found in it
afterwards is a leftover and may be stopped.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote_plus

import structlog

from hilum.core.errors import Conflict, IndexUnavailable, Invalid
from hilum.core.tether import tethered
from hilum.index.database import Database
from hilum.index.first_start import FirstStart

log = structlog.get_logger(__name__)

#: Bytes of a path in a unix socket's address on Linux, without the NUL at its end.
_LONGEST_SOCKET_PATH: Final = 107
_SOCKET: Final = "m.sock"
_LARGEST_LOG_BYTES: Final = 10_000_000
#: Less than that, and a `mongod` that ends has ended of it.
_LITTLE_BYTES: Final = 64 << 20
_STOP_SECONDS: Final = 20.0
_TELL_SECONDS: Final = 15.0
_GLANCE_SECONDS: Final = 0.02
_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 10.0

#: No diagnostic data, small journal files: it shares the machine.
_OPTIONS: Final = (
    "--quiet",
    # Beside the one it is told: /tmp/mongodb-27017.sock, which is one for all users of the machine.
    "--nounixsocket",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
    "--wiredTigerEngineConfigString",
    "log=(file_max=16MB,prealloc=false)",
)
# Room for the indexes over a million instances (0.7 GB), which each new one touches at random;
# a small index takes no more than it needs. Less where that would be much of the machine.
_CACHE_GIB: Final = (0.25, 1.0)
_CACHE_SHARE: Final = 1 / 16


def find_mongod() -> Path:
    """Return the `mongod` to run: the one on PATH, else the one of the `embedded` extra.

    Raises
    ------
    Invalid
        There is none.
    """
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    # Looked up without importing fiftyone, which would start a great deal more.
    package = find_spec("fiftyone")
    for folder in (package.submodule_search_locations or []) if package else []:
        candidate = Path(folder) / "db" / "bin" / "mongod"
        if candidate.is_file():
            return candidate
    raise Invalid(
        "no MongoDB: set mongodb_uri to one of your own, or install one to try with: "
        "pip install 'hilum[embedded]'"
    )


def running_uri(data_dir: Path) -> str:
    """Return the connection string of the `mongod` that a running node has on its data folder.

    Raises
    ------
    Invalid
        There is none, or its socket is elsewhere because the folder's path is too long.
    """
    socket = data_dir.absolute() / "mongodb" / _SOCKET
    if not socket.exists():
        raise Invalid(
            f"the MongoDB of the node that uses {data_dir} cannot be found: stop the node first"
        )
    return _uri(socket)


def _uri(socket: Path) -> str:
    return f"mongodb://{quote_plus(str(socket))}/?directConnection=true"


class EmbeddedMongod:
    """One `mongod` process over one folder.

    Start, watch and stop it on one event loop, in the thread that lives as long as the
    node: the process is tied to that thread.

    Parameters
    ----------
    data_dir
        The node's data folder; the database goes to ``mongodb`` in it, made if missing.
    binary
        The program to run; None finds one.
    start_seconds
        How long it may take until it answers, as long as it runs: after a crash it looks
        through its files and replays a journal in that time, and to end it amid that would
        have it begin anew.
    """

    def __init__(
        self, data_dir: Path, *, binary: Path | None = None, start_seconds: float = 600.0
    ) -> None:
        self._folder = data_dir.absolute() / "mongodb"
        self._first_start = FirstStart(self._folder)
        self._log_path = self._folder / "mongod.log"
        self._log_begins = 0
        """Of the lines of this start, in bytes."""
        self._binary = binary
        self._start_seconds = start_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._lock: IO[str] | None = None
        self._socket_folder: Path | None = None
        self._stopping = False

    @property
    def uri(self) -> str:
        """The connection string; the same across restarts of the process."""
        return _uri(self._socket)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> str:
        """Start the process and return its URI when it answers.

        Raises
        ------
        Invalid
            There is no `mongod` to run, or it cannot be run.
        Conflict
            Another node uses the folder.
        IndexUnavailable
            It ended, or does not answer in time, and the message quotes its log; or its
            files cannot be read and written.
        """
        self._stopping = False
        try:
            with self._faults():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._take_lock()
                await self._end_leftover()
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        return self.uri

    async def watch(self) -> None:
        """Start the process again whenever it ends by itself; runs until cancelled or `stop`.

        A pause before each new start grows while starts fail. Cancel it before `stop`.
        """
        pause = _SHORTEST_PAUSE_SECONDS
        while not self._stopping and self._process is not None:
            code = await self._process.wait()
            if self._stopping:
                return
            log.error("mongod ended by itself", exit_code=code, log=str(self._log_path))
            await asyncio.sleep(pause)
            if self._stopping:
                return
            try:
                await self._launch()
                pause = _SHORTEST_PAUSE_SECONDS
            except IndexUnavailable as error:
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                log.warning("mongod does not come back", reason=str(error), retry_seconds=pause)

    async def stop(self) -> None:
        """Stop the process cleanly and let go of the folder. Idempotent."""
        self._stopping = True
        process = self._process
        if process is not None:
            await _end(process)
        self._process = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _socket(self) -> Path:
        inside = self._folder / _SOCKET
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_PATH:
            return inside
        if self._socket_folder is None:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="hilum-"))
        return self._socket_folder / _SOCKET

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Translate each `OSError` of the block."""
        try:
            yield
        except OSError as error:
            what = error.filename or self._folder
            reason = error.strerror or error
            raise IndexUnavailable(f"cannot have a MongoDB: {reason}: {what}") from error

    def _take_lock(self) -> None:
        lock = (self._folder / "node.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Conflict(f"another node uses {self._folder}") from None
        self._lock = lock

    async def _end_leftover(self) -> None:
        """End a `mongod` that a killed node left in the folder.

        The kernel has told it to stop when its node died; it may still be at it.
        """
        if not self._is_in_use():
            return
        log.warning("waiting for the mongod of an earlier node to end", folder=str(self._folder))
        for end_signal in (signal.SIGTERM, signal.SIGKILL):
            told = None
            for _ in range(int(_STOP_SECONDS / _GLANCE_SECONDS)):
                # While it starts and while it stops it locks the folder but names no process.
                pid = self._pid_in_folder()
                if pid is not None and pid != told:
                    with suppress(ProcessLookupError):
                        os.kill(pid, end_signal)
                    told = pid
                await asyncio.sleep(_GLANCE_SECONDS)
                if not self._is_in_use():
                    return

    def _is_in_use(self) -> bool:
        """Return whether a `mongod` runs on the folder: it locks a file as long as it lives."""
        try:
            with (self._folder / "mongod.lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _pid_in_folder(self) -> int | None:
        """Return the process that locks the folder; None if it no longer says so itself."""
        try:
            pid = int((self._folder / "mongod.lock").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # The number may be somebody else's by now.
        return pid if os.fsencode(self._folder) in command else None

    async def _launch(self) -> None:
        with self._faults():
            self._process = await self._begin()
        await self._answering(self._process)
        log.info("mongod started", pid=self._process.pid, folder=str(self._folder))

    async def _begin(self) -> asyncio.subprocess.Process:
        binary = self._runnable(self._binary or find_mongod())
        socket = self._socket
        socket.unlink(missing_ok=True)
        self._first_start.begin()
        with self._open_log() as output:
            return await asyncio.create_subprocess_exec(
                *tethered(
                    signal.SIGTERM,
                    str(binary),
                    "--dbpath",
                    str(self._folder),
                    "--bind_ip",
                    str(socket),
                    *_OPTIONS,
                    "--wiredTigerCacheSizeGB",
                    f"{_cache_gib():.2f}",
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A Ctrl-C in the terminal is for the node, which stops it in its turn.
                process_group=0,
            )

    async def _answering(self, process: asyncio.subprocess.Process) -> None:
        database = Database(self.uri, timeout_seconds=1.0)
        telling = asyncio.create_task(self._tell())
        try:
            async with asyncio.timeout(self._start_seconds):
                while process.returncode is None:
                    if self._socket.exists():
                        with suppress(IndexUnavailable):
                            await database.ping()
                            await self._first_start.finish(database)
                            return
                    await asyncio.sleep(_GLANCE_SECONDS)
        except TimeoutError:
            await _end(process)
            raise IndexUnavailable(
                f"mongod does not answer after {self._start_seconds:g} s; {self._last_words()}"
            ) from None
        finally:
            telling.cancel()
            database.close()
        raise IndexUnavailable(f"mongod ended with {process.returncode}; {self._last_words()}")

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            log.warning("mongod takes its time to start", log=str(self._log_path))

    def _runnable(self, binary: Path) -> Path:
        """Return `binary` or a copy that may be executed: a wheel does not carry the bit."""
        if os.access(binary, os.X_OK):
            return binary
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError:
            copy = self._folder / "mongod"
            if not copy.exists() or copy.stat().st_size != binary.stat().st_size:
                shutil.copyfile(binary, copy)
            copy.chmod(0o755)
            return copy
        return binary

    def _open_log(self) -> IO[bytes]:
        with suppress(FileNotFoundError):
            if self._log_path.stat().st_size > _LARGEST_LOG_BYTES:
                self._log_path.replace(self._log_path.with_suffix(".log.1"))
        output = self._log_path.open("ab")
        self._log_begins = output.tell()
        return output

    def _last_words(self) -> str:
        """Return what there is to be known of why it ended."""
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < _LITTLE_BYTES:  # then it has had no room to say so
            return f"only {free_bytes >> 20} MiB are free on the disk of {self._folder}"
        with self._log_path.open("rb") as file:
            file.seek(self._log_begins)
            lines = file.read(_LARGEST_LOG_BYTES).decode(errors="replace").splitlines()
        # The first of its complaints is the cause of the others.
        said = next(filter(None, map(_complaint, lines)), lines[-1] if lines else "nothing")
        return f"{self._log_path} says: {said[:800]}"


def _complaint(line: str) -> str | None:
    """Return what a line of its log says, if that is an error or worse."""
    try:
        entry = json.loads(line)
        if entry["s"] not in ("E", "F"):
            return None
        return " ".join([entry["msg"], *(f"{k}: {v}" for k, v in entry.get("attr", {}).items())])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and make it when it does not."""
    for end in (process.terminate, process.kill):
        with suppress(ProcessLookupError):
            end()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            return


def _cache_gib() -> float:
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    least, most = _CACHE_GIB
    return min(max(memory_gib * _CACHE_SHARE, least), most)
