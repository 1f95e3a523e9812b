"""Runs cases: all of them, or those that are named."""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from scripts.chaos import (
    crowds,
    deletions,
    destinations,
    disks,
    freezes,
    giants,
    kills,
    receivers,
    senders,
)
from scripts.chaos.case import CASES, Case
from scripts.chaos.ground import ground
from scripts.chaos.mounts import NotPermitted

# Importing a room makes its cases known.
ROOMS = (kills, deletions, freezes, disks, senders, crowds, giants, receivers, destinations)


def main() -> int:
    """Run the cases, print a table row for each, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all without any")
    parser.add_argument("--workers", type=int, default=2, help="of each node, 2 unless told")
    parser.add_argument("--folder", type=Path, help="where to work; needs 20 GB for 'giants'")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - CASES.keys()
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    chosen = [case for name, case in CASES.items() if name in (arguments.cases or CASES)]
    verdicts = [_run(case, arguments.workers, arguments.folder) for case in chosen]
    return 0 if all(verdicts) else 1


def _run(case: Case, workers: int, folder: Path | None) -> bool:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hilum-chaos-", dir=folder) as scratch:
        try:
            with ground(Path(scratch), workers) as here:
                seen, kept = case.run(here), True
        except AssertionError:
            seen, kept = f"BROKEN: {traceback.format_exc()}", False
        except NotPermitted as refusal:
            seen, kept = f"skipped, mounting is not permitted: {refusal}", True
        seconds = time.monotonic() - started
        print(f"| {case.name} | {case.fault} | {seen} | {seconds:.0f} s |", flush=True)
        if not kept:
            for log in Path(scratch).glob("*.log"):
                print(log.read_text(errors="replace")[-4000:], flush=True)
    return kept


if __name__ == "__main__":
    sys.exit(main())
