"""What S3 says of a restoration, read; and the simulated one."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.objects import Restoration
from ops.objects.restoration import Frozen, parse_restoration

SECOND, DAY = 1_000_000, 86_400_000_000
TIMES = st.integers(0, 4_102_444_800 * SECOND)
"""Up to 2100."""


@given(st.integers(0, 4_102_444_800))
def test_each_time_of_a_header_is_read(second: int) -> None:
    date = format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
    assert parse_restoration(f'ongoing-request="false", expiry-date="{date}"') == Restoration(False, second * SECOND)


def test_one_under_way_has_no_end_yet() -> None:
    assert parse_restoration('ongoing-request="true"') == Restoration(True, None)


@given(st.text() | st.from_regex(r'ongoing-request="(true|false)"(, expiry-date="[^"]{0,40}")?', fullmatch=True))
def test_anything_else_is_refused_or_read(header: str) -> None:
    """And nothing is taken for done without a time at which that ends."""
    try:
        found = parse_restoration(header)
    except ValueError:
        return
    assert found.ongoing == (found.expires_at is None)


@pytest.mark.parametrize(
    "header",
    ["", 'ongoing-request="false"', 'ongoing-request="true", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"', 'ongoing-request="maybe"'],
)
def test_half_a_header_is_none(header: str) -> None:
    with pytest.raises(ValueError, match="x-amz-restore"):
        parse_restoration(header)


@given(TIMES, st.integers(1, 30), st.integers(0, 1000 * SECOND), TIMES)
def test_a_simulated_restoration_is_under_way_then_done_then_over(at: int, days: int, delay: int, now: int) -> None:
    frozen = Frozen().asked(at, days=days, micros=delay)
    expected = Restoration(True, None) if now < at + delay else Restoration(False, at + delay + days * DAY)
    assert frozen.restoration(now) == (expected if now < at + delay + days * DAY else None)
    assert Frozen.read(frozen.written()) == frozen


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 40 * DAY))
def test_asked_for_again_it_goes_on_or_is_extended_or_begins_anew(days: int, more: int, later: int) -> None:
    first = Frozen().asked(0, days=days, micros=SECOND)
    again = first.asked(later, days=more, micros=SECOND)
    if later < SECOND:
        assert again == first
    elif later < SECOND + days * DAY:
        assert again.restoration(later) == Restoration(False, later + more * DAY)
    else:
        assert again.restoration(later) == Restoration(True, None)
