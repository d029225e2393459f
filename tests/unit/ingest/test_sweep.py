"""Old claims go, in small statements."""

from __future__ import annotations

import pytest
import structlog
from prometheus_client import CollectorRegistry

from ingest.sweep import Sweeper
from ops.metrics import Metrics
from schemas.topics import Region

NOW, DAY = 1_770_000_000_000_000, 86_400_000_000


class Clock:
    """Stands still."""

    def micros(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Database:
    """The ages of claims."""

    def __init__(self, received: list[int]) -> None:
        self.received = received
        self.statements: list[int] = []
        self.error: Exception | None = None

    async def sweep(self, before: int, limit: int) -> int:
        if self.error is not None:
            raise self.error
        old = [each for each in self.received if each < before][:limit]
        for each in old:
            self.received.remove(each)
        self.statements.append(len(old))
        return len(old)


async def test_claims_older_than_a_day_are_swept_a_thousand_at_a_time() -> None:
    database = Database([NOW - DAY - 1] * 1500 + [NOW - DAY, NOW])
    await Sweeper(Region.EU, database, Clock(), Metrics(CollectorRegistry())).sweep()
    assert database.received == [NOW - DAY, NOW]
    assert database.statements == [1000, 500]


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("key 'k' of acme")])
async def test_a_sweep_that_fails_is_counted_and_logged_by_its_kind_alone(error: Exception) -> None:
    """A time-out too: a table that no sweep gets through grows until the disk is full."""
    database, metrics = Database([NOW - DAY - 1]), Metrics(CollectorRegistry())
    database.error = error
    sweeper = Sweeper(Region.EU, database, Clock(), metrics)
    with structlog.testing.capture_logs() as lines:
        await sweeper.sweep()
    assert [(line["event"], line["region"], line["error"]) for line in lines] == [("sweep", "EU", type(error).__name__)]
    assert "acme" not in str(lines)
    assert metrics.failed_sweeps.labels("EU")._value.get() == 1
    database.error = None
    await sweeper.sweep()
    assert database.received == []
