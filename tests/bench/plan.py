"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run. A posting figure is the median of its windows."""

    windows: int = 3
    idle_settle_seconds: float = 60
    idle_seconds: float = 30
    window_seconds: float = 12
    warm_up_seconds: float = 4
    visible_seconds: float = 20
    query_seconds: float = 60
    backlog: int = 500_000
    backlog_of_indexes: int = 200_000
    stored: int = 1_000_000
    deliveries: int = 60_000
    """Events of one run of webhooks."""
    due: int = 100_000
    """Deliveries that wait for the endpoint that is flooded."""
    delivered: int = 1_000_000
    archived: int = 1_000_000
    """Events of a company's day that is archived, exported and purged."""
    long_day: int = 5_000_000
    tails: int = 1_000
    crowd: int = 5_000
    """Tails of one process, at most."""


WHOLE = Plan()
QUICK = Plan(
    windows=1,
    idle_settle_seconds=20,
    idle_seconds=10,
    window_seconds=2,
    warm_up_seconds=1,
    visible_seconds=3,
    query_seconds=10,
    backlog=60_000,
    backlog_of_indexes=40_000,
    stored=100_000,
    deliveries=5_000,
    due=5_000,
    delivered=20_000,
    archived=60_000,
    long_day=100_000,
    tails=200,
    crowd=500,
)
