"""storescu sends the whole corpus; what the node keeps is what was on the wire.

The wire itself is the oracle: dcmtk's storescp, keeping bits as received, is sent the same
files by the same program.
"""

import hashlib
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import dcmtk
from tests.corpus import all_files, real_files
from tests.nodes import RunningNode

pytestmark = pytest.mark.timeout(600)

Wire = Counter[tuple[str, str]]


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


def on_disk(folder: Path) -> Wire:
    """Transfer syntax and digest of the data set of every Part 10 file below a folder."""
    return Counter(
        (dcmtk.transfer_syntax(path), hashlib.sha256(dcmtk.data_set_bytes(path)).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    )


@pytest.fixture(scope="module")
def sent(
    shared_node: RunningNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], dict[str, str], Wire]]:
    """The corpus, sent to the node and to storescp: two lots of statuses, and the wire."""
    folder = tmp_path_factory.mktemp("storescp")
    to_node: dict[str, str] = {}
    to_storescp: dict[str, str] = {}
    with dcmtk.storescp(folder) as port:
        for option, files in in_groups(all_files()).items():
            to_node |= dcmtk.storescu(shared_node.peer, "-R", option, *files).statuses
            to_storescp |= dcmtk.storescu(("127.0.0.1", str(port)), "-R", option, *files).statuses
    return to_node, to_storescp, on_disk(folder)


def test_everything_a_plain_storage_scp_takes_is_stored(
    sent: tuple[dict[str, str], dict[str, str], Wire],
) -> None:
    to_node, to_storescp, _ = sent
    taken = {path for path, status in to_storescp.items() if status == "Success"}
    refused = {path: to_node[path] for path in taken if to_node[path] != "Success"}
    assert refused == {}
    assert len(taken) > 100


def test_data_sets_are_kept_byte_for_byte_as_they_were_on_the_wire(
    shared_node: RunningNode, sent: tuple[dict[str, str], dict[str, str], Wire]
) -> None:
    _, _, wire = sent
    kept = on_disk(shared_node.data_dir / "objects")
    # Two files with the same data set are one object: presence counts, not how often.
    assert set(wire) == set(kept)


def test_sha256sum_of_every_object_is_its_name(
    shared_node: RunningNode, sent: tuple[dict[str, str], dict[str, str], Wire]
) -> None:
    objects = [p for p in (shared_node.data_dir / "objects").rglob("*") if p.is_file()]
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
    # dcmtk proposes uncompressed transfer syntaxes here: compressed files stay with it.
    arguments = ("+sd", "-R", "+r")
    with dcmtk.storescp(tmp_path / "storescp") as port:
        theirs = dcmtk.storescu(("127.0.0.1", str(port)), *arguments, folder)
    ours = dcmtk.storescu(node.peer, *arguments, folder)
    assert set(ours.acknowledged) == set(theirs.acknowledged)
    assert len(ours.acknowledged) > 200
    assert set(on_disk(node.data_dir / "objects")) == set(on_disk(tmp_path / "storescp"))
