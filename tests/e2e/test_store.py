"""storescu sends the whole corpus; what the node keeps is what was on the wire.

A tap on the wire says what was sent, dcmtk's own storage SCP what a storage SCP takes.
"""

import hashlib
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import dcmtk
from tests.corpus import all_files, real_files
from tests.nodes import RunningNode
from tests.wiretap import Wiretap, tapped

pytestmark = pytest.mark.timeout(600)


@dataclass
class Traffic:
    """What storescu sent to the node, what it was told, and what dcmtk's own SCP said."""

    ours: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)
    wire: set[tuple[str, str]] = field(default_factory=set)


def in_groups(files: tuple[Path, ...]) -> dict[str, list[Path]]:
    """Group files by the storescu option that proposes their transfer syntax."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        try:
            uid = dcmtk.transfer_syntax(path)
        except Exception:  # noqa: BLE001  # whatever pydicom makes of broken files
            uid = ""
        groups[dcmtk.PROPOSALS.get(uid, "-x=")].append(path)
    return groups


def on_disk(folder: Path) -> set[tuple[str, str]]:
    """Transfer syntax and digest of the data set of every Part 10 file below a folder."""
    return {
        (dcmtk.transfer_syntax(path), hashlib.sha256(dcmtk.data_set_bytes(path)).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".json"
    }


def on_the_wire(tap: Wiretap) -> set[tuple[str, str]]:
    return {(uid, hashlib.sha256(data).hexdigest()) for uid, data in tap.data_sets()}


@pytest.fixture(scope="module")
def traffic(shared_node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    made = Traffic()
    with (
        dcmtk.storescp(tmp_path_factory.mktemp("storescp")) as port,
        tapped(shared_node.dicom_port) as tap,
    ):
        for option, files in in_groups(all_files()).items():
            ours = ("-aec", shared_node.aet, "127.0.0.1", str(tap.port))
            made.ours |= dcmtk.storescu(ours, "-R", option, *files).statuses
            theirs = ("127.0.0.1", str(port))
            made.theirs |= dcmtk.storescu(theirs, "-R", option, *files).statuses
        made.wire = on_the_wire(tap)
    return made


def is_identified(path: str) -> bool:
    """Whether dcmdump finds all the identifiers an instance must have (PS3.3 C.7, C.12.1)."""
    keys = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    found = dcmtk.dump(Path(path), *keys)
    return all(found.get(key) for key in keys)


def test_everything_conformant_is_stored_and_nothing_else(traffic: Traffic) -> None:
    taken = {path for path, status in traffic.theirs.items() if status == "Success"}
    stored = {path for path, status in traffic.ours.items() if status == "Success"}
    refused = {path: status for path, status in traffic.ours.items() if path in taken - stored}
    assert stored == {path for path in taken if is_identified(path)}
    assert set(refused.values()) <= {"Error: CannotUnderstand"}
    assert len(stored) > 100


def test_data_sets_are_kept_byte_for_byte_as_they_were_on_the_wire(
    shared_node: RunningNode, traffic: Traffic
) -> None:
    stored = on_disk(shared_node.data_dir / "objects")
    refused = traffic.wire - stored
    assert stored <= traffic.wire
    # What was refused is not thrown away either.
    assert on_disk(shared_node.data_dir / "quarantine") == refused


def test_sha256sum_of_every_object_is_its_name(shared_node: RunningNode, traffic: Traffic) -> None:
    objects = [p for p in (shared_node.data_dir / "objects").rglob("*") if p.is_file()]
    assert len(objects) > 100
    assert traffic.wire
    printed = subprocess.run(
        ["/usr/bin/sha256sum", *objects], capture_output=True, text=True, check=True
    ).stdout
    for line in printed.splitlines():
        digest, path = line.split()
        assert Path(path).name == digest
        assert Path(path).parts[-3:-1] == (digest[:2], digest[2:4])
        assert Path(path).stat().st_mode & 0o222 == 0


def test_scanning_the_folder_as_a_technician_would(launch, tmp_path: Path) -> None:
    files = real_files()
    if not files:
        pytest.skip("the real images are not beside this clone")
    node = launch()
    folder = files[0].parents[1]
    arguments = ("+sd", "-R", "+r")
    with dcmtk.storescp(tmp_path) as port:
        theirs = dcmtk.storescu(("127.0.0.1", str(port)), *arguments, folder)
    with tapped(node.dicom_port) as tap:
        ours = dcmtk.storescu(("127.0.0.1", str(tap.port)), *arguments, folder)
        wire = on_the_wire(tap)
    # storescu proposes no compression here: compressed files stay with it, by its own choice.
    assert set(ours.acknowledged) == set(theirs.acknowledged)
    assert len(ours.acknowledged) > 200
    assert on_disk(node.data_dir / "objects") == wire
