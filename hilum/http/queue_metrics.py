"""The queue of deliveries in ``GET /metrics``."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hilum.core.errors import Temporary
from hilum.index.queued import State, Summary
from hilum.services.crossing import Crossing
from hilum.services.queue_view import QueueView

#: Whoever scrapes must get the other figures, if these do not come.
_PATIENCE_SECONDS: Final = 5.0


def _oldest_seconds(summary: Summary) -> float:
    oldest = summary.oldest_at
    return (datetime.now(UTC) - oldest).total_seconds() if oldest else 0


_FIGURES: Final[tuple[tuple[str, str, Callable[[Summary], float]], ...]] = (
    ("hilum_queue_waiting", "Deliveries that wait", lambda each: each.counts[State.WAITING]),
    ("hilum_queue_dead", "Deliveries that were given up", lambda each: each.counts[State.DEAD]),
    (
        "hilum_queue_oldest_seconds",
        "Since the first of those that wait was queued",
        _oldest_seconds,
    ),
)


class QueueFigures(Collector):
    """Counts of all subscriptions. Collected in a thread, never on the loop."""

    def __init__(self, queue: QueueView, crossing: Crossing) -> None:
        self._queue = queue
        self._crossing = crossing

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is cannot be collected where this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield what waits and what is dead; nothing while MongoDB is away."""
        try:
            summaries = self._crossing.call(self._queue.summaries(), _PATIENCE_SECONDS)
        except Temporary:
            return
        for name, documentation, read in _FIGURES:
            family = GaugeMetricFamily(name, documentation, labels=["subscription"])
            for summary in summaries:
                family.add_metric([summary.name], read(summary))
            yield family
