"""Limits: what the answer tells, events, and how much is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from ops.auth import Principal
from ops.limits import Limits, Table, Visit
from ops.metrics import Metrics
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.problems import RateLimited
from schemas.topics import Region
from tests.support.keys import COMPANY, WORKSPACE, FakeClock, per_minute


def limits() -> Limits:
    return Limits(600, clock=FakeClock(), metrics=Metrics(CollectorRegistry()))


def holder(allowed: PlanLimits, key_id: str = "key-1") -> Principal:
    return Principal(key_id, Region.EU, Scope.WORKSPACE, COMPANY, WORKSPACE, None, allowed)


def entered(counted: Limits, caller: Principal) -> Visit:
    """A request of ingest that is known to be good."""
    visit = Visit("192.0.2.1")
    counted.request(visit, caller)
    counted.watch_events(visit, caller)
    return visit


def left(counted: Limits, visit: Visit) -> tuple[int, int]:
    found = dict(counted.headers(visit))
    return int(found[b"x-ratelimit-limit"]), int(found[b"x-ratelimit-remaining"])


def test_a_batch_is_one_request_and_all_its_events() -> None:
    counted, caller = limits(), holder(per_minute(10, 250))
    visit = entered(counted, caller)
    counted.take_events(visit, 245)
    assert left(counted, visit) == (250, 5)
    assert left(counted, entered(counted, caller)) == (250, 5)
    assert visit.requests is not None
    assert visit.requests.left == 8


def test_the_limit_with_the_least_left_is_told() -> None:
    counted, caller = limits(), holder(per_minute(3, 100))
    visit = entered(counted, caller)
    counted.take_events(visit, 97)
    assert left(counted, visit) == (3, 2)
    counted.take_events(visit, 2)
    assert left(counted, visit) == (100, 1)


def test_events_over_the_limit_are_refused_whole_and_not_counted() -> None:
    counted, caller = limits(), holder(per_minute(None, 100))
    with pytest.raises(RateLimited):
        counted.take_events(entered(counted, caller), 101)
    visit = entered(counted, caller)
    counted.take_events(visit, 100)
    with pytest.raises(RateLimited):
        counted.take_events(visit, 1)


def test_events_that_were_not_accepted_are_given_back_within_their_minute() -> None:
    """Else a producer that tries again while Kafka is away would be refused once it is back."""
    counted, caller = limits(), holder(per_minute(None, 100))
    first, second = entered(counted, caller), entered(counted, caller)
    counted.take_events(first, 30)
    counted.take_events(second, 50)
    for _ in range(2):
        counted.return_events(second)
        assert left(counted, second) == (100, 70)


def test_events_are_counted_for_the_company_and_requests_for_the_key() -> None:
    counted = limits()
    allowed = per_minute(1, 10)
    counted.take_events(entered(counted, holder(allowed, "key-1")), 6)
    second = entered(counted, holder(allowed, "key-2"))
    with pytest.raises(RateLimited, match="company"):
        counted.take_events(second, 6)
    with pytest.raises(RateLimited, match="key"):
        entered(counted, holder(allowed, "key-2"))


def test_a_changed_plan_takes_effect_within_the_minute() -> None:
    counted, caller = limits(), holder(per_minute(1))
    entered(counted, caller)
    raised = replace(caller, limits=per_minute(2))
    assert left(counted, entered(counted, raised)) == (2, 0)


def test_the_table_is_bounded_and_keeps_what_is_of_this_minute() -> None:
    table = Table("address", size=3)
    table.of("old", 9, 1).used = 5
    for name in "abc":
        table.of(name, 9, 2).used = 1
    assert table.of("a", 9, 2).used == 1
    assert table.of("old", 9, 2).used == 0  # pushed out "a", the oldest
    assert table.of("a", 9, 2).used == 0
