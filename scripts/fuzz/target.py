"""What a target is: a name, what it is fed with, and a function that takes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from scripts.fuzz.mutations import Mutation, mutated


@dataclass(frozen=True)
class Target:
    """One entrance that strangers reach."""

    name: str
    entrance: str
    seeds: Callable[[], Sequence[bytes]]
    mutations: tuple[Mutation, ...]
    run: Callable[[bytes], None]
    """Feeds it; raises HilumError for a refusal, AssertionError for a broken promise."""

    def case(self, seed: int, number: int) -> bytes:
        """Return the input of one case: the same for the same seed, number and corpus."""
        random = Random(f"{seed}/{self.name}/{number}")
        return mutated(random, self.seeds(), self.mutations)


TARGETS: dict[str, Target] = {}


def target(
    name: str,
    entrance: str,
    seeds: Callable[[], Sequence[bytes]],
    mutations: tuple[Mutation, ...],
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Make a function known as a target."""

    def register(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[name] = Target(name, entrance, seeds, mutations, run)
        return run

    return register
