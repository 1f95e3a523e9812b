"""What a case is: a name, a fault, and a function that does it and says what was seen."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.chaos.ground import Ground


@dataclass(frozen=True)
class Case:
    """One fault that can be done again."""

    name: str
    fault: str
    run: Callable[[Ground], str]
    """Does it; returns what was seen, or raises AssertionError where a promise was broken."""


CASES: dict[str, Case] = {}


def case(name: str, fault: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Make a function known as a case; its defaults are the figures of a full run."""

    def register(run: Callable[..., str]) -> Callable[..., str]:
        CASES[name] = Case(name, fault, run)
        return run

    return register
