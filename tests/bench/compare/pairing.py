"""Paired windows of two builds: their order, the ratio of each pair, and whether the ratios show a difference."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

_Build = TypeVar("_Build")


class Better(StrEnum):
    """Which values of a metric are the better ones."""

    HIGHER = "higher"
    LOWER = "lower"


class Metric(NamedTuple):
    """A value that each window yields."""

    name: str
    unit: str
    better: Better = Better.LOWER
    is_detail: bool = False
    """Whether it only explains the metric before it, and has no row of its own."""


Window = Mapping[Metric, float]
"""What one window of one build yielded."""


class Verdict(StrEnum):
    """What the pairs of a metric show; with a question mark, the spread is wider than the difference."""

    BETTER = "better"
    WORSE = "worse"
    PERHAPS_BETTER = "better?"
    PERHAPS_WORSE = "worse?"
    WITHIN_SPREAD = "within spread"
    ONE_PAIR = "one pair"


class Pair(NamedTuple):
    """The values of two adjacent windows, one of each build."""

    this: float
    other: float

    @property
    def ratio(self) -> float:
        """``this / other``. Of two zeros it is 1."""
        if self.other:
            return self.this / self.other
        return float("inf") if self.this else 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of both builds, window by window."""

    metric: Metric
    pairs: tuple[Pair, ...]

    @property
    def this(self) -> float:
        """The median of this build's windows."""
        return statistics.median(pair.this for pair in self.pairs)

    @property
    def other(self) -> float:
        """The median of the other build's windows."""
        return statistics.median(pair.other for pair in self.pairs)

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(pair.ratio for pair in self.pairs)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest ratio of a pair."""
        ratios = [pair.ratio for pair in self.pairs]
        return min(ratios), max(ratios)

    @property
    def verdict(self) -> Verdict:
        """A difference is one that every pair shows in the same direction."""
        low, high = self.spread
        if len(self.pairs) == 1:
            return Verdict.ONE_PAIR
        if low <= 1 <= high:
            return Verdict.WITHIN_SPREAD
        is_clear = abs(self.ratio - 1) > high - low
        if (self.ratio > 1) == (self.metric.better is Better.HIGHER):
            return Verdict.BETTER if is_clear else Verdict.PERHAPS_BETTER
        return Verdict.WORSE if is_clear else Verdict.PERHAPS_WORSE


def alternate(this: _Build, other: _Build, rounds: int) -> list[tuple[_Build, _Build]]:
    """The order of the builds in each round: A B, B A, A B … A drift of the machine then favours neither."""
    return [(this, other) if number % 2 == 0 else (other, this) for number in range(rounds)]


def comparisons(this: Sequence[Window], other: Sequence[Window]) -> list[Comparison]:
    """One for each metric that every window has; windows are in their order. Raises ``ValueError`` when their numbers differ."""
    pairs = list(zip(this, other, strict=True))
    common = [metric for metric in this[0] if all(metric in window for window in (*this, *other))]
    return [Comparison(metric, tuple(Pair(ours[metric], theirs[metric]) for ours, theirs in pairs)) for metric in common]
