"""The outbox in ``GET /metrics``."""

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hilum.core.errors import Temporary
from hilum.index.outbox import Outbox
from hilum.services.crossing import Crossing

#: Whoever scrapes must get the other figures, if these do not come.
_PATIENCE_SECONDS = 5.0


class EventFigures(Collector):
    """How far the numbers of events have come. Collected in a thread, never on the loop."""

    def __init__(self, outbox: Outbox, crossing: Crossing) -> None:
        self._outbox = outbox
        self._crossing = crossing

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is cannot be collected where this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield what waits for a number, since when, and the last number."""
        try:
            pending, oldest = self._crossing.call(self._outbox.pending(), _PATIENCE_SECONDS)
            last = self._crossing.call(self._outbox.last(), _PATIENCE_SECONDS)
        except Temporary:
            return
        seconds = max(time.time() - oldest, 0) if oldest is not None else 0
        yield GaugeMetricFamily(
            "hilum_events_pending", "Events that have no number yet", value=pending
        )
        yield GaugeMetricFamily(
            "hilum_events_pending_seconds", "Since the first of those came", value=seconds
        )
        yield CounterMetricFamily(
            "hilum_events_sequence", "Number of the last event that can be read", value=last
        )
