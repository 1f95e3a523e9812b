"""A large study leaves over WADO-RS, and the node's memory does not notice."""

import hashlib
import http.client
import threading
from pathlib import Path

from tests import dcmtk, generated
from tests.e2e.test_large_object import large_multiframe
from tests.nodes import RunningNode, running

MEGABYTE = 1 << 20
SIZE = 256 * MEGABYTE
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax='


def digest_of(node: RunningNode, path: str, accept: str) -> tuple[int, str]:
    """Return how long an answer's body is, and its SHA-256, without holding it."""
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=60)
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    assert answer.status == 200
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(MEGABYTE))
    while count := answer.readinto(buffer):
        digest.update(buffer[:count])
        size += count
    connection.close()
    return size, digest.hexdigest()


def test_a_large_study_is_sent_in_bounded_memory(tmp_path: Path) -> None:
    source = large_multiframe(tmp_path / "large.dcm", SIZE)
    with running(tmp_path / "node") as node:
        assert dcmtk.storescu(node.peer, source).acknowledged == [source]
        [stored] = [p for p in (node.data_dir / "objects").rglob("*") if p.is_file()]
        instance = (
            f"/dicom-web/studies/{generated.uid('large')}/series/{generated.uid('large', 1)}"
            f"/instances/{generated.uid('large', 1, 1)}"
        )
        before = peak = node.rss_bytes()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, node.rss_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            single = digest_of(node, instance, "application/dicom; transfer-syntax=*")
            whole, _ = digest_of(node, instance, f"{DICOM}*")
            implicit, _ = digest_of(node, instance, f"{DICOM}1.2.840.10008.1.2")
            frames, _ = digest_of(node, f"{instance}/frames/1-128", "*/*")
        finally:
            done.set()
            watcher.join()
        assert single == (stored.stat().st_size, stored.name)  # its name is its SHA-256
        assert min(whole, implicit, frames) > SIZE
        assert peak - before < 64 * MEGABYTE, f"grew by {(peak - before) / MEGABYTE:.0f} MB"
