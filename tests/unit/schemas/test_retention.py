"""Retention: an event keeps the terms it was received under, whatever its company does later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.retention import AUDIT_DAYS, DAY_MICROS, History, Terms

DAYS = st.integers(1, 5000)
TERMS = st.builds(Terms, DAYS, st.none() | DAYS, st.none() | DAYS)
TIMES = st.integers(0, 40 * 365 * DAY_MICROS)
HISTORIES = st.lists(st.tuples(TIMES, TERMS), min_size=1, max_size=5, unique_by=lambda period: period[0]).map(
    lambda periods: History(sorted(periods, key=lambda period: period[0]))
)
FREE, STARTER = Terms(7, None, None), Terms(30, 180, None)


@given(TERMS, TIMES)
def test_an_archive_outlives_the_hot_event(terms: Terms, received_at: int) -> None:
    until = terms.archive_until(received_at)
    assert (until is None) == (terms.archive_days is None)
    if until is not None:
        assert until >= terms.hot_until(received_at) > received_at


@given(TERMS, TIMES)
def test_audit_workspaces_are_kept_for_a_year_at_least_and_never_shorter_than_others(terms: Terms, received_at: int) -> None:
    audit = terms.of_audit()
    kept = audit.archive_until(received_at) or audit.hot_until(received_at)
    assert kept >= received_at + AUDIT_DAYS * DAY_MICROS
    assert kept >= (terms.archive_until(received_at) or terms.hot_until(received_at))
    assert (audit.archive_days is None) == (terms.archive_days is None)
    assert audit.of_audit() == audit


@given(HISTORIES, TIMES)
def test_an_event_keeps_the_terms_of_the_last_change_before_it(history: History, at: int) -> None:
    before = [terms for start, terms in history.periods if start <= at]
    assert history.at(at) == (before[-1] if before else history.periods[0][1])


@given(HISTORIES, TIMES, TERMS, st.integers(1, 10**12))
def test_a_later_change_moves_nothing_that_was_received_before(history: History, at: int, terms: Terms, later: int) -> None:
    changed = History([*history.periods, (max(at, history.periods[-1][0]) + later, terms)])
    assert changed.at(at) == history.at(at)


@given(HISTORIES, TIMES, st.integers(1, 3 * DAY_MICROS))
def test_a_time_without_changes_has_one_set_of_terms(history: History, start: int, length: int) -> None:
    if not history.changes_within(start, start + length):
        moments = {start, start + length - 1, *(each for each, _ in history.periods if start <= each < start + length)}
        assert len({history.at(each) for each in moments}) == 1


def test_a_change_within_a_day_is_seen_and_one_at_its_edges_is_none() -> None:
    history = History([(0, FREE), (10 * DAY_MICROS, STARTER)])
    assert not history.changes_within(9 * DAY_MICROS, 10 * DAY_MICROS)
    assert not history.changes_within(10 * DAY_MICROS, 11 * DAY_MICROS)
    assert history.changes_within(10 * DAY_MICROS - 1, 10 * DAY_MICROS + 1)


@given(HISTORIES, TIMES, TIMES)
def test_nothing_that_may_still_be_archived_is_before_the_earliest_receipt(history: History, received_at: int, age: int) -> None:
    """By the archive's days alone: what lives longer as its hot retention is longer is not looked for there."""
    now = received_at + age
    terms = history.at(received_at)
    if terms.archive_days is None or received_at < history.periods[0][0] or received_at < now - terms.archive_days * DAY_MICROS:
        return
    since = history.archived_since(now)
    assert since is not None
    assert since <= received_at


def test_a_company_that_never_had_an_archive_has_none() -> None:
    assert History([(0, FREE)]).archived_since(DAY_MICROS) is None


def test_a_company_has_terms_from_its_first_moment() -> None:
    with pytest.raises(ValueError, match="first moment"):
        History([])
