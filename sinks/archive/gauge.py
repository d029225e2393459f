"""The archive sink's metrics in one region, their labels bound once."""

from __future__ import annotations

from ops.metrics import Metrics
from schemas.topics import Region


class ArchiveMetrics:
    """What the archive sink tells of one region."""

    def __init__(self, metrics: Metrics, region: Region) -> None:
        self._region = region.value
        self._events = metrics.archived_events.labels(region.value)
        self._seconds = metrics.archive_seconds.labels(region.value)
        self._conflicts = metrics.archive_conflicts.labels(region.value)
        self._refused = metrics.archive_refused.labels(region.value)
        self._waiting = metrics.archive_waiting.labels(region.value)
        self._retries = metrics.archive_retries

    def archived(self, events: int, seconds: float) -> None:
        """A part was written and recorded."""
        self._events.inc(events)
        self._seconds.observe(seconds)

    def conflict(self) -> None:
        """A part's name was taken by something else."""
        self._conflicts.inc()

    def refused(self) -> None:
        """What is stored is not what was marked."""
        self._refused.inc()

    def retried(self, error: str) -> None:
        """A part is tried again."""
        self._retries.labels(self._region, error).inc()

    def waiting(self, parts: int) -> None:
        """So many parts are known here and not yet archived."""
        self._waiting.set(parts)
