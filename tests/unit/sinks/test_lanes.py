"""Lanes are fair, whatever their endpoints do: shown on any course of events, and on the worst ones."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.webhooks import Kind
from sinks.webhooks.lanes import Bounds, Lanes
from sinks.webhooks.model import Delivery

BOUNDS = Bounds(concurrency=4, in_flight=10, window=10.0)
FEW = Bounds(concurrency=2, in_flight=4, window=10.0)
NAMES = st.sampled_from(["hook-1", "hook-2", "hook-3"])


def _delivery(webhook_id: str, number: int = 0, claimed_at: float = 0.0) -> Delivery:
    return Delivery(webhook_id, f"{webhook_id}/{number}", Kind.EVENT, 1, 0, None, claimed_at)


def _drained(lanes: Lanes) -> list[Delivery]:
    found = []
    while (delivery := lanes.next()) is not None:
        found.append(delivery)
    return found


def _prove(lanes: Lanes, webhook_id: str, *, times: int = 10, seconds: float = 0.01, succeeded: bool = True) -> str:
    """Let an endpoint show how it is, while nothing else waits."""
    for number in range(times):
        lanes.put(_delivery(webhook_id, number))
        delivery = lanes.next()
        assert delivery is not None
        lanes.ended(delivery, seconds=seconds, succeeded=succeeded)
    return webhook_id


def _flood(lanes: Lanes, webhook_ids: list[str]) -> None:
    for webhook_id in webhook_ids:
        for each in range(100):
            lanes.put(_delivery(webhook_id, each))


class Course(RuleBasedStateMachine):
    """Any course of deliveries; what is counted beside it has to agree."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(FEW)
        self.waiting: list[Delivery] = []
        self.under_way: list[Delivery] = []
        self.failing: set[str] = set()
        self.made = 0
        self.now = 0.0

    @rule(name=NAMES, count=st.integers(1, 12))
    def arrive(self, name: str, count: int) -> None:
        for _ in range(count):
            self.made += 1
            delivery = _delivery(name, self.made, self.now)
            self.waiting.append(delivery)
            self.lanes.put(delivery)

    @rule(times=st.integers(1, 12))
    def begin(self, times: int) -> None:
        for _ in range(times):
            delivery = self.lanes.next()
            if delivery is None:
                assert not any(map(self.must_go, {each.webhook_id for each in self.waiting}))
                return
            own = [each for each in self.waiting if each.webhook_id == delivery.webhook_id]
            assert delivery is own[0]
            assert self.may_go(delivery.webhook_id)
            self.waiting.remove(delivery)
            self.under_way.append(delivery)

    def may_go(self, name: str) -> bool:
        if name in self.failing:
            return self.count(name) == 0 and self.failing_under_way() < FEW.in_flight // 2
        return self.count(name) < FEW.concurrency

    def must_go(self, name: str) -> bool:
        if self.count(name):
            return False
        if name in self.failing:
            return len(self.under_way) < FEW.in_flight - FEW.in_flight // 4 and self.failing_under_way() < FEW.in_flight // 2
        return len(self.under_way) < FEW.in_flight

    def count(self, name: str) -> int:
        return sum(each.webhook_id == name for each in self.under_way)

    def failing_under_way(self) -> int:
        return sum(each.webhook_id in self.failing for each in self.under_way)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), seconds=st.floats(0.001, 1.9), succeeded=st.sampled_from([True, False, None]))
    def end(self, data: st.DataObject, seconds: float, succeeded: bool | None) -> None:
        delivery = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(delivery)
        self.lanes.ended(delivery, seconds=seconds, succeeded=succeeded)
        if succeeded is not None:
            (self.failing.discard if succeeded else self.failing.add)(delivery.webhook_id)

    @rule(seconds=st.floats(0.1, 12))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = self.lanes.late(self.now)
        assert {each.id for each in late} == {each.id for each in self.waiting if each.claimed_at < self.now - FEW.window}
        self.waiting = [each for each in self.waiting if each not in late]

    @rule(names=st.sets(NAMES))
    def give_up(self, names: set[str]) -> None:
        dropped = self.lanes.take_out(names)
        assert {each.id for each in dropped} == {each.id for each in self.waiting if each.webhook_id in names}
        self.waiting = [each for each in self.waiting if each.webhook_id not in names]

    @invariant()
    def counts_agree(self) -> None:
        assert (self.lanes.waiting, self.lanes.under_way) == (len(self.waiting), len(self.under_way))
        assert self.lanes.held_bytes == sum(each.size for each in (*self.waiting, *self.under_way))
        assert self.lanes.under_way <= FEW.in_flight
        assert self.lanes.failing == len(self.failing)


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=300)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=8))
def test_lanes_take_turns_however_long_they_are(lengths: list[int]) -> None:
    """Between two deliveries of one endpoint, each other one that has any gets its turn."""
    lanes = Lanes(Bounds(concurrency=1, in_flight=1, window=10.0))
    for number, length in enumerate(lengths):
        for each in range(length):
            lanes.put(_delivery(f"hook-{number}", each))
    left, seen = Counter({f"hook-{number}": length for number, length in enumerate(lengths)}), Counter[str]()
    while (delivery := lanes.next()) is not None:
        lanes.ended(delivery, seconds=0.01, succeeded=True)
        seen[delivery.webhook_id] += 1
        left[delivery.webhook_id] -= 1
        others = [seen[name] for name in left if left[name]]
        assert not others or seen[delivery.webhook_id] - min(others) <= 1
    assert not +left


def test_failing_endpoints_have_half_of_all_requests_at_most() -> None:
    """Ten dead ones with a flood each; a good one that comes after them all begins at once."""
    lanes = Lanes(BOUNDS)
    _flood(lanes, [_prove(lanes, f"dead-{number}", times=1, succeeded=False) for number in range(10)])
    assert len(_drained(lanes)) == BOUNDS.in_flight // 2
    lanes.put(_delivery("good"))
    begun = lanes.next()
    assert begun is not None
    assert begun.webhook_id == "good"


@given(st.integers(4, 60), st.integers(2, 8), st.lists(st.booleans(), min_size=1, max_size=20))
def test_good_endpoints_that_hang_all_at_once_leave_a_quarter_to_first_requests(in_flight: int, concurrency: int, well: list[bool]) -> None:
    """They had shown themselves good, with as many requests each as there may be; nobody has failed yet."""
    lanes = Lanes(Bounds(concurrency, in_flight, window=10.0))
    for number, succeeded in enumerate(well):
        _prove(lanes, f"hook-{number}", succeeded=succeeded)
    _flood(lanes, [f"hook-{number}" for number in range(len(well))])
    hung = Counter(each.webhook_id for each in _drained(lanes))
    newcomers = in_flight // 4 - sum(well)
    for number in range(newcomers):
        lanes.put(_delivery(f"new-{number}"))
        begun = lanes.next()
        assert begun is not None
        assert begun.webhook_id == f"new-{number}"
    assert sum(hung.values()) <= in_flight


def test_slow_endpoints_share_that_half() -> None:
    lanes = Lanes(BOUNDS)
    _flood(lanes, [_prove(lanes, f"slow-{number}", times=5, seconds=9.0) for number in range(10)])
    assert len(_drained(lanes)) == BOUNDS.in_flight // 2


def test_a_slow_endpoint_gets_one_request_at_a_time() -> None:
    lanes = Lanes(BOUNDS)
    _flood(lanes, [_prove(lanes, "slow", seconds=9.0)])
    assert len(_drained(lanes)) == 1


def test_failing_ones_are_not_starved_by_good_ones() -> None:
    """Not even by as many as could use all requests for themselves."""
    lanes = Lanes(BOUNDS)
    good = [_prove(lanes, f"good-{number}") for number in range(4)]
    bad = _prove(lanes, "bad", times=1, succeeded=False)
    _flood(lanes, good)
    under_way = _drained(lanes)
    _flood(lanes, [bad])
    seen: list[str] = []
    for _ in range(4):
        lanes.ended(under_way.pop(0), seconds=0.01, succeeded=True)
        under_way += _drained(lanes)
        seen.append(under_way[-1].webhook_id)
    assert "bad" in seen


def test_an_endpoint_shows_itself_good_before_it_gets_many_requests_at_a_time() -> None:
    lanes = Lanes(BOUNDS)
    under_way = []
    for number in range(8):
        for each in range(10):
            lanes.put(_delivery("hook", each))
        begun = _drained(lanes)
        under_way.append(len(begun))
        for delivery in begun:
            lanes.ended(delivery, seconds=0.01, succeeded=number < 4 or None)
    assert under_way[:3] == [1, 2, 4]
    assert set(under_way[3:]) == {BOUNDS.concurrency}


def test_after_a_failure_an_endpoint_begins_anew_with_one_request_at_a_time() -> None:
    lanes = Lanes(BOUNDS)
    _prove(lanes, "hook")
    _prove(lanes, "hook", times=1, succeeded=False)
    _flood(lanes, ["hook"])
    (begun,) = _drained(lanes)
    lanes.ended(begun, seconds=0.01, succeeded=True)
    assert len(_drained(lanes)) == 2


@pytest.mark.parametrize("turns_before", [0, 1])
def test_an_endpoint_that_fails_while_it_stands_in_line_keeps_its_place(turns_before: int) -> None:
    """Nothing else may come by that would ask for the next one again."""
    lanes = Lanes(BOUNDS)
    for _ in range(turns_before):
        assert lanes.next() is None
    _flood(lanes, ["hook"])
    for succeeded in (True, False):
        begun = lanes.next()
        assert begun is not None
        lanes.ended(begun, seconds=0.01, succeeded=succeeded)
    assert lanes.next() is not None


def test_what_the_endpoints_row_says_counts_before_the_first_attempt() -> None:
    lanes = Lanes(BOUNDS)
    lanes.know("hook", failing=True)
    assert lanes.failing == 1
    _prove(lanes, "other")
    lanes.know("other", failing=True)
    assert lanes.failing == 1


def test_a_lane_takes_as_much_as_it_can_send_in_half_of_the_window() -> None:
    lanes = Lanes(BOUNDS)
    unknown = lanes.room("hook")
    _prove(lanes, "hook", seconds=0.1)
    known = lanes.room("hook")
    _prove(lanes, "hook", times=1, succeeded=False)
    assert unknown > 100
    assert 150 <= known <= 210
    assert lanes.room("hook") < 10


def test_a_lane_that_is_full_has_no_room_until_it_is_low() -> None:
    lanes = Lanes(BOUNDS)
    count = lanes.room("hook")
    for each in range(count):
        lanes.put(_delivery("hook", each))
    assert lanes.room("hook") == 0
    assert not lanes.is_low("hook")
    lanes.take_out(["hook"])
    assert lanes.is_low("hook")


def test_large_events_leave_no_room_for_more() -> None:
    lanes = Lanes(Bounds(concurrency=4, in_flight=10, window=10.0, max_bytes=5000))
    for each in range(5):
        lanes.put(_delivery("hook", each))
    assert lanes.room("other") == 0
    for delivery in _drained(lanes):
        lanes.ended(delivery, seconds=None, succeeded=None)
    assert lanes.room("other") > 0


def test_idle_lanes_are_forgotten_once_there_are_many() -> None:
    lanes = Lanes(BOUNDS)
    for number in range(10_001):
        lanes.know(f"hook-{number}", failing=True)
    lanes.put(_delivery("hook-7"))
    lanes.forget_idle()
    assert lanes.has("hook-7")
    assert not lanes.has("hook-8")
