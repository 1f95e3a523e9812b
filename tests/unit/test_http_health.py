"""Health checks: bounded in time, honest about the reason."""

import asyncio

import pytest

from hilum.core.errors import IndexUnavailable
from hilum.http.health import Check


async def test_a_probe_that_returns_is_ok() -> None:
    async def probe() -> None:
        return

    assert await Check(probe).report() == {"status": "ok"}


async def test_a_probe_that_raises_tells_its_reason() -> None:
    async def probe() -> None:
        raise IndexUnavailable("MongoDB does not answer")

    assert await Check(probe).report() == {
        "status": "unavailable",
        "code": "index-unavailable",
        "reason": "MongoDB does not answer",
    }


async def test_a_probe_that_hangs_is_answered_in_time_and_not_started_again() -> None:
    started = 0
    release = asyncio.Event()

    async def probe() -> None:
        nonlocal started
        started += 1
        await release.wait()

    check = Check(probe, timeout_seconds=0.02)
    reports = await asyncio.gather(*(check.report() for _ in range(5)))
    assert {report["code"] for report in reports} == {"timeout"}
    assert (await check.report())["reason"] == "no answer within 0.02 s"
    assert started == 1
    release.set()
    assert await check.report() == {"status": "ok"}
    assert await check.report() == {"status": "ok"}
    assert started == 2


async def test_a_fault_in_a_probe_itself_is_not_taken_for_health() -> None:
    async def probe() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Check(probe).report()
