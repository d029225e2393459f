"""The figure of queries: what is asked for can be asked, and is told whole."""

from __future__ import annotations

import random
from uuid import uuid4

import pytest

from api.parameters import EventQuery
from tests.bench.queries import KINDS, OF_ONE_WORKSPACE, Kind, Measured, Place, told
from tests.bench.stats import Percentiles


@pytest.mark.parametrize("kind", [*KINDS, *OF_ONE_WORKSPACE], ids=lambda kind: kind.name)
def test_each_query_is_one_that_the_api_takes(kind: Kind) -> None:
    rng = random.Random(1)
    for events in (1000, 1_000_000):
        EventQuery.model_validate({name: value.format(project=uuid4()) for name, value in kind.draw(rng, events).items()})


def test_every_filter_is_measured() -> None:
    rng = random.Random(1)
    asked = {name for kind in (*KINDS, *OF_ONE_WORKSPACE) for name in kind.draw(rng, 1000)}
    known = {field.alias or name for name, field in EventQuery.model_fields.items()}
    assert known - asked == {"limit", "cursor", "include", "workspaceId"}


def test_the_large_company_stands_beside_the_small_one() -> None:
    place = Place("no filter", "company key", "first")
    rows = told(Measured(1_000_000, {place: Percentiles(0.001, 0.002)}, {place: Percentiles(0.003, 0.004)}), "at 4,000/s")
    assert rows[1] == ("query: no filter; company key", "p50 1.0 ms, p99 2.0 ms", "p99 ≤ 50 ms", "of 1,000: p50 3.0 ms, p99 4.0 ms")
