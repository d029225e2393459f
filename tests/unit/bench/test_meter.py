"""Costs: what is charged to whom."""

from __future__ import annotations

import pytest

from tests.bench.meter import Cost


def test_a_cost_is_the_difference_of_two_readings() -> None:
    before, after = Cost({"ingest": 1.0, "worker": 2.0}, 10.0), Cost({"ingest": 4.0, "worker": 2.5}, 16.0)
    assert after.since(before) == Cost({"ingest": 3.0, "worker": 0.5}, 6.0)


def test_a_process_that_began_in_between_is_charged_from_its_start() -> None:
    assert Cost({"worker": 2.5}, 16.0).since(Cost({}, 10.0)) == Cost({"worker": 2.5}, 6.0)


def test_costs_of_windows_add_up_by_process() -> None:
    assert Cost({"ingest": 1.0}, 2.0).plus(Cost({"ingest": 2.0, "wrk": 0.5}, 3.0)) == Cost({"ingest": 3.0, "wrk": 0.5}, 5.0)


def test_what_no_known_process_spent_was_spent_elsewhere() -> None:
    assert Cost({"ingest": 3.0}, 6.0).with_process("wrk", 1.0).elsewhere == pytest.approx(2.0)
