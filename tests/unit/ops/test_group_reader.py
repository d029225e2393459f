"""How long a fetch waits at the broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.group_reader import FetchTerms, fetch_terms


@pytest.mark.parametrize(
    ("idle_seconds", "terms"),
    [
        (0.0, FetchTerms(1 << 20, 200)),
        (0.4, FetchTerms(1 << 20, 200)),
        (0.6, FetchTerms(1, 600)),
        (3.0, FetchTerms(1, 3_000)),
        (5.0, FetchTerms(1, 5_000)),
        (86_400.0, FetchTerms(1, 5_000)),
    ],
)
def test_a_fetch_waits_for_many_records_while_some_come_and_then_ever_longer_for_the_first(idle_seconds: float, terms: FetchTerms) -> None:
    assert fetch_terms(idle_seconds) == terms


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_wait_never_shrinks_while_nothing_comes(one: float, another: float) -> None:
    shorter, longer = sorted((one, another))
    assert fetch_terms(shorter).wait_ms <= fetch_terms(longer).wait_ms


@given(st.floats(0, 1e9))
def test_who_waits_long_is_answered_at_the_first_record(idle_seconds: float) -> None:
    """Else the event that ends a silence would be seen seconds later than today."""
    terms = fetch_terms(idle_seconds)
    assert terms.min_bytes == 1 or terms.wait_ms <= 200
