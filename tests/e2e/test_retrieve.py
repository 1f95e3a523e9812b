"""movescu and getscu fetch what was stored, and get exactly that."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import dcmtk, generated
from tests.corpus import all_files
from tests.e2e.test_store import in_groups, on_disk
from tests.nodes import RunningNode, free_port, running

pytestmark = pytest.mark.timeout(300)

STUDY = generated.uid("retrieve")
SLICES = 30


class Site:
    """A node with a study and the corpus in it, and a workstation it knows."""

    def __init__(self, node: RunningNode, workstation_port: int, folder: Path) -> None:
        self.node = node
        self.workstation_port = workstation_port
        self.sent = generated.ct_files(folder, SLICES, study="retrieve")

    @property
    def digests(self) -> set[str]:
        return {hashlib.sha256(dcmtk.data_set_bytes(path)).hexdigest() for path in self.sent}

    def move(self, *arguments: str, to: str = "WORKSTATION") -> dcmtk.Ran:
        return dcmtk.run(
            "movescu",
            "-v",
            "-S",
            "-aem",
            to,
            *self.node.peer,
            "-k",
            "QueryRetrieveLevel=STUDY",
            *(arguments or ("-k", f"StudyInstanceUID={STUDY}")),
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("retrieve")
    port = free_port()
    peers = {
        "WORKSTATION": {"host": "127.0.0.1", "port": port},
        "GONE": {"host": "127.0.0.1", "port": free_port()},
    }
    with running(folder / "node", HILUM_DICOM_PEERS=json.dumps(peers)) as node:
        made = Site(node, port, folder / "ct")
        assert dcmtk.storescu(node.peer, *made.sent).acknowledged == made.sent
        yield made


def test_move_to_a_workstation(site: Site, tmp_path: Path) -> None:
    with dcmtk.storescp(tmp_path, "WORKSTATION", port=site.workstation_port):
        moved = site.move()
    assert moved.status == 0
    assert {digest for _, digest in on_disk(tmp_path)} == site.digests
    assert f"Completed Suboperations      : {SLICES}" in moved.output or "Success" in moved.output


def test_move_of_nothing_is_a_success(site: Site) -> None:
    moved = site.move("-k", f"StudyInstanceUID={generated.uid('no such study')}")
    assert moved.status == 0
    assert "Success" in moved.output


def test_move_to_an_unknown_destination(site: Site) -> None:
    moved = site.move(to="NOBODY")
    assert "0xa801" in moved.output.lower() or "MoveDestinationUnknown" in moved.output


def test_move_to_a_destination_that_is_not_there(site: Site) -> None:
    moved = site.move(to="GONE")
    assert "OutOfResourcesSubOperations" in moved.output  # A702


def test_get(site: Site, tmp_path: Path) -> None:
    got = dcmtk.run(
        "getscu",
        "-v",
        "-S",
        "+B",
        "-od",
        tmp_path,
        *site.node.peer,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={STUDY}",
    )
    assert got.status == 0, got.output
    assert {digest for _, digest in on_disk(tmp_path)} == site.digests


def test_get_can_be_cancelled(site: Site, tmp_path: Path) -> None:
    got = dcmtk.run(
        "getscu",
        "-v",
        "-S",
        "--cancel",
        "3",
        "-od",
        tmp_path,
        *site.node.peer,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={STUDY}",
    )
    assert len(list(tmp_path.iterdir())) < SLICES
    assert "cancel" in got.output.lower()


def test_move_can_be_cancelled(site: Site, tmp_path: Path) -> None:
    # A second for each instance: the cancel overtakes them.
    slow = ("--sleep-after", "1")
    with dcmtk.storescp(tmp_path, "WORKSTATION", *slow, port=site.workstation_port):
        moved = site.move("--cancel", "2", "-k", f"StudyInstanceUID={STUDY}")
    assert "cancel" in moved.output.lower()
    assert 2 <= len(on_disk(tmp_path)) < SLICES
    assert {digest for _, digest in on_disk(tmp_path)} < site.digests


def test_every_stored_object_moves_in_some_transfer_syntax(site: Site, tmp_path: Path) -> None:
    for option, files in in_groups(all_files()).items():
        dcmtk.storescu(site.node.peer, "-R", option, *files)
    held = on_disk(site.node.data_dir / "objects")
    with dcmtk.storescp(tmp_path / "all", "WORKSTATION", port=site.workstation_port):
        for study in site.node.get_json("/api/dicom/studies?limit=1000")["data"]:
            moved = site.move("-k", f"StudyInstanceUID={study['studyInstanceUID']}")
            assert moved.status == 0, moved.output
    assert on_disk(tmp_path / "all") <= held
