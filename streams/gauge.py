"""A partition's metrics, their labels bound once: finding a child by its labels costs 1 µs each time."""

from __future__ import annotations

from ops.metrics import Metrics
from schemas.topics import Region


class StreamMetrics:
    """The chain worker's counters for one region."""

    def __init__(self, metrics: Metrics, region: Region) -> None:
        name = region.value
        self._metrics = metrics
        self._region = name
        self.chained = metrics.chained.labels(name)
        self.announced = metrics.announced.labels(name)
        self.reannounced = metrics.reannounced.labels(name)
        self.repeats = metrics.repeats.labels(name)
        self.aliased = metrics.aliased.labels(name)
        self.gaps = metrics.gaps.labels(name)
        self.halvings = metrics.halvings.labels(name)
        self.blockers = metrics.blockers_terminated.labels(name)
        self.chain_seconds = metrics.chunk_seconds.labels("chain")
        self.copy_seconds = metrics.chunk_seconds.labels("copy")
        self.commit_seconds = metrics.chunk_seconds.labels("commit")
        self.announce_seconds = metrics.chunk_seconds.labels("announce")

    def persisted(self, events: int, size: int) -> None:
        """A chunk was committed."""
        self.chained.inc(events)
        self._metrics.chunk_events.observe(events)
        self._metrics.chunk_bytes.observe(size)

    def rejected(self, reason: str) -> None:
        """An event could not be stored."""
        self._metrics.rejected.labels(self._region, reason).inc()

    def retried(self, kind: str) -> None:
        """A chunk is tried again."""
        self._metrics.retries.labels(self._region, kind).inc()

    def standing(self, partition: int, lag: int, seconds: float, parked: bool) -> None:
        """How far a partition is behind its topic."""
        labels = (self._region, str(partition))
        self._metrics.lag_offsets.labels(*labels).set(lag)
        self._metrics.lag_seconds.labels(*labels).set(seconds)
        self._metrics.parked.labels(*labels).set(parked)
