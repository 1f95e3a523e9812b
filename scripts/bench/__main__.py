"""``python -m scripts.bench``: runs the competitors in turn, and reports."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from scripts.bench import cases, drivers, report
from scripts.bench.data import Corpus, Sizes, write_corpus
from scripts.bench.floor import Floor
from scripts.bench.hilum_node import HilumNode
from scripts.bench.orthanc_node import (
    COMMAND_VARIABLE,
    PLUGIN_VARIABLE,
    OrthancNode,
    orthanc_command,
    orthanc_plugin,
)
from scripts.bench.peers import Node, Peer
from scripts.bench.report import Results

_DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "performance.md"
_PEERS: Final = ("hilum", "orthanc", "floor")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measures Hilum beside Orthanc and the shortest possible loop.",
        epilog=f"{COMMAND_VARIABLE} in the environment starts another Orthanc: a command line, "
        "to which the path of a configuration file is added. "
        f"{PLUGIN_VARIABLE} is the path of its DICOMweb plugin.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--count", type=int, default=300, help="instances a measurement of ingest")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(cases.GROUPS),
        metavar="GROUP,…",
        help=f"of {', '.join(cases.GROUPS)}",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: text.split(","),
        default=list(_PEERS),
        metavar="NAME,…",
        help=f"of {', '.join(_PEERS)}; the first is compared with the second",
    )
    parser.add_argument(
        "--folder", type=Path, default=None, help="where data goes meanwhile: the disk to measure"
    )
    parser.add_argument("--write", action="store_true", help=f"write {_DOCUMENT.name} as well")
    options = parser.parse_args()
    if unknown := set(options.only) - set(cases.GROUPS):
        parser.error(f"no such group: {', '.join(unknown)}")
    if unknown := set(options.peers) - set(_PEERS):
        parser.error(f"no such peer: {', '.join(unknown)}")
    return options


def _peers(names: list[str], console: Console) -> list[Peer]:
    peers: list[Peer] = []
    for name in names:
        if name == "hilum":
            peers.append(HilumNode())
        elif name == "floor":
            peers.append(Floor())
        elif (command := orthanc_command()) is not None:
            peers.append(OrthancNode(command))
            if orthanc_plugin() is None:
                console.print(f"Orthanc has no DICOMweb plugin: name it in {PLUGIN_VARIABLE}")
        else:
            console.print(f"No Orthanc: apt-get install orthanc, or name one in {COMMAND_VARIABLE}")
    return peers


def visit(
    peer: Peer, corpus: Corpus, folder: Path, receiver_port: int, only: list[str], results: Results
) -> None:
    """Start `peer` on an empty `folder`, measure it, stop it and remove what it stored."""
    folder.mkdir()
    try:
        peer.start(folder, receiver_port)
        cases.prepare(peer, corpus)
        if "ingest" in only:
            for figure in cases.ingest(peer, corpus):
                results.add(peer.name, figure)
            os.sync()
        for group, measure in cases.OF_NODES.items():
            if group not in only or not isinstance(peer, Node):
                continue
            if group not in cases.DICOM_WEB or peer.speaks_dicom_web:
                for figure in measure(peer, corpus):
                    results.add(peer.name, figure)
    finally:
        peer.stop()
        shutil.rmtree(folder)
        os.sync()


def main() -> None:
    """Run all rounds, print the tables, and write them if asked to."""
    # What is asked to end by whatever means must stop what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = _options()
    # In a file lines may be long.
    console = Console(width=None if sys.stdout.isatty() else 160)
    load_before = os.getloadavg()[0]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hilum-bench-", dir=options.folder) as scratch:
        root = Path(scratch)
        peers = _peers(options.peers, console)
        results = Results(
            [peer.name for peer in peers if isinstance(peer, Node)],
            next((peer.name for peer in peers if isinstance(peer, Floor)), None),
        )
        with console.status("writing what is sent") as status, drivers.receiver() as receiver_port:
            corpus = write_corpus(root / "send", Sizes.of(options.count))
            for round_number in range(1, options.rounds + 1):
                # Every other round backwards: nobody is always the one after the other.
                for peer in peers if round_number % 2 else reversed(peers):
                    status.update(f"round {round_number} of {options.rounds}: {peer.name}")
                    visit(peer, corpus, root / "run", receiver_port, options.only, results)
        text = report.markdown(results, report.about(sys.argv[1:], root, load_before))
    console.print(report.terminal_table(results))
    console.print(f"{time.monotonic() - start:.0f} s")
    print(f"\n{text}")
    if options.write:
        report.write_into(_DOCUMENT, text)


if __name__ == "__main__":
    main()
