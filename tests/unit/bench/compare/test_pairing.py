"""Pairs of windows: a slip here would call a slower build the faster one."""

from __future__ import annotations

import pytest

from tests.bench.compare.pairing import Better, Comparison, Metric, Pair, Verdict, alternate, comparisons

RATE = Metric("accepted", "/s", Better.HIGHER)
LATENCY = Metric("p99", "ms")


def compared(metric: Metric, *ratios: float) -> Comparison:
    return Comparison(metric, tuple(Pair(100 * ratio, 100) for ratio in ratios))


def test_each_build_goes_first_in_every_other_round() -> None:
    assert alternate("A", "B", 4) == [("A", "B"), ("B", "A"), ("A", "B"), ("B", "A")]


def test_a_steady_drift_of_the_machine_cancels_out() -> None:
    at = iter(range(100, 108))  # each window is one faster than the one before
    taken: dict[str, list[float]] = {"A": [], "B": []}
    for order in alternate("A", "B", 4):
        for build in order:
            taken[build].append(next(at))
    assert sum(taken["A"]) == sum(taken["B"])


def test_the_ratio_is_the_median_of_the_pairs_and_the_spread_their_ends() -> None:
    found = compared(RATE, 0.9, 1.3, 1.0)
    assert (found.this, found.other) == (100, 100)
    assert found.ratio == 1.0
    assert found.spread == (0.9, 1.3)


def test_a_drift_between_pairs_is_no_spread() -> None:
    found = Comparison(RATE, (Pair(110, 100), Pair(55, 50), Pair(220, 200)))
    assert found.spread == pytest.approx((1.1, 1.1))


@pytest.mark.parametrize(
    ("metric", "ratios", "verdict"),
    [
        (RATE, (1.1, 1.07), Verdict.BETTER),
        (RATE, (0.9, 0.94), Verdict.WORSE),
        (LATENCY, (1.1, 1.07), Verdict.WORSE),
        (LATENCY, (0.9, 0.94), Verdict.BETTER),
        (RATE, (1.1, 1.01), Verdict.PERHAPS_BETTER),
        (RATE, (0.5, 0.99), Verdict.PERHAPS_WORSE),
        (LATENCY, (1.1, 1.01), Verdict.PERHAPS_WORSE),
        (LATENCY, (0.5, 0.99), Verdict.PERHAPS_BETTER),
        (RATE, (0.99, 1.4), Verdict.WITHIN_SPREAD),
        (RATE, (1.0, 1.4), Verdict.WITHIN_SPREAD),
        (LATENCY, (0.7, 1.0), Verdict.WITHIN_SPREAD),
        (RATE, (2.0,), Verdict.ONE_PAIR),
    ],
)
def test_a_difference_is_one_that_all_pairs_show(metric: Metric, ratios: tuple[float, ...], verdict: Verdict) -> None:
    assert compared(metric, *ratios).verdict is verdict


def test_nothing_against_nothing_is_equal_and_something_against_nothing_has_no_ratio() -> None:
    assert Pair(0, 0).ratio == 1
    assert Pair(2, 0).ratio == float("inf")


def test_windows_are_paired_in_their_order_and_by_metric() -> None:
    this = [{RATE: 10.0, LATENCY: 1.0}, {RATE: 20.0, LATENCY: 2.0}]
    other = [{RATE: 11.0, LATENCY: 3.0}, {RATE: 21.0, LATENCY: 4.0}]
    assert comparisons(this, other) == [
        Comparison(RATE, (Pair(10, 11), Pair(20, 21))),
        Comparison(LATENCY, (Pair(1, 3), Pair(2, 4))),
    ]


def test_a_metric_that_a_window_lacks_is_left_out() -> None:
    assert comparisons([{RATE: 10.0, LATENCY: 1.0}], [{RATE: 11.0}]) == [Comparison(RATE, (Pair(10, 11),))]


def test_a_window_without_its_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        comparisons([{RATE: 10.0}, {RATE: 9.0}], [{RATE: 11.0}])
