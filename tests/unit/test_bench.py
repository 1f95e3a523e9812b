"""The measuring itself: it runs, it compares as it says, it leaves nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum import __version__
from scripts.bench import processes, report
from scripts.bench.cases import GROUPS, Case, Figure
from scripts.bench.data import Sizes, write_corpus
from scripts.bench.report import Results
from tests import dcmtk
from tests.corpus import REPOSITORY
from tests.nodes import wait_until

_MARK = "HELD_BY_TEST"
_TINIEST = ("--count", "4", "--rounds", "1", "--peers", "hilum")


def marked(mark: str) -> list[int]:
    """Return the processes that were started, by whomever, below those with `mark`."""
    found: list[int] = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{_MARK}={mark}".encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


@contextlib.contextmanager
def bench(scratch: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench", "--folder", str(scratch), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, _MARK: str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def test_the_tiniest_run_measures_every_group_and_leaves_nothing(tmp_path: Path) -> None:
    with bench(tmp_path, *_TINIEST) as process:
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    headers = [line for line in lines if line.endswith(f"| Hilum {__version__} |")]
    assert len(headers) == len(GROUPS)
    values = [float(line.split(" | ")[1].rstrip(" |")) for line in lines if "," in line]
    assert len(values) >= 20
    assert sum(value > 0 for value in values) >= len(values) - 3  # CPU may be below a tick
    assert not list(tmp_path.iterdir())
    assert not marked(str(tmp_path))


def test_stopped_in_the_middle_it_stops_what_it_started(tmp_path: Path) -> None:
    with bench(tmp_path, *_TINIEST) as process:
        wait_until(lambda: list(tmp_path.glob("*/run/data/mongodb")), 60, "the node starts")
        assert len(marked(str(tmp_path))) > 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not marked(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_is_sent_is_sound_and_each_object_another(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, Sizes(4, 3, 2))
    batches = [
        *corpus.ingest.values(),
        corpus.slices,
        corpus.tiles,
        corpus.multi_frame,
        corpus.fresh,
    ]
    images = [image for batch in batches for image in batch.images]
    assert len({image.sop_uid for image in images}) == len(images)
    for batch in batches:
        paths = [path for folder in batch.folders for path in folder.iterdir()]
        assert sum(path.stat().st_size for path in paths) == batch.size_bytes
        dumped = {dcmtk.dump(path, "SOPInstanceUID")["SOPInstanceUID"] for path in paths}
        assert dumped == {image.sop_uid for image in batch.images}
    assert len(corpus.ingest["slices, 4 associations"].folders) == 4


RATE = Case("Ingest", "rate", "1/s")
COST = Case("Ingest", "cost", "ms", less_is_better=True)


@pytest.fixture
def results() -> Results:
    results = Results(["Ours", "Theirs"], "Limit")
    for ours, theirs, limit in ((30.0, 10.0, 60.0), (20.0, 20.0, 40.0), (10.0, 5.0, 20.0)):
        for case in (RATE, COST):
            results.add("Ours", Figure(case, ours))
            results.add("Theirs", Figure(case, theirs))
            results.add("Limit", Figure(case, limit))
    return results


def test_compares_medians_and_tells_least_and_most(results: Results) -> None:
    assert results.header == ["", "Ours", "Theirs", "better by", "Limit", "reached"]
    assert results.row(RATE) == [
        "rate, 1/s",
        "20 (10–30)",
        "10 (5–20)",
        "2.00 × (1–3)",
        "40 (20–60)",
        "50 % (0.5–0.5)",
    ]


def test_of_costs_the_smaller_is_the_better(results: Results) -> None:
    assert results.row(COST)[3] == "0.50 × (0.333–1)"


def test_what_only_some_can_do_is_not_compared(results: Results) -> None:
    alone = Case("PNG", "304", "1/s")
    results.add("Ours", Figure(alone, 5.0))
    assert results.row(alone)[1:] == ["5", "–", "–", "–", "–"]


def test_writes_between_the_marks_of_the_page_and_nowhere_else(
    results: Results, tmp_path: Path
) -> None:
    page = tmp_path / "performance.md"
    original = (REPOSITORY / "docs" / "performance.md").read_text()
    page.write_text(original)
    report.write_into(page, report.markdown(results, "About."))
    written = page.read_text()
    assert "| rate, 1/s | 20 (10–30) |" in written
    report.write_into(page, report.markdown(results, "About."))
    assert page.read_text() == written
    head, tail = original.split("\n## ")[0], original.rsplit("\n## ", 1)[1]
    assert written.startswith(head)
    assert written.endswith(tail)
    page.write_text("no marks")
    with pytest.raises(ValueError, match="lacks"):
        report.write_into(page, "text")


def test_counts_the_time_and_memory_of_children_too() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = list(processes.tree(process.pid))
        assert len(pids) == 2
        assert processes.cpu_seconds(process.pid) >= 0.3
        own = processes.memory_bytes(pids[1])
        assert own < processes.memory_bytes(process.pid) < 3 * own
        process.kill()
        os.kill(pids[1], signal.SIGKILL)
