"""The verdict of every case: what was acknowledged is stored, whole, and found."""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from scripts.chaos.instances import data_set_digest
from scripts.chaos.programs import damaged_objects, findable, identities
from scripts.chaos.waiting import wait_until
from scripts.node import Node


def nothing_lost(
    node: Node, acknowledged: Iterable[Path], seconds: float = 60, *, compare: bool = True
) -> float:
    """Hold the node to what it acknowledged; return the seconds until all was indexed.

    That is when the spool is empty: before, queries need not find everything.

    Parameters
    ----------
    compare
        Whether to compare every byte of the data sets sent with those stored.

    Raises
    ------
    AssertionError
        Something is not found, not stored as it was sent, or damaged; or an unfinished
        file stays in the spool; or there is a traceback in the log.
    """
    files = list(acknowledged)
    started = time.monotonic()
    wait_until(lambda: not spooled(node), seconds, "the spool is empty")
    waited = time.monotonic() - started
    _find(node, files)
    if compare:
        kept = {data_set_digest(path) for path in stored(node)}
        missing = [path.name for path in files if data_set_digest(path) not in kept]
        assert not missing, f"acknowledged and not stored as sent: {missing}"
    damage = damaged_objects(node.data_dir)
    assert not damage, damage
    assert not node.tracebacks(), "the node was surprised, see its log"
    return waited


def _find(node: Node, files: Iterable[Path]) -> None:
    """See that queries give every one of `files`."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for identity in identities(files):
        key = (identity.study_instance_uid, identity.series_instance_uid)
        wanted.setdefault(key, set()).add(identity.sop_instance_uid)
    for (study, series), instances in wanted.items():
        missing = instances - findable(node, study, series)
        assert not missing, f"acknowledged and not found: {missing}"


def stored(node: Node) -> list[Path]:
    """Return the stored objects."""
    return [path for path in (node.data_dir / "objects").glob("??/??/*") if path.is_file()]


def spooled(node: Node) -> list[Path]:
    """Return what is in the spool, finished or not; without the empty files made ahead."""
    return [path for path, status in _spool(node) if status.st_size or not _is_slot(path, status)]


def unfinished(node: Node) -> list[Path]:
    """Return what is being received, or was and has been left lying."""
    return [
        path
        for path, status in _spool(node)
        if path.suffix == ".part" or (status.st_size and _is_slot(path, status))
    ]


def _spool(node: Node) -> Iterator[tuple[Path, os.stat_result]]:
    for path in (node.data_dir / "spool").rglob("[!.]*"):
        with suppress(FileNotFoundError):  # it went while the folder was read
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _is_slot(path: Path, status: os.stat_result) -> bool:
    """Whether a file was made ahead, and is not committed."""
    return path.suffix == ".slot" and bool(status.st_mode & 0o222)
