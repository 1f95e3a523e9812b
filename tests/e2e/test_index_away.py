"""MongoDB is down at start, or goes away while instances arrive: nothing is refused or lost."""

import subprocess
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pymongo
import pytest

from hilum.index.mongod import find_mongod
from tests import dcmtk, generated
from tests.contract.spooling import received
from tests.nodes import RunningNode, alive, running, wait_until

COUNT = 40


class Mongod:
    """A mongod of the test's own, to be stopped and started at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "m.sock"
        self.uri = f"mongodb://{quote_plus(str(self.socket))}/?directConnection=true"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [find_mongod(), "--dbpath", self.folder, "--bind_ip", self.socket, "--quiet"],
            stdout=subprocess.DEVNULL,
        )
        with pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command("ping")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def mongod() -> Iterator[Mongod]:
    with tempfile.TemporaryDirectory(prefix="hilum-test-") as folder:  # short: it has a socket
        made = Mongod(Path(folder))
        yield made
        made.kill()


def found(node: RunningNode, study: object) -> int:
    """How many instances of a study findscu gets to see; -1 if the query is refused."""
    keys = {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": generated.uid(study),
        "NumberOfStudyRelatedInstances": "",
    }
    arguments = [a for k, v in keys.items() for a in ("-k", f"{k}={v}")]
    output = dcmtk.run("findscu", "-v", "-S", *node.peer, *arguments).output
    if "(Success)" not in output:
        assert "0xa700" in output.lower() or "OutOfResources" in output
        return -1
    for line in output.splitlines():
        if "(0020,1208)" in line and "Request" not in line and "[" in line:
            return int(line.split("[")[1].split("]")[0])
    return 0


def status_of(node: RunningNode, path: str) -> int:
    try:
        node.get(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


@pytest.mark.timeout(240)
def test_instances_are_accepted_while_mongodb_is_away(tmp_path: Path, mongod: Mongod) -> None:
    early = generated.ct_files(tmp_path / "early", COUNT, study="early")
    late = generated.ct_files(tmp_path / "late", COUNT, study="late")
    with running(tmp_path / "node", HILUM_MONGODB_URI=mongod.uri) as node:
        # Down at start.
        assert status_of(node, "/health/db") == 503
        assert status_of(node, "/health/storage") == 200
        assert dcmtk.storescu(node.peer, *early).acknowledged == early
        assert found(node, "early") == -1
        mongod.start()
        wait_until(lambda: found(node, "early") == COUNT, 60, "what came early is found")
        wait_until(lambda: status_of(node, "/health/db") == 200, what="health recovers")

        # Gone in the middle of a study.
        sender = subprocess.Popen(
            ["/usr/bin/storescu", "-v", "-nh", *node.peer, *map(str, late)],
            env=dcmtk.ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert sender.stdout is not None
        lines = []
        for line in sender.stdout:
            lines.append(line)
            if sum("Store Response (Success)" in each for each in lines) == 5:
                mongod.kill()
        sender.stdout.close()
        sender.wait(60)
        assert dcmtk.parse_storescu("".join(lines)).acknowledged == late
        mongod.start()
        wait_until(lambda: found(node, "late") == COUNT, 60, "what came meanwhile is found")
        assert received(node.data_dir / "spool") == []
        assert node.stop() == 0


@pytest.mark.timeout(240)
def test_a_node_stopped_without_mongodb_catches_up_at_its_next_start(
    tmp_path: Path, mongod: Mongod
) -> None:
    files = generated.ct_files(tmp_path / "ct", COUNT)
    settings = {"HILUM_MONGODB_URI": mongod.uri}
    with running(tmp_path / "node", **settings) as node:
        assert dcmtk.storescu(node.peer, *files).acknowledged == files
        node.kill()
    mongod.start()
    with running(tmp_path / "node", **settings) as node:
        wait_until(lambda: found(node, 1) == COUNT, 60)


def test_the_embedded_mongod_is_started_again_when_it_dies(
    running_node: RunningNode, tmp_path: Path
) -> None:
    files = generated.ct_files(tmp_path / "ct", COUNT)
    lock = running_node.data_dir / "mongodb" / "mongod.lock"
    subprocess.run(["/bin/kill", "-9", lock.read_text().strip()], check=True)
    assert dcmtk.storescu(running_node.peer, *files).acknowledged == files
    wait_until(lambda: found(running_node, 1) == COUNT, 60)


def test_no_mongod_outlives_its_node(running_node: RunningNode) -> None:
    pid = int((running_node.data_dir / "mongodb" / "mongod.lock").read_text())
    running_node.kill()
    wait_until(lambda: not alive(pid), 30, "mongod ends with its node")
