"""How fast a fresh node takes instances in: dcmtk's storescu against ``hilum serve``.

``make bench`` runs it; ``make bench BENCH_ARGS='--count 1000'`` with more instances.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from rich.console import Console
from rich.table import Table

from hilum.demo.studies import studies
from tests.nodes import RunningNode, running

STORESCU = "/usr/bin/storescu"


def write_instances(folder: Path, count: int) -> int:
    """Write `count` different CT instances; return the size of all of them in bytes."""
    slices: list[Dataset] = []
    for dataset in studies():
        if dataset.Modality != "CT":
            break
        slices.append(dataset)
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    size_bytes = 0
    for number in range(count):
        dataset = slices[number % len(slices)]
        dataset.StudyInstanceUID = study
        dataset.SeriesInstanceUID = series
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number + 1
        path = folder / f"{number:06}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        size_bytes += path.stat().st_size
    return size_bytes


def send(node: RunningNode, folders: list[Path], *, no_delay: bool) -> float:
    """Send each folder on an association of its own, all at once; return the seconds."""
    environment = os.environ | ({"TCP_NODELAY": "1"} if no_delay else {})

    def run(folder: Path) -> None:
        subprocess.run([STORESCU, "+sd", *node.peer, folder], check=True, env=environment)

    start = time.perf_counter()
    with ThreadPoolExecutor(len(folders)) as pool:
        list(pool.map(run, folders))
    return time.perf_counter() - start


def main() -> None:
    """Measure one and four associations, with and without Nagle's algorithm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="instances a measurement")
    count = parser.parse_args().count
    table = Table("Associations", "Sender", "Instances/s", "MB/s", "Seconds")
    for associations in (1, 4):
        for no_delay in (False, True):
            with tempfile.TemporaryDirectory(prefix="hilum-bench-") as scratch:
                root = Path(scratch)
                folders = [root / f"send-{i}" for i in range(associations)]
                size_bytes = sum(write_instances(f, count // associations) for f in folders)
                with running(root / "node") as node:
                    seconds = send(node, folders, no_delay=no_delay)
            table.add_row(
                str(associations),
                "storescu, TCP_NODELAY=1" if no_delay else "storescu",
                f"{count / seconds:.0f}",
                f"{size_bytes / seconds / 1e6:.0f}",
                f"{seconds:.2f}",
            )
    console = Console()
    console.print(
        f"{count} CT instances of 512 × 512, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, sender on the same machine"
    )
    console.print(table)


if __name__ == "__main__":
    main()
