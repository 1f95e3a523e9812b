"""``GET /metrics``: what happened here, for Prometheus.

Other rooms do not know of Prometheus. The composition root hands in functions that read
their counts, and they are called when somebody asks.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hilum.http.colleagues import Colleagues
from hilum.http.routes import route_name

# From a 304 to an upload of gigabytes.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """What this worker counts, and what is the same for all workers of the node.

    Parameters
    ----------
    colleagues
        The other workers, if there are any: their figures are shown as well.
    """

    def __init__(self, colleagues: Colleagues | None = None) -> None:
        self._colleagues = colleagues
        self._of_node = CollectorRegistry()
        self.registry = CollectorRegistry()
        """What this worker counts."""
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "hilum_http_request_duration_seconds",
            "HTTP requests, from their headers to the last byte of the answer",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def gauge(
        self, name: str, documentation: str, read: Callable[[], float], *, of_node: bool = False
    ) -> None:
        """Show what `read` returns as a value that rises and falls.

        Parameters
        ----------
        name, documentation
            As Prometheus shows them.
        read
            Called whenever somebody asks.
        of_node
            Every worker would read the same: shown once, and `read` may block.
        """
        registry = self._of_node if of_node else self.registry
        registry.register(_Read(GaugeMetricFamily, name, documentation, read))

    def counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Show what `read` returns as a count that only rises; its name gets ``_total``."""
        self.registry.register(_Read(CounterMetricFamily, name, documentation, read))

    def of_node(self, collector: Collector) -> None:
        """Show what every worker would collect alike, once; it is collected in a thread."""
        self._of_node.register(collector)

    def routes(self) -> list[web.RouteDef]:
        """Return the route to add to the application."""
        return [
            web.get("/metrics", self._show),
            # Where those look who watch an Orthanc; the names are the node's own.
            web.get("/tools/metrics-prometheus", self._show),
        ]

    def middleware(self) -> Middleware:
        """Return the middleware that times requests; place it outermost."""

        @web.middleware
        async def time_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = perf_counter()
            status = 500
            try:
                response = await handler(request)
                status = response.status
            except web.HTTPException as answer:
                status = answer.status
                raise
            finally:
                method = request.method if request.method in _METHODS else "other"
                duration = self._requests.labels(method, route_name(request), status)
                duration.observe(perf_counter() - began)
            return response

        return time_requests

    async def _show(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        counted = await self._colleagues.ask() if self._colleagues else self.registry
        # In a thread: what the functions read may lie on a disk.
        of_node = await asyncio.to_thread(generate_latest, self._of_node)
        return web.Response(body=of_node + generate_latest(counted), headers=headers)


class _Read(Collector):
    def __init__(
        self,
        family: type[GaugeMetricFamily] | type[CounterMetricFamily],
        name: str,
        documentation: str,
        read: Callable[[], float],
    ) -> None:
        self._family = family
        self._name = name
        self._documentation = documentation
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield self._family(self._name, self._documentation, value=self._read())
