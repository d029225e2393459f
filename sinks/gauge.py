"""A sink's metrics in one region, their labels bound once."""

from __future__ import annotations

from ops.metrics import Metrics
from schemas.topics import Region


class SinkMetrics:
    """What a sink tells of one region."""

    def __init__(self, metrics: Metrics, sink: str, region: Region) -> None:
        self._metrics = metrics
        self._labels = (sink, region.value)
        self._batch_events = metrics.sink_batch_events.labels(sink)
        self._batch_seconds = metrics.sink_batch_seconds.labels(sink)
        self._events = metrics.sink_events.labels(*self._labels)
        self._repeats = metrics.sink_repeats.labels(*self._labels)
        self._dead = metrics.sink_dead.labels(*self._labels)
        self._refilled = metrics.sink_refilled.labels(*self._labels)
        self._lag_records = metrics.sink_lag_records.labels(*self._labels)
        self._lag_seconds = metrics.sink_lag_seconds.labels(*self._labels)
        self._refilling = metrics.sink_refilling.labels(*self._labels)
        self._stopped = metrics.sink_stopped.labels(*self._labels)

    def took(self, events: int, *, repeats: int, dead: int, refilled: bool, seconds: float) -> None:
        """A transaction was committed."""
        self._events.inc(events)
        self._repeats.inc(repeats)
        self._dead.inc(dead)
        if refilled:
            self._refilled.inc(events)
        self._batch_events.observe(events)
        self._batch_seconds.observe(seconds)

    def gap(self, reason: str) -> None:
        """The topic did not go on where the sink stood."""
        self._metrics.sink_gaps.labels(*self._labels, reason).inc()

    def retried(self, error: str) -> None:
        """A batch is tried again."""
        self._metrics.sink_retries.labels(*self._labels, error).inc()

    def standing(self, *, lag: int, seconds: float, refilling: int, stopped: int) -> None:
        """How far this process's partitions are behind."""
        self._lag_records.set(lag)
        self._lag_seconds.set(seconds)
        self._refilling.set(refilling)
        self._stopped.set(stopped)
