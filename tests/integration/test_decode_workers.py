"""Helper processes: they may crash, hang or be killed, and nobody else notices."""

import asyncio
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from hilum.core.errors import Corrupt, HilumError, NotFound, Temporary, Unsupported
from hilum.core.instance import PixelData
from hilum.imaging.helper import LENGTH
from hilum.imaging.picture import draw, is_native
from hilum.imaging.render import Rendering
from hilum.imaging.workers import DecodeWorkers, _Helper
from tests.corpus import all_files, pydicom_files
from tests.nodes import wait_until
from tests.pictures import Source, source

#: How many damaged frames the hostile test draws; each is another seed.
DAMAGED_FRAMES = 250


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[DecodeWorkers]:
    pool = DecodeWorkers(processes=2, timeout_seconds=20)
    yield pool
    await pool.stop()


@pytest.fixture
def compressed(tmp_path: Path) -> Source:
    """A J2K file that comes with pydicom."""
    path = next(path for path in pydicom_files() if path.name == "examples_jpeg2k.dcm")
    found = source(path, tmp_path)
    assert found is not None
    return found


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def helpers(of: int | None = None) -> list[int]:
    """Process ids of the living helper processes of a process."""
    parent = of or os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                status = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if b"hilum.imaging.helper" in command and int(status[1]) == parent:
                found.append(int(entry.name))
    return found


# What helpers are made to do below, instead of decoding.


def pid() -> bytes:
    return str(os.getpid()).encode()


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(flag: Path) -> None:
    flag.touch()
    time.sleep(3600)


def once(flag: Path) -> bytes:
    """Hang the first time, be quick the second."""
    if not flag.exists():
        hang(flag)
    return b"second"


def large_answer() -> bytes:
    return bytes(10_000_000)


def take(seconds: float) -> None:
    time.sleep(seconds)


def print_noise() -> bytes:
    os.write(1, b"warning: from some codec\n")
    return b"result"


def take_memory() -> None:
    bytearray(64 << 30)


def fail() -> None:
    raise ZeroDivisionError("a bug")


def unsupported() -> None:
    raise Unsupported("a reason")


async def test_a_picture_is_that_of_the_same_function_here(
    workers: DecodeWorkers, compressed: Source
) -> None:
    rendering = Rendering(size=100)
    picture = await workers.picture(*compressed.arguments, 0, rendering)
    assert picture == draw(*compressed.arguments, 0, rendering)


async def test_helpers_are_started_when_needed_and_kept(workers: DecodeWorkers) -> None:
    assert helpers() == []
    first = await workers.call(pid)
    assert await workers.call(pid) == first
    await asyncio.gather(*(workers.call(pid) for _ in range(20)))
    assert 1 <= len(helpers()) <= 2


async def test_errors_come_back_as_what_they_were(
    workers: DecodeWorkers, compressed: Source, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match="a reason"):
        await workers.call(unsupported)
    path, pixel_data, syntax, offset = compressed.arguments
    with pytest.raises(NotFound):
        await workers.picture(path, pixel_data, syntax, offset, 99, Rendering())
    with pytest.raises(NotFound):
        await workers.picture(tmp_path / "gone", pixel_data, syntax, offset, 0, Rendering())
    with pytest.raises(Unsupported, match=r"1\.2\.840\.10008\.1\.2\.4\.100"):
        await workers.picture(path, pixel_data, "1.2.840.10008.1.2.4.100", offset, 0, Rendering())
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        await workers.call(fail)
    with pytest.raises(Unsupported, match="memory"):
        await workers.call(take_memory)
    assert len(helpers()) == 1, "an error is no reason to lose a helper"


async def test_a_codec_that_prints_does_not_disturb_the_answer(workers: DecodeWorkers) -> None:
    assert await workers.call(print_noise) == b"result"
    assert await workers.call(print_noise) == b"result"


async def test_a_crash_is_corrupt_and_hurts_nobody_else(
    workers: DecodeWorkers, compressed: Source
) -> None:
    crash, *pictures = await asyncio.gather(
        workers.call(die),
        *(workers.picture(*compressed.arguments, 0, Rendering()) for _ in range(6)),
        return_exceptions=True,
    )
    assert isinstance(crash, Corrupt)
    assert "Segmentation fault" in str(crash)
    assert pictures == [draw(*compressed.arguments, 0, Rendering())] * 6


async def test_a_helper_killed_in_the_middle_is_replaced_and_its_work_done_again(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    flag = tmp_path / "begun"
    work = asyncio.create_task(workers.call(once, flag))
    await until(flag.exists)
    (victim,) = helpers()
    os.kill(victim, signal.SIGKILL)
    assert await work == b"second"
    assert victim not in helpers()


async def test_a_helper_killed_while_idle_costs_nobody_an_error(workers: DecodeWorkers) -> None:
    victim = int(await workers.call(pid))
    os.kill(victim, signal.SIGKILL)
    assert int(await workers.call(pid)) != victim


async def test_work_that_takes_too_long_is_corrupt_and_ended(tmp_path: Path) -> None:
    workers = DecodeWorkers(processes=1, timeout_seconds=0.5)
    with pytest.raises(Corrupt, match=r"longer than 0\.5 s"):
        await workers.call(hang, tmp_path / "begun")
    assert helpers() == []
    assert await workers.call(pid, timeout_seconds=60)
    await workers.stop()


async def test_slow_work_and_long_queues_delay_nobody_else(
    workers: DecodeWorkers, tmp_path: Path
) -> None:
    """Two helpers; two series whose frames hang, and one with a long queue of quick ones."""
    flags = [tmp_path / f"{owner}-{number}" for owner in "AB" for number in range(2)]
    stuck = [asyncio.create_task(workers.call(hang, flag, owner=flag.name[0])) for flag in flags]
    stuck += [asyncio.create_task(workers.call(hang, tmp_path / "no", owner=o)) for o in "AABB"]
    await until(lambda: all(flag.exists() for flag in flags))
    queue = [asyncio.create_task(workers.call(take, 0.05, owner="C")) for _ in range(200)]
    for _ in range(5):
        await workers.call(pid, owner="D")
    # However slow the machine is: what hangs still does, and most of the queue still waits.
    assert not any(task.done() for task in stuck)
    assert sum(task.done() for task in queue) < len(queue) / 2
    assert not (tmp_path / "no").exists(), "an owner has as much in hand as there are helpers"
    assert len(helpers()) == 6
    for task in (*stuck, *queue):
        task.cancel()
    await asyncio.gather(*stuck, *queue, return_exceptions=True)


async def test_helpers_for_slow_work_are_not_kept(workers: DecodeWorkers) -> None:
    await asyncio.gather(*(workers.call(take, 0.8, owner=str(n)) for n in range(5)))
    await asyncio.gather(*(workers.call(pid, owner=str(n)) for n in range(5)))
    assert len(helpers()) <= 2


async def test_a_caller_that_goes_away_leaves_a_usable_pool(
    workers: DecodeWorkers, compressed: Source
) -> None:
    """As a viewer does that scrolls on."""
    tasks = [
        asyncio.create_task(workers.picture(*compressed.arguments, 0, Rendering()))
        for _ in range(20)
    ]
    await until(lambda: bool(helpers()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    assert await workers.picture(*compressed.arguments, 0, Rendering())


async def test_an_answer_that_nobody_takes_does_not_keep_a_helper_from_ending() -> None:
    """As when the node is stopped, or the time is up, while a large picture comes in."""
    helper = await _Helper.start()
    request = pickle.dumps((large_answer, ()))
    helper._requests.writelines((LENGTH.pack(len(request)), request))
    # More than asyncio reads ahead: from now on it has stopped reading.
    await until(lambda: len(helper._answers._buffer) > 2 * 65536)
    async with asyncio.timeout(20):
        await helper.end()
    assert helpers() == []


async def test_stopping_ends_helpers_and_refuses_work(tmp_path: Path) -> None:
    workers = DecodeWorkers(processes=1)
    flag = tmp_path / "begun"
    busy = asyncio.create_task(workers.call(hang, flag))
    queued = asyncio.create_task(workers.call(pid))
    await until(flag.exists)
    await workers.stop()
    assert helpers() == []
    for task in (busy, queued):
        with pytest.raises(Temporary):
            await task
    with pytest.raises(Temporary):
        await workers.call(pid)
    await workers.stop()


async def test_signals_of_the_terminal_are_left_to_the_node(workers: DecodeWorkers) -> None:
    helper = int(await workers.call(pid))
    os.kill(helper, signal.SIGINT)
    os.kill(helper, signal.SIGTERM)
    assert int(await workers.call(pid)) == helper
    assert os.getpgid(helper) != os.getpgid(0)


NODE = """
import asyncio, sys
from pathlib import Path
from hilum.imaging.workers import DecodeWorkers
from tests.integration.test_decode_workers import hang, pid

async def main():
    workers = DecodeWorkers(processes=2)
    busy = asyncio.create_task(workers.call(hang, Path(sys.argv[1])))
    print((await workers.call(pid)).decode(), flush=True)
    await busy

asyncio.run(main())
"""


def test_helpers_die_with_a_node_that_is_killed(tmp_path: Path) -> None:
    flag = tmp_path / "begun"
    repository = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(flag)], cwd=repository, stdout=subprocess.PIPE
    ) as node:
        assert node.stdout is not None
        idle = int(node.stdout.readline())
        wait_until(flag.exists)
        orphans = helpers(node.pid)
        assert idle in orphans
        assert len(orphans) == 2
        node.kill()
        node.wait()
        wait_until(lambda: not any(_lives(pid) for pid in orphans))


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def compressed_files(folder: Path) -> list[Source]:
    """One small file of every compressed transfer syntax and photometric interpretation."""
    kinds: dict[tuple[str, str], Source] = {}
    for path in all_files():
        if path.stat().st_size > 400_000:
            continue
        found = source(path, folder)
        if found is None or is_native(found.transfer_syntax_uid):
            continue
        try:
            photometric = found.description().photometric_interpretation
            draw(*found.arguments, 0, Rendering())
        except HilumError:
            continue
        kinds.setdefault((found.transfer_syntax_uid, photometric), found)
    return list(kinds.values())


def damaged(found: Source, seed: int, folder: Path) -> Source:
    """A copy of a file with bytes of its frames' code streams flipped, or cut off."""
    chance = random.Random(seed)
    data = bytearray(found.path.read_bytes())
    begin = found.pixel_data.offset + 16
    end = begin + found.pixel_data.length - 16
    # The markers at its beginning steer a codec, the rest only feeds it.
    reach = min(end, begin + chance.choice([40, 700, end - begin]))
    for _ in range(chance.choice([1, 3, 20])):
        data[chance.randrange(begin, reach)] = chance.randrange(256)
    path = folder / f"damaged-{seed}.dcm"
    path.write_bytes(data)
    return replace(found, path=path)


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_damaged_frames_give_a_picture_or_a_domain_error(tmp_path: Path) -> None:
    kinds = compressed_files(tmp_path)
    assert len(kinds) >= 6
    workers = DecodeWorkers(processes=2, timeout_seconds=10)
    outcomes: dict[str, int] = {}

    async def attempt(seed: int) -> None:
        victim = damaged(kinds[seed % len(kinds)], seed, tmp_path)
        try:
            picture = await workers.picture(*victim.arguments, 0, Rendering())
            assert picture.startswith(b"\x89PNG")
            outcome = "picture"
        except HilumError as error:
            outcome = type(error).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        victim.path.unlink()

    await asyncio.gather(*(attempt(seed) for seed in range(DAMAGED_FRAMES)))
    await workers.stop()
    assert sum(outcomes.values()) == DAMAGED_FRAMES
    assert outcomes.keys() <= {"picture", "Corrupt", "Unsupported"}
    assert outcomes["Corrupt"] > DAMAGED_FRAMES // 10


async def test_offsets_that_lead_nowhere_are_corrupt(
    workers: DecodeWorkers, compressed: Source
) -> None:
    path, pixel_data, syntax, offset = compressed.arguments
    nowhere = PixelData(
        pixel_data.tag,
        pixel_data.offset,
        pixel_data.length,
        1,
        b"".join(value.to_bytes(8, "little") for value in (1 << 40, (1 << 40) + 100)),
    )
    with pytest.raises(Corrupt):
        await workers.picture(path, nowhere, syntax, offset, 0, Rendering())
