"""The cost of authentication and limits is measured on requests that get through, each counted."""

from __future__ import annotations

import pytest

from schemas.problems import RateLimited
from tests.bench.admission import Gatehouse


async def test_what_is_measured_is_a_request_with_a_good_key() -> None:
    """A miss of the cache would be cheap, and mean nothing."""
    gatehouse = Gatehouse(keys=20)
    await gatehouse.fill()
    assert {caller.key_id for caller in gatehouse.callers} == {f"key-{number}" for number in range(20)}


async def test_requests_and_events_are_counted_while_they_are_measured() -> None:
    gatehouse = Gatehouse(keys=20, per_minute=100)
    await gatehouse.fill()
    with pytest.raises(RateLimited):
        gatehouse.count()
