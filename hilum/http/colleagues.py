"""What all workers of a node have counted, whichever of them is asked.

A scrape reaches one worker, the one that happened to accept the connection. Each worker
therefore tells its figures to whoever connects to its socket, an abstract one that leaves
nothing behind on disk, and the one that was asked puts them together, each under the label
``worker``. Figures that only rise are not added up: a worker that starts anew starts from
zero, and only a series of its own lets Prometheus see that.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

#: A worker that is too busy to answer must not cost the figures of the others.
_PATIENCE_SECONDS: Final = 2.0

Told = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]


class Colleagues:
    """The workers of one node, to one another.

    Parameters
    ----------
    channel
        A name that this node alone has on the machine.
    number
        Which of the workers this one is, from 0.
    count
        How many there are.
    """

    def __init__(self, channel: str, number: int, count: int) -> None:
        self._channel = channel
        self._number = number
        self._count = count
        self._server: asyncio.Server | None = None

    async def start(self, collector: Collector) -> None:
        """Tell what `collector` collects to whoever asks."""

        async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                writer.write(json.dumps(_as_told(collector.collect())).encode())
                await writer.drain()
            writer.close()

        self._server = await asyncio.start_unix_server(tell, self._address(self._number))

    def stop(self) -> None:
        """Tell no more."""
        if self._server is not None:
            self._server.close()

    async def ask(self) -> Collector:
        """Return what all workers have counted; those that do not answer are left out."""
        numbers = range(self._count)
        return _Pooled(await asyncio.gather(*map(self._ask, numbers)))

    async def _ask(self, number: int) -> Told | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._address(number))
                try:
                    told: Told = json.loads(await reader.read())
                finally:
                    writer.close()
        except (OSError, ValueError):  # dead, dying, or not yet born; TimeoutError is an OSError
            return None
        return told

    def _address(self, number: int) -> str:
        return f"\0{self._channel}-{number}"


def _as_told(metrics: Iterable[Metric]) -> Any:
    return [
        (
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in metrics
    ]


class _Pooled(Collector):
    def __init__(self, told: Iterable[Told | None]) -> None:
        self._told = list(told)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        answering = Metric("hilum_workers", "Workers that answer", "gauge")
        answering.add_sample(answering.name, {}, sum(each is not None for each in self._told))
        for number, told in enumerate(self._told):
            for name, documentation, kind, samples in told or ():
                family = families.setdefault(name, Metric(name, documentation, kind))
                for sample, labels, value in samples:
                    family.add_sample(sample, {**labels, "worker": str(number)}, value)
        return [answering, *families.values()]
