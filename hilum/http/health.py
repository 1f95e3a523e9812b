"""Health: may traffic be sent here, and if not, why.

The node keeps accepting instances while MongoDB is away, yet answers 503: what it has
cannot be found meanwhile, and that is what whoever balances load must know.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from hilum.core.errors import HilumError
from hilum.http.answers import json_response

#: A probe of an orchestrator waits a few seconds; the reason must come before it gives up.
TIMEOUT_SECONDS: Final = 2.0

Probe = Callable[[], Awaitable[None]]


class Check:
    """One thing the node depends on.

    Parameters
    ----------
    probe
        Returns if all is well; raises `HilumError` with the reason if not.
    timeout_seconds
        How long an answer may wait for it.

    Notes
    -----
    A probe that hangs, as one of a dead network file system does, is left to hang and
    not started again: later requests wait for the same one.
    """

    def __init__(self, probe: Probe, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._probe = probe
        self._timeout_seconds = timeout_seconds
        self._running: asyncio.Task[None] | None = None

    async def report(self) -> dict[str, Any]:
        """Return ``{"status": "ok"}``, or ``unavailable`` with a code and a reason."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        probing = self._running
        await asyncio.wait([probing], timeout=self._timeout_seconds)
        if not probing.done():
            reason = f"no answer within {self._timeout_seconds:g} s"
            return {"status": "unavailable", "code": "timeout", "reason": reason}
        self._running = None
        try:
            probing.result()
        except HilumError as error:
            return {"status": "unavailable", "code": error.code, "reason": str(error)}
        return {"status": "ok"}

    async def _run(self) -> None:
        await self._probe()

    def cancel(self) -> None:
        """Give up a probe that is still running."""
        if self._running is not None:
            self._running.cancel()


class Health:
    """``GET /health`` and one route below it for each check.

    Parameters
    ----------
    checks
        By the name they have in the path: ``db``, ``storage``.
    about
        What the node says of itself beside its health: version, AE title, DICOM port.
    """

    def __init__(self, checks: Mapping[str, Check], about: Mapping[str, Any]) -> None:
        self._checks = checks
        self._about = about

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        single = [
            web.get(f"/health/{name}", self._single(check)) for name, check in self._checks.items()
        ]
        return [web.get("/health", self._all), *single]

    async def _all(self, _request: web.Request) -> web.Response:
        reports = await asyncio.gather(*(check.report() for check in self._checks.values()))
        healthy = all(report["status"] == "ok" for report in reports)
        body = {
            "status": "ok" if healthy else "unavailable",
            **self._about,
            "checks": dict(zip(self._checks, reports, strict=True)),
        }
        return _answer(body)

    @staticmethod
    def _single(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(_request: web.Request) -> web.Response:
            return _answer(await check.report())

        return handler

    async def close(self, _app: web.Application) -> None:
        """Give up probes that hang (`web.Application.on_cleanup`)."""
        for check in self._checks.values():
            check.cancel()


def _answer(body: dict[str, Any]) -> web.Response:
    status = 200 if body["status"] == "ok" else 503
    return json_response(body, status, {"Cache-Control": "no-store"})
