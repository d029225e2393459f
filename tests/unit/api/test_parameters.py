"""Query parameters: what they become, and what a cursor is bound to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.parameters import EventQuery
from schemas.event import format_time

MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@given(MICROS)
def test_a_time_is_read_to_the_microsecond(micros: int) -> None:
    assert EventQuery.model_validate({"from": format_time(micros)}).start == micros


def test_without_bounds_every_time_there_is_lies_between() -> None:
    query = EventQuery.model_validate({})
    assert (format_time(query.start), format_time(query.end - 1)) == ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z")


@pytest.mark.parametrize("action", ["user.login", "user.*", "a", "A_z:0/9-.*", "x" * 128, "x" * 126 + ".*"])
def test_actions_are_exact_or_a_prefix_that_ends_at_a_dot(action: str) -> None:
    assert EventQuery.model_validate({"action": action}).action == action


@pytest.mark.parametrize("action", ["", "*", "user*", "user.*.login", "user.**", "x" * 129, "ü"])
def test_other_stars_are_refused(action: str) -> None:
    with pytest.raises(ValidationError):
        EventQuery.model_validate({"action": action})


def test_a_cursor_is_bound_to_filters_and_order_but_not_to_the_size_of_a_page() -> None:
    base = EventQuery.model_validate({}).question()
    for change in ({"limit": 7}, {"include": "verification"}, {"cursor": "x"}):
        assert EventQuery.model_validate(change).question() == base
    workspace = "0190a000-0000-7000-8000-00000000000a"
    changes = ({"from": "2026-01-01T00:00:00Z"}, {"to": "2026-01-01T00:00:00Z"}, {"category": "a"}, {"action": "a"}, {"order": "asc"})
    more = ({"q": "abc"}, {"sort": "seq"}, {"outcome": "DENIED"}, {"receivedTo": "2026-01-01T00:00:00Z"})
    for change in (*changes, *more, {"workspaceId": workspace}):
        assert EventQuery.model_validate(change).question() != base


@pytest.mark.parametrize("text", ["ä" * 127, "x" * 255, "two words"])
def test_extracted_values_are_as_long_as_they_can_be_posted(text: str) -> None:
    assert EventQuery.model_validate({"actorId": text}).actor_id == text


@pytest.mark.parametrize("text", ["", "ä" * 128, "x" * 256, "\0"])
def test_a_value_that_no_event_can_have_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        EventQuery.model_validate({"actorId": text})
