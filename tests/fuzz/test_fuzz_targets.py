"""Some cases of every target with every run of the tests: what takes hours is done by hand."""

import os
import signal

import pytest

from hilum.core.errors import Invalid
from scripts.fuzz import http_targets, imaging_targets
from scripts.fuzz.campaign import Campaign
from scripts.fuzz.mutations import flip_bits
from scripts.fuzz.shrink import finding_of, shrunk
from scripts.fuzz.target import TARGETS, Target

assert http_targets
assert imaging_targets

SECONDS = 60.0
#: About a second's worth of each.
CASES = {
    "archive": 5000,
    "frames": 800,
    "transcode": 60,
    "metadata": 150,
    "tags": 150,
    "overrides": 40,
    "helper": 60,
}


@pytest.mark.parametrize("name", TARGETS)
def test_cases_end_in_a_result_or_a_domain_error(name: str) -> None:
    campaign = Campaign(TARGETS[name], seed=20261122, seconds=SECONDS, cases=CASES.get(name, 300))
    campaign.run()
    assert not campaign.findings
    assert campaign.done == CASES.get(name, 300)
    assert campaign.results
    assert campaign.refusals or name == "accept"  # where what is malformed is left out


def dies(data: bytes) -> None:
    """Stand for a target with every fault there is."""
    if b"killed" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"error" in data:
        raise IndexError(len(data))
    if b"memory" in data:
        bytearray(2 << 30)
    if b"refused" in data:
        raise Invalid("as it should be")


BAD = Target("bad", "", lambda: (b"",), (flip_bits,), dies)


@pytest.mark.parametrize(
    ("data", "signature"),
    [
        (b"killed", "crash SIGKILL"),
        (b"error", "IndexError test_fuzz_targets.py:dies"),
        (b"memory", "memory test_fuzz_targets.py:dies"),
        (b"refused", None),
        (b"fine", None),
    ],
)
def test_a_sandbox_tells_what_is_wrong_with_an_input(data: bytes, signature: str | None) -> None:
    found = finding_of(BAD.run, data)
    assert (found.signature if found else None) == signature


def test_an_input_is_made_as_small_as_its_failure_allows() -> None:
    data = b"something " * 20 + b"error" + bytes(100)
    assert shrunk(BAD.run, data, "IndexError test_fuzz_targets.py:dies", 20) == b"error"


def test_cases_are_the_same_for_the_same_seed_and_number() -> None:
    target = TARGETS["header"]
    assert target.case(1, 5) == target.case(1, 5)
    assert len({target.case(seed, number) for seed in (1, 2) for number in range(10)}) > 15
