"""The idle cost: what two readings of a stack's processes tell."""

from __future__ import annotations

import pytest

from tests.bench.idle import Reading, Restarted, rows, spent


def test_the_cost_is_cpu_time_by_wall_time_and_the_dearest_part_comes_first() -> None:
    before, after = Reading(100.0, {"relay": 1.0, "kafka": 2.0}), Reading(110.0, {"relay": 1.1, "kafka": 2.9})
    parts = spent(before, after)
    assert list(parts) == ["kafka", "relay"]
    assert parts == pytest.approx({"kafka": 90.0, "relay": 10.0})


@pytest.mark.parametrize("cpu", [{"kafka": 3.0}, {"kafka": 3.0, "relay": 1.5, "s3": 0.1}, {"kafka": 1.0, "relay": 1.5}])
def test_a_part_that_ended_or_began_in_between_spoils_the_figure(cpu: dict[str, float]) -> None:
    """A restarted part would count from nothing, or not at all: the sum would look lower than it is."""
    with pytest.raises(Restarted):
        spent(Reading(0.0, {"kafka": 2.0, "relay": 1.0}), Reading(10.0, cpu))


def test_the_row_tells_the_sum_and_each_part() -> None:
    (row,) = rows({"kafka": 20.04, "relay": 2.5})
    assert (row.result, row.detail) == ("23 ms/s", "kafka 20.0 · relay 2.5")
