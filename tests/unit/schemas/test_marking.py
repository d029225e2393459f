"""From a workspace's day to ranges and parts: every seq exactly once, no part too large, each event under the terms it came in by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.archive import ArchiveRange, ArchiveWork, day_start, encode_work
from schemas.marking import MOST_RANGES, PlannedPart, Run, day_end, due, hot_until, joined, may_differ, parts, runs, unarchived
from schemas.retention import AUDIT_DAYS, DAY_MICROS, History, Terms

DAY = date(2026, 3, 1)
START, END = day_start(DAY), day_end(DAY)
FREE, STARTER, GROWTH = Terms(7, None, None), Terms(30, 180, None), Terms(90, 365, 180)
_PLANS = st.sampled_from([FREE, STARTER, GROWTH, Terms(30, 365, 180)])
_HISTORIES = st.lists(st.tuples(st.integers(START - 3 * DAY_MICROS, END + DAY_MICROS), _PLANS), min_size=1, max_size=5).map(
    lambda periods: History(sorted(dict(periods).items()))
)
_RECEIPTS = st.lists(st.integers(START - DAY_MICROS, END - 1), min_size=1, max_size=40)
"""Not in order: clocks of several machines."""


def _workspace(number: int) -> str:
    return str(UUID(int=number + 1))


def _seqs(found: Sequence[Run]) -> list[tuple[str, int]]:
    return [(run.events.workspace_id, seq) for run in found for seq in range(run.events.from_seq, run.events.to_seq + 1)]


LATE = 8 * DAY_MICROS


@given(_HISTORIES, st.sampled_from(["STANDARD", "AUDIT"]), _RECEIPTS, st.data())
def test_runs_tile_a_day_and_each_event_is_under_its_own_terms(
    history: History, kind: str, receipts: list[int], data: st.DataObject
) -> None:
    received = list(enumerate(receipts, 5))
    cut = data.draw(st.integers(0, len(received)))
    found: list[Run] = []
    for page in (received[:cut], received[cut:]):
        found = joined(found, runs(history, kind, _workspace(0), page))
    assert _seqs(found) == [(_workspace(0), seq) for seq, _ in received]
    assert all(one.terms != other.terms for one, other in pairwise(found))
    for run in found:
        for seq in range(run.events.from_seq, run.events.to_seq + 1):
            own = history.at(receipts[seq - 5])
            assert run.terms == (own.of_audit() if kind == "AUDIT" else own)
    if not may_differ(history, DAY, LATE):
        assert len(found) == 1


@given(st.lists(st.tuples(st.lists(st.tuples(st.integers(1, 9), _PLANS), min_size=1, max_size=5)), max_size=6), st.integers(1, 12))
def test_parts_hold_every_archived_event_once_and_none_is_too_large(workspaces: list[tuple[list[tuple[int, Terms]]]], most: int) -> None:
    found: list[Run] = []
    for number, (stretches,) in enumerate(workspaces):
        first = 1
        for rows, terms in stretches:
            found = [*found, Run(ArchiveRange(_workspace(number), first, first + rows - 1), terms)]
            first += rows
    planned = parts(found, DAY, most)
    assert all(0 < part.rows <= most for part in planned)
    assert sorted(_seqs([run for part in planned for run in part.runs] + unarchived(found))) == sorted(_seqs(found))
    for part in planned:
        _assert_one_object(part)
        for run in part.runs:
            assert part.kept == (run.terms.archive_until(END), run.terms.cold_after_days)


def _assert_one_object(part: PlannedPart) -> None:
    """Its lines stand by workspace and seq, and of each workspace without a gap."""
    lines = _seqs(part.runs)
    assert lines == sorted(lines)
    for (workspace, seq), (other, following) in pairwise(lines):
        assert workspace != other or following == seq + 1


def test_what_is_hot_still_keeps_what_is_behind_it() -> None:
    """Ranges tile: none may begin behind a hole."""
    found = [Run(ArchiveRange(_workspace(0), *ends), terms) for ends, terms in (((1, 4), STARTER), ((5, 8), GROWTH), ((9, 9), FREE))]
    assert list(due(found, DAY, hot_until(DAY, STARTER) - 1)) == []
    assert list(due(found, DAY, hot_until(DAY, STARTER))) == found[:1]
    assert list(due(found, DAY, hot_until(DAY, GROWTH))) == found


@pytest.mark.parametrize(("terms", "hot", "archived"), [(FREE, AUDIT_DAYS, None), (STARTER, 30, AUDIT_DAYS), (GROWTH, 90, 365)])
def test_audit_is_kept_for_a_year_at_least(terms: Terms, hot: int, archived: int | None) -> None:
    """In the archive where there is one, else in the hot table."""
    (run,) = runs(History([(0, terms)]), "AUDIT", _workspace(0), [(1, START)])
    assert (run.terms.hot_days, run.terms.archive_days) == (hot, archived)


def test_a_change_long_before_a_day_needs_no_look_at_its_receipts() -> None:
    assert not may_differ(History([(0, FREE), (START - 9 * DAY_MICROS, GROWTH)]), DAY, LATE)
    assert may_differ(History([(0, FREE), (START - 7 * DAY_MICROS, GROWTH)]), DAY, LATE)
    assert may_differ(History([(0, FREE), (END - 1, GROWTH)]), DAY, LATE)
    assert not may_differ(History([(0, FREE), (END, GROWTH)]), DAY, LATE)


def test_the_record_of_the_largest_part_fits_a_broker() -> None:
    found = [Run(ArchiveRange(_workspace(number), 2**52, 2**52), GROWTH) for number in range(MOST_RANGES + 1)]
    first, second = parts(found, DAY, 1_000_000)
    assert (len(first.runs), len(second.runs)) == (MOST_RANGES, 1)
    work = ArchiveWork(_workspace(0), _workspace(1), DAY, 1, tuple(run.events for run in first.runs))
    assert len(encode_work(work)) < 900_000
