"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run. A posting figure is the median of its windows."""

    windows: int = 3
    window_seconds: float = 12
    warm_up_seconds: float = 4
    visible_seconds: float = 20
    query_seconds: float = 60
    backlog: int = 500_000
    backlog_of_indexes: int = 200_000
    stored: int = 1_000_000


WHOLE = Plan()
QUICK = Plan(
    windows=1,
    window_seconds=2,
    warm_up_seconds=1,
    visible_seconds=3,
    query_seconds=10,
    backlog=60_000,
    backlog_of_indexes=40_000,
    stored=100_000,
)
