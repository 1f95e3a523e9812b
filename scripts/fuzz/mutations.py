"""Changes to bytes of any kind: what goes wrong on disks, on wires and in hands."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

#: Changes the bytes in place.
Mutation: TypeAlias = Callable[[Random, bytearray], None]

#: Numbers at which lengths and counts go wrong.
EDGES: Final = (
    *(0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 63, 64, 127, 128, 255, 256, 257),
    *(0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0xFFFFFF),
    *(0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF),
)
_LARGEST_BYTES: Final = 4 << 20


def flip_bits(random: Random, data: bytearray) -> None:
    """Turn up to eight bits over."""
    for _ in range(random.randint(1, 8)):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def overwrite(random: Random, data: bytearray) -> None:
    """Write a few bytes of chance, or of one kind, over what is there."""
    at, size = random.randrange(len(data) + 1), random.choice((1, 2, 4, 8, 64))
    filling = random.choice((b"\0", b"\xff", b"\x80", b" ", b"\\", random.randbytes(1)))
    patch = random.choice((random.randbytes(size), filling * size))
    data[at : at + size] = patch


def write_number(random: Random, data: bytearray) -> None:
    """Write a number at an edge, of any width and byte order."""
    width = random.choice((1, 2, 4, 8))
    number = random.choice(EDGES) % (1 << 8 * width)
    at = random.randrange(len(data) + 1)
    data[at : at + width] = number.to_bytes(width, random.choice(("little", "big")))


def truncate(random: Random, data: bytearray) -> None:
    """Cut the end off."""
    del data[random.randrange(len(data) + 1) :]


def cut(random: Random, data: bytearray) -> None:
    """Take a stretch out."""
    at = random.randrange(len(data) + 1)
    del data[at : at + random.choice((1, 2, 7, 8, 64, 1000))]


def insert(random: Random, data: bytearray) -> None:
    """Put bytes of chance, or many of one kind, between."""
    at = random.randrange(len(data) + 1)
    size = random.choice((1, 2, 8, 64, 5000))
    data[at:at] = random.choice((random.randbytes(size), bytes(size), b"\xff" * size))


def repeat(random: Random, data: bytearray) -> None:
    """Repeat a stretch, up to a thousand times."""
    at, size = random.randrange(len(data) + 1), random.choice((1, 8, 12, 100, 1000))
    times = random.choice((1, 2, 10, 1000))
    data[at:at] = (bytes(data[at : at + size]) * times)[:_LARGEST_BYTES]


ANYWHERE: Final[tuple[Mutation, ...]] = (
    flip_bits,
    overwrite,
    write_number,
    truncate,
    cut,
    insert,
    repeat,
)


def splice(random: Random, first: bytes, second: bytes) -> bytes:
    """Return the beginning of one and the end of the other."""
    return first[: random.randrange(len(first) + 1)] + second[random.randrange(len(second) + 1) :]


def mutated(random: Random, seeds: Sequence[bytes], mutations: Sequence[Mutation]) -> bytes:
    """Return one of the seeds, or two of them spliced, after one to six changes."""
    seed = random.choice(seeds)
    if random.random() < 0.05:
        seed = splice(random, seed, random.choice(seeds))
    data = bytearray(seed)
    for _ in range(random.choice((1, 1, 2, 2, 3, 6))):
        random.choice(mutations)(random, data)
    return bytes(data[:_LARGEST_BYTES])
