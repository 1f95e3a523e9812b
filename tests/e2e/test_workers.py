"""A node of several workers: they share the work, and the death of one or all loses nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pymongo
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import dcmtk, generated
from tests.contract.spooling import received
from tests.e2e.test_index_away import Mongod
from tests.nodes import RunningNode, alive, free_port, wait_until

Launch = Callable[..., RunningNode]
COUNT = 60
ENDED = "worker ended by itself"


def lines(node: RunningNode, event: str) -> list[dict[str, object]]:
    """What the node has logged under this event."""
    every = (json.loads(line) for line in node.log.splitlines() if line.startswith("{"))
    return [each for each in every if each["event"] == event]


def workers(node: RunningNode) -> dict[int, int]:
    """The process ids of the living workers, by their numbers, from what the node logged."""
    started = {
        int(str(each["worker"])): int(str(each["pid"])) for each in lines(node, "worker started")
    }
    return {number: pid for number, pid in started.items() if alive(pid)}


def family(node: RunningNode) -> list[int]:
    """The process ids of everything that descends from the node's process."""
    assert node.process is not None
    found = [node.process.pid]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found[1:]


def start_sending(node: RunningNode, files: list[Path]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["/usr/bin/storescu", "-v", "-nh", *node.peer, *map(str, files)],
        env=dcmtk.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(sender: "subprocess.Popen[str]", at: int, then: Callable[[], None]) -> list[Path]:
    """Follow storescu, do something at its `at`-th success; return what was acknowledged."""
    assert sender.stdout is not None
    heard = []
    successes = 0
    for line in sender.stdout:
        heard.append(line)
        if line.startswith("I: Received Store Response (Success)"):
            successes += 1
            if successes == at:
                then()
    sender.stdout.close()
    sender.wait(60)
    return dcmtk.parse_storescu("".join(heard)).acknowledged


def found(node: RunningNode, study: object) -> int:
    """How many instances of a study the node has, as it says over HTTP."""
    for each in node.get_json("/api/dicom/studies?limit=1000")["data"]:
        if each["studyInstanceUID"] == generated.uid(study):
            return int(each["instanceCount"] or 0)  # none before the first count
    return 0


def stored(node: RunningNode) -> set[bytes]:
    files = (node.data_dir / "objects").rglob("*")
    return {dcmtk.data_set_bytes(path) for path in files if path.is_file()}


def in_spool(node: RunningNode) -> list[Path]:
    return received(node.data_dir / "spool")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    node = RunningNode(tmp_path_factory.mktemp("workers") / "node", {"HILUM_WORKERS": "2"})
    yield node.start()
    assert node.stop() == 0


def test_associations_and_requests_are_spread_over_both(
    shared: RunningNode, tmp_path: Path
) -> None:
    files = generated.ct_files(tmp_path / "ct", COUNT, study="spread")

    def one_of_all(event: str, act: Callable[[int], object]) -> bool:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(act, range(4)))
        return {each["worker"] for each in lines(shared, event)} == {0, 1}

    def send(quarter: int) -> None:
        part = files[quarter::4]
        assert dcmtk.storescu(shared.peer, *part).acknowledged == part

    wait_until(lambda: one_of_all("association accepted", send), what="both take associations")
    wait_until(
        lambda: one_of_all("http_request", lambda _: found(shared, "spread")),
        what="both take requests",
    )
    # What one of them took in, the other one finds.
    assert [found(shared, "spread") for _ in range(10)] == [COUNT] * 10


def test_figures_are_those_of_the_node_whoever_is_asked(
    shared: RunningNode, tmp_path: Path
) -> None:
    def received() -> float:
        text = shared.get("/metrics").decode()
        samples = [s for each in text_string_to_metric_families(text) for s in each.samples]
        assert {s.labels["worker"] for s in samples if s.name == "hilum_ingest_backlog"} == {
            "0",
            "1",
        }
        assert [s.value for s in samples if s.name == "hilum_workers"] == [2]
        quarantined = [s for s in samples if s.name == "hilum_quarantined_files"]
        assert [s.labels for s in quarantined] == [{}]  # a folder they share: counted once
        return sum(s.value for s in samples if s.name == "hilum_received_instances_total")

    before = received()
    files = generated.ct_files(tmp_path / "ct", 12, study="figures")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: dcmtk.storescu(shared.peer, *files[i::4]), range(4)))
    assert [received() - before for _ in range(8)] == [12] * 8
    health = shared.get_json("/health")
    assert (health["status"], health["workers"]) == ("ok", 2)


def test_every_line_of_a_worker_tells_which(shared: RunningNode) -> None:
    every = [json.loads(line) for line in shared.log.splitlines() if line.startswith("{")]
    for each in every:
        ours = each["logger"] in {"hilum.cli.serve", "hilum.index.mongod"}  # the supervisor's
        assert ours or each["worker"] in (0, 1), each


def test_settings_are_not_to_be_seen_in_the_process_list(shared: RunningNode) -> None:
    for pid in workers(shared).values():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"mongodb" not in command
        assert b"HILUM" not in command


@pytest.mark.timeout(240)
def test_a_worker_killed_in_mid_send_loses_nothing_and_comes_back(
    launch: Launch, tmp_path: Path
) -> None:
    node = launch(HILUM_WORKERS="2")
    sent: dict[str, list[Path]] = {}
    first = workers(node)
    assert sorted(first) == [0, 1]

    def kill_who_serves_it() -> None:
        (accepted,) = lines(node, "association accepted")
        os.kill(first[int(str(accepted["worker"]))], signal.SIGKILL)

    files = generated.ct_files(tmp_path / "ct", COUNT, study="killed")
    sent["killed"] = finish(start_sending(node, files), 20, kill_who_serves_it)
    assert 20 <= len(sent["killed"]) < COUNT
    # The other one serves on meanwhile, and what is in the dead one's spool is found.
    others = generated.ct_files(tmp_path / "others", COUNT, study="others")
    assert dcmtk.storescu(node.peer, *others).acknowledged == others
    wait_until(lambda: found(node, "killed") >= len(sent["killed"]), 60, "all of it is found")
    wait_until(lambda: in_spool(node) == [], 30, "the spools are empty")
    assert {dcmtk.data_set_bytes(path) for path in [*sent["killed"], *others]} <= stored(node)

    wait_until(lambda: sorted(workers(node)) == [0, 1], 30, "there are two of them again")
    assert set(workers(node).values()) != set(first.values())
    (obituary,) = lines(node, ENDED)
    assert obituary["ended_by"] == "Killed"
    wait_until(lambda: b"hilum_workers 2.0" in node.get("/metrics"), 30, "both serve")
    assert node.stop() == 0


def test_what_a_worker_leaves_is_finished_by_another_at_once(launch: Launch) -> None:
    node = launch(HILUM_WORKERS="2")
    # As if the process that had this folder had died and none had come after it.
    aside, left = node.data_dir / "aside", node.data_dir / "spool" / "7"
    aside.mkdir()
    for number in range(3):
        name = f"20261122T06464{number}.123456Z-9c2f41d000000007-CT1.dcm"
        generated.ct(number, study="left").save_as(aside / name, enforce_file_format=True)
        (aside / f"{name}.part").write_bytes(b"never acknowledged")
    aside.rename(left)
    wait_until(lambda: found(node, "left") == 3, 30, "they are found")
    wait_until(lambda: [path.name for path in left.iterdir()] == [".lock"], 30, "nothing is left")

    def adopted() -> int:
        # By a worker that serves, or by one that is about to.
        told = lines(node, "spool of a dead worker adopted") + lines(node, "spool replayed")
        return sum(int(str(each["instances"])) for each in told)

    wait_until(adopted, 30, "it is told")
    assert adopted() == 3  # once, by one of them


@pytest.mark.timeout(240)
def test_kill_9_of_the_supervisor_ends_all_and_loses_nothing(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "node", {"HILUM_WORKERS": "2"}).start()
    files = generated.ct_files(tmp_path / "ct", COUNT)
    pids = family(node)
    assert len(pids) == 3  # two workers and mongod
    acknowledged = finish(start_sending(node, files), 25, node.kill)
    assert len(acknowledged) >= 25
    # At once: the new node waits for the remains of the old one.
    node.start()
    try:
        assert not any(map(alive, pids))
        wait_until(lambda: found(node, 1) >= len(acknowledged), 30, "all of it is found")
        assert {dcmtk.data_set_bytes(path) for path in acknowledged} <= stored(node)
        wait_until(lambda: in_spool(node) == [], 30, "the spools are empty")
    finally:
        assert node.stop() == 0


@pytest.mark.timeout(240)
def test_kill_9_as_a_worker_is_replaced_leaves_nobody_with_the_ports(launch: Launch) -> None:
    node = launch(HILUM_WORKERS="2")
    old = workers(node)[0]
    os.kill(old, signal.SIGKILL)

    def loading() -> int | None:
        """The new one, about to load its modules: it has the sockets, and no spool yet."""
        new = workers(node).get(0, old)
        command = Path(f"/proc/{new}/cmdline").read_bytes() if new != old else b""
        return new if b"hilum.worker" in command and b"tether" not in command else None

    orphan = wait_until(loading, 30, "another is being started")
    # It gets no further, so that whatever ends it is none of its own doing.
    os.kill(orphan, signal.SIGSTOP)
    try:
        node.kill()
        wait_until(lambda: not alive(orphan), 10, "the kernel has ended it")
    finally:
        with suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)
    node.start()
    assert sorted(workers(node)) == [0, 1]


def test_a_port_that_is_about_to_be_free_is_waited_for(tmp_path: Path) -> None:
    waiting = "waiting for a port"
    with socket.create_server(("127.0.0.1", 0)) as leaving:
        node = RunningNode(tmp_path / "node", dicom_port=leaving.getsockname()[1])

        def leave() -> None:
            wait_until(lambda: waiting in node.log, what="it waits")
            leaving.close()

        thread = threading.Thread(target=leave)
        thread.start()
        node.start()
        thread.join()
    assert node.stop() == 0
    (told,) = lines(node, waiting)  # once
    assert (told["service"], told["port"], told["level"]) == ("DICOM", node.dicom_port, "warning")


@pytest.mark.timeout(240)
def test_sigterm_lets_an_association_in_flight_finish(launch: Launch, tmp_path: Path) -> None:
    node = launch(HILUM_WORKERS="2")
    assert node.process is not None
    pids = family(node)
    files = generated.ct_files(tmp_path / "ct", 200)
    acknowledged = finish(start_sending(node, files), 10, node.process.terminate)
    assert acknowledged == files
    assert node.process.wait(60) == 0
    assert in_spool(node) == []
    assert not any(map(alive, pids))
    for port in (node.dicom_port, node.http_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
    node.start()
    assert found(node, 1) == 200


def test_who_tells_every_process_to_stop_cuts_no_association_off(
    launch: Launch, tmp_path: Path
) -> None:
    """As systemd does unless told otherwise; a worker is told twice then."""
    node = launch(HILUM_WORKERS="2")
    assert node.process is not None
    every = [node.process.pid, *workers(node).values()]
    files = generated.ct_files(tmp_path / "ct", COUNT)

    def tell() -> None:
        for pid in every:
            os.kill(pid, signal.SIGTERM)

    assert finish(start_sending(node, files), 10, tell) == files
    assert node.process.wait(60) == 0
    assert lines(node, ENDED) == []


def test_a_second_signal_does_not_wait(launch: Launch) -> None:
    node = launch(HILUM_WORKERS="2")
    assert node.process is not None
    pids = family(node)
    with socket.create_connection(("127.0.0.1", node.http_port)) as asking:
        # An upload that never ends keeps a worker from draining.
        asking.sendall(
            b"POST /api/dicom/upload HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n\r\n"
        )
        assert asking.recv(100).startswith(b"HTTP/1.1 100")
        node.process.terminate()
        wait_until(lambda: lines(node, "stopping"), what="it stops")
        node.process.terminate()
        assert node.process.wait(60) == -signal.SIGTERM
    wait_until(lambda: not any(map(alive, pids)), 30, "nobody is left")


@pytest.mark.timeout(240)
def test_fewer_workers_and_older_layouts_leave_no_spool_behind(tmp_path: Path) -> None:
    # Spools of three workers, and files where versions before workers kept them.
    node = RunningNode(tmp_path / "node", {"HILUM_WORKERS": "1"})
    for number, place in enumerate(["", "0", "1", "2"]):
        folder = node.data_dir / "spool" / place
        folder.mkdir(parents=True, exist_ok=True)
        data_set = generated.ct(number, study="shrunk")
        name = f"20261122T06464{number}.123456Z-9c2f41d000000007-CT1.dcm"
        data_set.save_as(folder / name, enforce_file_format=True)
        (folder / f"{name}.part").write_bytes(b"never acknowledged")
    node.start()
    try:
        assert found(node, "shrunk") == 4
        wait_until(lambda: in_spool(node) == [], 30, "the spools are empty")
        assert not list((node.data_dir / "spool").rglob("*.part"))

        def replayed() -> int:
            return sum(int(str(each["instances"])) for each in lines(node, "spool replayed"))

        wait_until(lambda: replayed() == 4, what="and that is told")
    finally:
        assert node.stop() == 0


def serve(data_dir: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a node that is expected not to start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    ports = {"HILUM_DICOM_PORT": str(free_port()), "HILUM_HTTP_PORT": str(free_port())}
    return subprocess.run(
        [sys.executable, "-m", "hilum", "serve", "--workers", "2", "--data-dir", data_dir],
        env=clean | ports | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("port", ["HILUM_DICOM_PORT", "HILUM_HTTP_PORT"])
def test_a_port_that_another_node_has_is_not_shared_with_it(
    shared: RunningNode, tmp_path: Path, port: str
) -> None:
    taken = shared.dicom_port if port == "HILUM_DICOM_PORT" else shared.http_port
    done = serve(tmp_path / "second", **{port: str(taken)})
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if line.startswith("hilum:")]
    assert len(complaints) == 1
    where = f"{port.split('_')[1]} on 127.0.0.1:{taken}"
    assert complaints[0] == f"hilum: cannot listen for {where}: Address already in use"
    assert "Traceback" not in done.stderr


def test_a_second_node_on_the_data_folder_does_not_start(shared: RunningNode) -> None:
    done = serve(shared.data_dir)
    assert done.returncode == 1
    assert "the data directory is in use by another node" in done.stderr
    assert "Traceback" not in done.stderr
    assert shared.get_json("/health")["status"] == "ok"


def test_a_database_of_a_newer_version_ends_the_node_with_one_line(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hilum-test-") as folder:
        mongod = Mongod(Path(folder))
        try:
            mongod.start()
            with pymongo.MongoClient(mongod.uri) as client:
                client["hilum"]["meta"].insert_one({"_id": "schema", "version": 1000})
            done = serve(tmp_path / "node", HILUM_MONGODB_URI=mongod.uri)
        finally:
            mongod.kill()
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if line.startswith("hilum:")]
    assert len(complaints) == 1
    assert "the index has schema version 1000" in complaints[0]
    assert "Traceback" not in done.stderr


def test_a_fault_that_every_worker_meets_ends_the_node_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "objects").write_text("in the way of the folder")
    done = serve(tmp_path / "node")
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if line.startswith("hilum:")]
    assert len(complaints) == 1
    assert "cannot open the store" in complaints[0]
    assert ENDED not in done.stderr


def test_requests_are_answered_while_a_worker_is_replaced(launch: Launch) -> None:
    node = launch(HILUM_WORKERS="2")
    stop = threading.Event()
    failures: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                with urllib.request.urlopen(f"{node.http_url}/api/dicom/studies", timeout=30):
                    pass
            except ConnectionResetError:
                pass  # it was the dead one's
            except OSError as error:
                failures.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    for number in (0, 1, 1):
        pid = workers(node)[number]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: pid not in workers(node).values(), 30, "it is gone")
        wait_until(lambda: b"hilum_workers 2.0" in node.get("/metrics"), 30, "both serve")
    stop.set()
    asking.join()
    assert [each for each in failures if "reset" not in each and "closed" not in each] == []
    pauses = [(each["worker"], each["retry_seconds"]) for each in lines(node, ENDED)]
    assert pauses == [(0, 0.2), (1, 0.2), (1, 0.4)]  # longer for the one that died again
