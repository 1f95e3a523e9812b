"""kill -9 in the middle of receiving, again and again: what was acknowledged is there."""

import random
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread

from tests import dcmtk, generated
from tests.nodes import RunningNode, wait_until

CUTS = 20
FILES = 60


@pytest.mark.timeout(600)
def test_no_acknowledged_instance_is_lost_over_twenty_power_cuts(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "node")
    chance = random.Random(20)  # where in the stream each cut falls
    acknowledged: dict[str, Path] = {}
    for cut in range(CUTS):
        files = generated.ct_files(tmp_path / f"study-{cut}", FILES, study=cut)
        node.start()
        for path in send_and_kill(node, files, after=chance.randrange(1, FILES - 5)):
            acknowledged[str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = path
    assert len(acknowledged) >= CUTS

    node.start()
    wait_until(lambda: set(acknowledged) <= findable(node), 30, "every instance is found")
    kept = {
        dcmtk.data_set_bytes(path)
        for path in (node.data_dir / "objects").rglob("*")
        if path.is_file()
    }
    assert {dcmtk.data_set_bytes(path) for path in acknowledged.values()} <= kept
    assert (
        subprocess.run(  # every object is still what its name says
            "find objects -type f | sed 's|.*/\\(.*\\)|\\1  &|' | sha256sum --check --quiet",
            shell=True,
            cwd=node.data_dir,
            capture_output=True,
            check=False,
        ).stdout
        == b""
    )
    assert node.stop() == 0


def send_and_kill(node: RunningNode, files: list[Path], after: int) -> list[Path]:
    """Kill the node as storescu sees its `after`-th success; return all it saw in the end."""
    sender = subprocess.Popen(
        ["/usr/bin/storescu", "-v", "-nh", *node.peer, *map(str, files)],
        env=dcmtk.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert sender.stdout is not None
    lines = []
    successes = 0
    for line in sender.stdout:
        lines.append(line)
        if line.startswith("I: Received Store Response (Success)"):
            successes += 1
            if successes == after:
                node.kill()
    sender.stdout.close()
    sender.wait(60)
    sent = dcmtk.parse_storescu("".join(lines)).acknowledged
    assert len(sent) >= after
    return sent


def findable(node: RunningNode) -> set[str]:
    """SOP Instance UIDs the node finds, over all studies, by findscu."""
    found: set[str] = set()
    for cut in range(CUTS):
        output = dcmtk.run(
            "findscu",
            "-S",
            *node.peer,
            "-k",
            "QueryRetrieveLevel=IMAGE",
            "-k",
            f"StudyInstanceUID={generated.uid(cut)}",
            "-k",
            f"SeriesInstanceUID={generated.uid(cut, 1)}",
            "-k",
            "SOPInstanceUID",
        ).output
        found |= {
            line.split("[")[1].split("]")[0].rstrip("\0 ")
            for line in output.splitlines()
            if "(0008,0018)" in line and "[" in line
        }
    return found
