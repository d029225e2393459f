"""The dispatcher's metrics in one region, their labels bound once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ops.metrics import Metrics
from schemas.topics import Region
from schemas.webhooks import State
from sinks.webhooks.lanes import Lanes
from sinks.webhooks.model import Disabled, Result

_STATES = (State.SUCCEEDED, State.RETRYING, State.FAILED)


class WebhookMetrics:
    """What a dispatcher tells of one region."""

    def __init__(self, metrics: Metrics, region: Region) -> None:
        self._region = region.value
        self._metrics = metrics
        self._attempts = {state: metrics.webhook_attempts.labels(region.value, state.value) for state in _STATES}
        self._seconds = metrics.webhook_attempt_seconds.labels(region.value)
        self._under_way = metrics.webhook_in_flight.labels(region.value)
        self._waiting = metrics.webhook_waiting.labels(region.value)
        self._failing = metrics.webhook_failing_lanes.labels(region.value)
        self._due = metrics.webhook_due.labels(region.value)
        self._age = metrics.webhook_due_age.labels(region.value)
        self._interrupted = metrics.webhook_interrupted.labels(region.value)
        self._replayed = metrics.webhook_replayed.labels(region.value)

    def wrote(self, ended: Sequence[Result], *, lost: int, disabled: Iterable[Disabled]) -> None:
        """Attempts were recorded; of ``lost`` ones the lease had run out."""
        for result in ended:
            self._attempts[result.state].inc()
            if result.sent:
                self._seconds.observe(result.ended - result.began)
        if lost:
            self._metrics.webhook_lost.labels(self._region).inc(lost)
        for reason in disabled:
            self._metrics.webhook_disabled.labels(self._region, reason.value).inc()

    def lapsed(self, count: int) -> None:
        """Deliveries were claimed that another dispatcher died with."""
        self._interrupted.inc(count)

    def replayed(self, count: int) -> None:
        """Deliveries are to be made again."""
        self._replayed.inc(count)

    def retried(self, error: Exception) -> None:
        """Something is tried again."""
        self._metrics.webhook_retries.labels(self._region, type(error).__name__).inc()

    def standing(self, lanes: Lanes, *, late: float) -> None:
        """What this process has in hand, and how late the oldest delivery is that nobody has."""
        self._under_way.set(lanes.under_way)
        self._waiting.set(lanes.waiting)
        self._failing.set(lanes.failing)
        self._age.set(late)

    def backlog(self, count: int) -> None:
        """How many deliveries are to be made."""
        self._due.set(count)
