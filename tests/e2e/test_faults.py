"""Faults in small: the cases of ``scripts/chaos``, each with figures that take seconds.

The verdicts are the cases' own: findscu, dcmdump, sha256sum and the kernel's books. What is
missing here takes a minute, or gigabytes, or stands in a test of its own.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.chaos import crowds, disks, freezes, senders
from scripts.chaos.ground import Ground, ground
from scripts.chaos.mounts import NotPermitted


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Ground]:
    with ground(tmp_path, workers=1) as made:
        yield made


def test_senders_that_stall_are_aborted_and_hold_nobody_up(here: Ground) -> None:
    senders.stalling(here, count=10)


def test_aborted_stores_leave_nothing(here: Ground) -> None:
    senders.aborting(here, count=120)


def test_lengths_that_lie_cost_the_liar_the_association(here: Ground) -> None:
    senders.lying(here, times=2)


def test_silent_connections_are_closed_and_hold_nobody_up(here: Ground) -> None:
    crowds.silent_connections(here, count=60)


def test_probes_leave_nothing(here: Ground) -> None:
    crowds.probes(here, count=500)


def test_many_associations_store_at_once(here: Ground) -> None:
    crowds.crowd(here, associations=50, each=2)


def test_a_frozen_mongod_is_no_concern_of_senders(here: Ground) -> None:
    freezes.freeze_mongod(here, seconds=2)


def test_a_frozen_node_goes_on_where_it_stood(here: Ground) -> None:
    freezes.freeze_node(here, seconds=2)


@pytest.mark.parametrize(
    "run",
    [disks.disk_full, disks.disk_reserve, disks.read_only_folder, disks.read_only_store],
    ids=lambda run: run.__name__,
)
def test_disks_that_take_nothing(here: Ground, run: Callable[[Ground], str]) -> None:
    try:
        run(here)
    except NotPermitted as refusal:
        pytest.skip(f"a disk of our own cannot be mounted: {refusal}")
