"""A 3 GB object goes through the node, and the node's memory does not notice."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests import dcmtk, generated
from tests.nodes import running

MEGABYTE = 1 << 20
SIZE = 3 << 30


def large_multiframe(path: Path, size_bytes: int) -> Path:
    """Write a native multi-frame whose pixels are a hole in the file."""
    side, frame_bytes = 1024, 1024 * 1024 * 2
    frames = size_bytes // frame_bytes
    data_set = generated.ct(
        study="large",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3",
        NumberOfFrames=frames,
        Rows=side,
        Columns=side,
    )
    data_set.PixelData = b""
    generated.save(data_set, path)
    with path.open("r+b") as file:
        file.seek(-4, 2)  # the length of the empty pixel data, last in the file
        assert file.read() == b"\0\0\0\0"
        file.seek(-4, 2)
        file.write((frames * frame_bytes).to_bytes(4, "little"))
        file.truncate(file.tell() + frames * frame_bytes)
    return path


@pytest.mark.timeout(600)
def test_receiving_three_gigabytes_costs_less_than_a_hundred_megabytes(tmp_path: Path) -> None:
    source = large_multiframe(tmp_path / "large.dcm", SIZE)
    with running(tmp_path / "node") as node:
        dcmtk.run("echoscu", *node.peer)
        before = node.rss_bytes()
        peak = before
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.05):
                peak = max(peak, node.rss_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            sent = dcmtk.storescu(node.peer, source, seconds=500)
        finally:
            done.set()
            watcher.join()
        assert sent.acknowledged == [source]
        assert peak - before < 100 * MEGABYTE, f"grew by {(peak - before) / MEGABYTE:.0f} MB"
        [stored] = [p for p in (node.data_dir / "objects").rglob("*") if p.is_file()]
        digest = subprocess.run(
            ["/usr/bin/sha256sum", stored], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        assert stored.name == digest
        # A frame in the middle answers without reading the gigabytes around it.
        study = generated.uid("large")
        read_before = node.read_bytes()
        picture = node.get(f"/api/dicom/studies/{study}/frames/777?center=0&width=100")
        assert picture.startswith(b"\x89PNG")
        assert node.read_bytes() - read_before < 16 * MEGABYTE
        assert node.rss_bytes() - before < 100 * MEGABYTE
