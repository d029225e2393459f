"""The rules of restore requests: no way around a decision, and estimates that are exact."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.plans import RESTORE_TIERS
from schemas.restore import ACTIVE, MOST_DAYS, TRANSITIONS, Role, State, Tier, estimate, may_approve, may_move
from schemas.topics import Region

FINAL = {State.EXPIRED, State.REJECTED, State.CANCELLED, State.FAILED}
SIZES = st.integers(0, 1 << 45)
DAYS = st.integers(1, MOST_DAYS)


def cost(region: Region, tier: Tier, size: int, days: int) -> Decimal:
    return Decimal(estimate(region, tier, size, days).cost_usd)


def test_the_tiers_are_those_of_plans() -> None:
    assert tuple(Tier) == RESTORE_TIERS


def test_what_is_not_over_is_active() -> None:
    assert set(State) - FINAL == ACTIVE
    assert set(TRANSITIONS) == set(State)


@given(st.lists(st.tuples(st.sampled_from(Role), st.sampled_from(State)), max_size=30))
def test_nothing_is_fetched_that_no_operator_approved(moves: list[tuple[Role, State]]) -> None:
    """Whoever tries what, in whatever order."""
    state, approved = State.PENDING, False
    for role, new in moves:
        if may_move(role, state, new):
            approved |= new is State.APPROVED and role is Role.OPERATOR
            state = new
    assert approved or state in {State.PENDING, State.REJECTED, State.CANCELLED, State.FAILED}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_over_stays_so(state: State) -> None:
    assert not any(may_move(role, state, new) for role, new in product(Role, State))


def test_a_customer_cancels_what_nobody_decided_and_does_nothing_else() -> None:
    moves = [(old, new) for old, new in product(State, State) if may_move(Role.CUSTOMER, old, new)]
    assert moves == [(State.PENDING, State.CANCELLED)]


def test_an_operator_decides_and_cancels_what_is_not_begun() -> None:
    moves = {(old, new) for old, new in product(State, State) if may_move(Role.OPERATOR, old, new)}
    decided = {(State.PENDING, new) for new in (State.APPROVED, State.REJECTED, State.CANCELLED)}
    assert moves == decided | {(State.APPROVED, State.CANCELLED)}


@pytest.mark.parametrize(
    ("approver", "may"),
    [
        (("bob", "bob@x.example"), True),
        (("bob", None), True),
        (("usr-7", None), False),
        (("Usr-7", "bob@x.example"), False),
        (("usr-7\u00a0", "bob@x.example"), False),
        (("\u200busr-7", "bob@x.example"), False),
        (("\uff55sr-7", "bob@x.example"), False),
        (("op-7", "ANN@x.example"), False),
    ],
)
def test_who_asks_may_not_approve_however_he_is_spelt(approver: tuple[str, str | None], may: bool) -> None:
    assert may_approve(("usr-7", "ann@x.example"), approver) is may


@given(st.sampled_from(Region), st.sampled_from(Tier), SIZES, DAYS)
def test_an_estimate_is_a_decimal_of_dollars(region: Region, tier: Tier, size: int, days: int) -> None:
    found = estimate(region, tier, size, days)
    assert re.fullmatch(r"\d+\.\d{6}", found.cost_usd)
    assert 0 < found.earliest_seconds < found.latest_seconds


@given(st.sampled_from(Region), st.sampled_from(Tier), SIZES, SIZES, DAYS, DAYS)
def test_more_and_longer_never_costs_less(region: Region, tier: Tier, size: int, more: int, days: int, longer: int) -> None:
    assume(days <= longer)
    assert cost(region, tier, size, days) <= cost(region, tier, size + more, days) <= cost(region, tier, size + more, longer)


@given(st.sampled_from(Region), SIZES, DAYS)
def test_slower_never_costs_more(region: Region, size: int, days: int) -> None:
    assert cost(region, Tier.BULK, size, days) <= cost(region, Tier.STANDARD, size, days) <= cost(region, Tier.EXPEDITED, size, days)


@pytest.mark.parametrize(
    ("region", "tier", "gigabytes", "days", "expected"),
    [
        (Region.US, Tier.STANDARD, 100, 30, "3.300050"),  # 100 x (0.01 + 0.023) + 0.05 / 1000
        (Region.US, Tier.EXPEDITED, 1, 1, "0.040767"),  # 0.03 + 0.01 + 0.023 / 30, rounded up
        (Region.AU, Tier.BULK, 30, 1, "0.025000"),
        (Region.UK, Tier.STANDARD, 0, 7, "0.000059"),
    ],
)
def test_an_estimate_adds_up(region: Region, tier: Tier, gigabytes: int, days: int, expected: str) -> None:
    assert estimate(region, tier, gigabytes << 30, days).cost_usd == expected


def test_what_is_too_large_for_expedited_is_not_promised_in_minutes() -> None:
    small, large = (estimate(Region.US, Tier.EXPEDITED, size, 7) for size in (250_000_000, 250_000_001))
    assert (small.latest_seconds, large.latest_seconds) == (300, 5 * 3600)
