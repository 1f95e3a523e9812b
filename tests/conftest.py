"""Fixtures of the whole suite, and the check that its real parts are installed."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.nodes import RunningNode, running

#: Programs the tests drive, and the Debian package each comes in.
PROGRAMS = {
    "/usr/bin/storescu": "dcmtk",
    "/usr/bin/findscu": "dcmtk",
    "/usr/bin/movescu": "dcmtk",
    "/usr/bin/getscu": "dcmtk",
    "/usr/bin/dcmdump": "dcmtk",
    "/usr/bin/chromium": "chromium",
}

# Hundreds of processes are started from here: they are not to compile the package each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says more of the machine's other work than of what is tested.
settings.register_profile("hilum", deadline=None)
settings.load_profile("hilum")


def pytest_sessionstart() -> None:
    missing = {p: package for p, package in PROGRAMS.items() if not os.access(p, os.X_OK)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        pytest.exit(
            f"missing {', '.join(missing)}; install them with: apt-get install {packages}",
            returncode=3,
        )


@pytest.fixture
def running_node(tmp_path: Path) -> Iterator[RunningNode]:
    """A node of the test's own, with an empty data folder."""
    with running(tmp_path / "node") as node:
        yield node


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for the tests of a module that do not mind each other's studies."""
    with running(tmp_path_factory.mktemp("shared") / "node") as node:
        yield node


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """Start nodes with settings of the test's choosing; all are stopped at its end."""
    nodes: list[RunningNode] = []

    def start(name: str = "node", **settings: str) -> RunningNode:
        node = RunningNode(tmp_path / name, settings)
        nodes.append(node)
        return node.start()

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Undo afterwards what a test has the logging of this process configured to."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("pynetdicom", "pydicom", "aiohttp.access", "pymongo", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
        logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
