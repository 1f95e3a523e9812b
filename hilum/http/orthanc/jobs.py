"""``/jobs``: what is done with other nodes, by whichever worker, and how far it is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from hilum.core.errors import Invalid, PeerRefused, PeerUnreachable
from hilum.http.orthanc.job_json import content_json, job_json
from hilum.http.orthanc.network_body import is_synchronous, member
from hilum.http.orthanc.styled import json_answer
from hilum.services.jobs import Jobs
from hilum.services.network import Network


class JobResources:
    """Answers for jobs."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/jobs", self._list),
            web.get("/jobs/{id}", self._one),
            web.delete("/jobs/{id}", self._forget),
            web.post("/jobs/{id}/cancel", self._changing(Jobs.cancel)),
            web.post("/jobs/{id}/pause", self._changing(Jobs.pause)),
            web.post("/jobs/{id}/resume", self._changing(Jobs.resume)),
            web.post("/jobs/{id}/resubmit", self._changing(Jobs.resubmit)),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        if "expand" in request.query:
            return json_answer([job_json(job) for job in await self._network.jobs.all()])
        return json_answer(await self._network.jobs.ids())

    async def _one(self, request: web.Request) -> web.Response:
        return json_answer(job_json(await self._network.jobs.one(request.match_info["id"])))

    async def _forget(self, request: web.Request) -> web.Response:
        await self._network.jobs.forget(request.match_info["id"])
        return web.Response(content_type="text/plain")

    def _changing(
        self, change: Callable[[Jobs, str], Awaitable[bool]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not await change(self._network.jobs, request.match_info["id"]):
                raise Invalid("no such job, or not in a state for this")
            return json_answer({})

        return handle


async def submitted(
    jobs: Jobs, kind: str, task: Mapping[str, Any], total: int, body: Mapping[str, Any]
) -> web.Response:
    """Have a job done, and answer as the client wants it: when it is over, or at once.

    Raises
    ------
    HilumError
        What it has failed with, if the client waits for it.
    """
    job = await jobs.submit(kind, task, total, member(body, "Priority", 0))
    if is_synchronous(body):
        try:
            return json_answer(content_json(await jobs.outcome(job.id)))
        except PeerRefused as error:
            # Of a job, Orthanc tells no more than that it has failed.
            raise PeerUnreachable(str(error)) from error
    return json_answer({"ID": job.id, "Path": f"/jobs/{job.id}"})
