"""The command line against real nodes, each as its own process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from hilum.demo.studies import INSTANCE_COUNT, write_studies
from tests.nodes import RunningNode, free_port, wait_until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first instances of the demonstration, and two files that are none."""
    folder = tmp_path_factory.mktemp("files")
    first = list(islice(write_studies(folder), 5))
    (folder / "cut.dcm").write_bytes(first[0].read_bytes()[:200])
    (folder / "readme.txt").write_text("not DICOM\n")
    return folder


def hilum(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    return subprocess.run(
        [sys.executable, "-m", "hilum", *arguments],
        env=clean | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def target(node: RunningNode) -> str:
    return f"{node.aet}@127.0.0.1:{node.dicom_port}"


def test_echo_says_what_was_negotiated(shared_node: RunningNode) -> None:
    done = hilum("echo", target(shared_node))
    assert done.returncode == 0, done.stderr
    assert f"{target(shared_node)} answers in" in done.stdout
    assert "Little Endian" in done.stdout
    assert "Maximum PDU" in done.stdout


def test_demo_can_be_seen_and_sent_again(shared_node: RunningNode) -> None:
    done = hilum("demo", target(shared_node))
    assert done.returncode == 0, done.stderr
    assert f"{INSTANCE_COUNT} of {INSTANCE_COUNT} stored" in done.stdout
    listed = shared_node.get_json("/api/dicom/studies")["data"]
    seen = {each["modalities"][0]: each["frameCount"] for each in listed}
    assert seen == {"CT": 40, "MR": 44, "CR": 2, "XA": 60}
    assert hilum("demo", target(shared_node)).returncode == 0
    assert len(shared_node.get_json("/api/dicom/studies")["data"]) == 4
    # What the node logged of it all names nobody.
    for word in ("Lindström", "Соколова", "Yamada", "山田", "Nguyễn", "DEMO-100"):
        assert word not in shared_node.log


def test_send_tells_what_failed(shared_node: RunningNode, files: Path) -> None:
    done = hilum("send", target(shared_node), files)
    assert done.returncode == 1
    assert "5 of 6 stored" in done.stdout
    assert "1 files in the folders are not DICOM" in done.stdout
    assert "cut.dcm" in done.stdout
    assert "Traceback" not in done.stderr


def test_send_of_good_files_exits_0(shared_node: RunningNode, files: Path) -> None:
    done = hilum("send", target(shared_node), *sorted(files.glob("CT-*.dcm")))
    assert (done.returncode, "5 of 5 stored" in done.stdout) == (0, True), done.stderr


def test_send_to_nobody_fails_each_file_with_the_reason(files: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        done = hilum("send", f"HILUM@127.0.0.1:{closed.getsockname()[1]}", files)
    assert done.returncode == 1
    assert "Connection refused" in done.stdout
    assert "0 of 6 stored" in done.stdout


def test_import_is_resumable_and_serves_afterwards(
    tmp_path: Path, files: Path, launch: Callable[..., RunningNode]
) -> None:
    data_dir = tmp_path / "node"
    first = hilum("import", "--data-dir", data_dir, files / "CT-2-001.dcm", files / "CT-2-002.dcm")
    assert first.returncode == 0, first.stderr
    assert "2 stored" in first.stdout
    again = hilum("import", "--data-dir", data_dir, files)
    assert again.returncode == 1
    assert "2 already-stored" in again.stdout
    assert "3 stored" in again.stdout
    assert "1 not DICOM" in again.stdout
    assert "cut.dcm" in again.stdout
    assert (files / "cut.dcm").exists()
    node = launch("node")
    (study,) = node.get_json("/api/dicom/studies")["data"]
    assert study["instanceCount"] == 5
    busy = hilum("import", "--data-dir", data_dir, files)
    assert busy.returncode == 1
    assert "in use" in busy.stderr
    assert "Traceback" not in busy.stderr


def test_verify_and_reindex_beside_a_node_and_without_one(
    tmp_path: Path, files: Path, launch: Callable[..., RunningNode]
) -> None:
    node = launch("node")
    assert hilum("send", target(node), *sorted(files.glob("CT-*.dcm"))).returncode == 0
    studies = node.get_json("/dicom-web/studies?includefield=all")
    data_dir = ("--data-dir", str(node.data_dir))
    beside = hilum("verify", *data_dir)
    assert beside.returncode == 0, beside.stderr + beside.stdout
    assert "5 files" in beside.stdout
    busy = hilum("reindex", *data_dir)
    assert (busy.returncode, "in use" in busy.stderr) == (1, True)
    assert node.stop() == 0
    # The index is lost with its server's folder.
    shutil.rmtree(node.data_dir / "mongodb")
    lost = hilum("verify", *data_dir)
    assert lost.returncode == 1
    assert "In the store, not in the index: 5" in lost.stdout
    assert "5 indexed" in hilum("reindex", *data_dir).stdout
    damaged = next(node.data_dir.glob("objects/??/??/*"))
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    found = hilum("verify", *data_dir)
    assert found.returncode == 1
    assert "Damaged: 1" in found.stdout
    assert damaged.name in found.stdout
    for done in (beside, busy, lost, found):
        assert "Traceback" not in done.stderr
    assert node.start().get_json("/dicom-web/studies?includefield=all") == studies


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_node_with_0(running_node: RunningNode, number: signal.Signals) -> None:
    process = running_node.process
    assert process is not None
    process.send_signal(number)
    assert process.wait(30) == 0
    last = [json.loads(line)["event"] for line in running_node.log.splitlines()]
    assert last[-1] == "stopped"


def test_json_logs_are_nothing_but_json(running_node: RunningNode) -> None:
    for line in running_node.log.splitlines():
        assert json.loads(line)["level"]


def test_a_signal_while_starting_stops_it_as_well(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hilum", "serve", "--data-dir", tmp_path / "node",
             "--dicom-port", str(free_port()), "--http-port", str(free_port())],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    wait_until(lambda: b"starting" in (tmp_path / "log").read_bytes(), what="it starts")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


def test_a_port_that_is_taken_costs_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = ("--dicom-port", str(taken.getsockname()[1]), "--http-port", str(free_port()))
        done = hilum("serve", "--data-dir", tmp_path / "node", *ports)
    assert done.returncode == 1
    assert "cannot listen for DICOM" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_banner_reaches_a_pipe_and_the_logs_do_not_mix_with_it(tmp_path: Path) -> None:
    dicom, web = free_port(), free_port()
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hilum", "serve", "--data-dir", tmp_path / "node",
             "--dicom-port", str(dicom), "--http-port", str(web)],
            stdout=out,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    wait_until(lambda: b"Ctrl-C" in (tmp_path / "out").read_bytes(), 60, "the banner")
    process.terminate()
    assert process.wait(30) == 0
    text = (tmp_path / "out").read_text()
    assert f"HILUM@127.0.0.1:{dicom}" in text
    assert f"http://127.0.0.1:{web}/" in text
    assert '"event"' not in text
