"""The arithmetic of the bench: a slip here would flatter every figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.stats import Percentiles, middle, percentile, percentiles


def test_percentiles_are_nearest_rank() -> None:
    assert percentiles([float(number) for number in range(100, 0, -1)]) == Percentiles(50, 99)


def test_a_single_value_is_all_its_percentiles() -> None:
    assert percentiles([7.0]) == Percentiles(7.0, 7.0)


def test_no_values_have_no_percentiles() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentiles([])


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_is_no_larger_and_less_than_it_is_smaller(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert sum(value <= found for value in values) >= share * len(values) * (1 - 1e-9)
    assert sum(value < found for value in values) < share * len(values)


def test_the_middle_leaves_out_the_start_and_the_end() -> None:
    counts = [100, 100, 105, 110, 150, 189, 190, 200, 200]
    assert counts[middle(counts)] == [110, 150, 189, 190]


def test_a_jump_over_the_middle_has_no_rate() -> None:
    with pytest.raises(ValueError, match="too few samples"):
        middle([0, 95, 100])
