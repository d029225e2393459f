"""The arithmetic of the figures."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple


class Percentiles(NamedTuple):
    """In the unit of what they were taken of."""

    p50: float
    p99: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values: at least ``share`` of them are no larger. Raises ``ValueError`` when there are none."""
    if not ordered:
        raise ValueError("no values to take a percentile of")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentiles(values: Sequence[float]) -> Percentiles:
    """Median and 99th percentile. Raises as ``percentile``."""
    ordered = sorted(values)
    return Percentiles(percentile(ordered, 0.50), percentile(ordered, 0.99))


def middle(counts: Sequence[int], low: float = 0.1, high: float = 0.9) -> slice:
    """From the first sample of a rising count at ``low`` of its way to the first at ``high`` of it, both included.

    A drain's rate is taken there, so that neither the start of the worker nor the last, small chunks count.
    Raises ``ValueError`` when there are fewer than two such samples.
    """
    first, last = counts[0], counts[-1]
    begin = bisect_left(counts, first + low * (last - first))
    end = bisect_left(counts, first + high * (last - first))
    if begin >= end:
        raise ValueError("too few samples: the backlog is too small")
    return slice(begin, end + 1)
