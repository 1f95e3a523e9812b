"""Failing inputs made small: what is not needed for the failure is taken out or blanked."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from scripts.fuzz.sandbox import Finding, Sandbox

_SMALLEST_STEP: Final = 1


def finding_of(run: Callable[[bytes], None], data: bytes) -> Finding | None:
    """Return what is wrong with one input, if anything is."""
    sandbox = Sandbox(run, lambda first: [] if first else [(0, data)])
    found = [finding for finding in sandbox.findings() if finding]
    return found[0] if found else None


def shrunk(run: Callable[[bytes], None], data: bytes, signature: str, seconds: float) -> bytes:
    """Return a smaller input with a finding of the same signature, as far as time allows."""
    deadline = time.monotonic() + seconds
    step = len(data) // 2
    while step >= _SMALLEST_STEP:
        for candidate in _candidates(data, step):
            if time.monotonic() > deadline:
                return data
            found = finding_of(run, candidate)
            if found and found.signature == signature:
                data = candidate
                break
        else:
            step //= 2
    return data


def _candidates(data: bytes, step: int) -> Iterator[bytes]:
    """Yield the data without each stretch of `step` bytes, then with it blanked."""
    for at in range(0, len(data), step):
        yield data[:at] + data[at + step :]
    for at in range(0, len(data), step):
        if data[at : at + step].strip(b"\0"):
            yield data[:at] + bytes(len(data[at : at + step])) + data[at + step :]
