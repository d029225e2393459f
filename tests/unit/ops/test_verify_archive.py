"""Walking an archive's lines: whatever is done to them is found, and named by its line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.verify.archive import Flawed, LinesWalk, Run, opened
from schemas.event import StoredEvent
from schemas.seal import event_line, salts_of
from tests.support.chains import Chain

_COMPANY = str(UUID(int=1))


def _events(counts: Sequence[int], skip: int = 0) -> list[StoredEvent]:
    """Events of several workspaces, in the order of an object; ``skip`` of each are in another one before it."""
    chains = [Chain(_COMPANY, str(UUID(int=number + 10))) for number in range(len(counts))]
    return [event for chain, count in zip(chains, counts, strict=True) for event in chain.events(skip + count)[skip:]]


@cache
def _four() -> list[StoredEvent]:
    """Made once: their salts are random, and hypothesis wants the same examples to be the same."""
    return _events([4])


def _runs(events: Sequence[StoredEvent], cut: int = 1000) -> list[Run]:
    """The ranges that were marked, of ``cut`` events at most."""
    runs: list[Run] = []
    for event in events:
        last = runs[-1] if runs else None
        if last and last.workspace_id == event.workspace_id and last.to_seq - last.from_seq + 1 < cut:
            runs[-1] = last._replace(to_seq=event.seq, last_hash=event.hash)
        else:
            runs.append(Run(event.workspace_id, event.seq, event.seq, event.prev_hash, event.hash, event.hash))
    return runs


def _lines(events: Sequence[StoredEvent]) -> list[bytes]:
    return [event_line(event) for event in events]


def _flaws(lines: Sequence[bytes], expected: Sequence[Run] | None = None) -> list[str]:
    return [str(flaw) for flaw in LinesWalk(expected).flaws(lines)]


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_what_was_written_has_no_flaw(cut: int) -> None:
    events = _events([5, 1, 7], skip=2)
    walk = LinesWalk(_runs(events, cut))
    assert list(walk.flaws(_lines(events))) == []
    assert (walk.lines, walk.runs, walk.company_id) == (13, _runs(events), _COMPANY)
    assert _flaws(_lines(events)) == []


def test_each_kind_of_tampering_is_named_by_its_line() -> None:
    events = _events([6, 6])
    lines, runs, workspace = _lines(events), _runs(events), events[0].workspace_id
    changed = lines[3].replace(b'"category":"user"', b'"category":"auth"')
    for expected in (None, runs):
        assert _flaws([*lines[:3], changed, *lines[4:]], expected)[0].startswith(f"line 4 (workspace {workspace} seq 4): hash is ")
        assert _flaws([*lines[:3], lines[3][:-5], *lines[4:]], expected)[0].startswith("line 4: not a line of an archive")
    assert _flaws([*lines[:3], *lines[4:]]) == [f"line 4 (workspace {workspace} seq 5): seq 5 follows 3"]
    assert _flaws([*lines[:3], *lines[4:]], runs) == [f"line 4 (workspace {workspace} seq 5): seq 5 stands where 4 has to be"]
    assert _flaws([lines[0], lines[2], lines[1], *lines[3:]]) == [f"line 2 (workspace {workspace} seq 3): seq 3 follows 1"]
    assert _flaws(lines[6:] + lines[:6])[0].endswith(f"stands behind those of workspace {events[-1].workspace_id}")


def test_only_the_ranges_tell_what_is_cut_off_at_an_end() -> None:
    """A chain without its last events, or a workspace less, is whole in itself."""
    events = _events([4, 3])
    lines, runs = _lines(events), _runs(events)
    assert _flaws(lines[:-1]) == []
    assert _flaws(lines[:-1], runs) == [
        f"line 7 (workspace {events[-1].workspace_id} seq 3): is missing, and whatever has to come behind it"
    ]
    other = f"line 1 (workspace {events[-1].workspace_id} seq 1): seq 1 stands where 1 has to be of workspace {events[0].workspace_id}"
    assert _flaws(lines[4:], runs) == [other]
    assert _flaws(lines, runs[:1]) == [f"line 5 (workspace {events[-1].workspace_id} seq 1): is one too many"]


def test_a_chain_that_is_whole_but_another_one_differs_from_what_was_marked() -> None:
    """Whoever can make hashes can make a chain; the ends were marked before he came."""
    events, others = _events([4], skip=3), _events([4], skip=3)
    assert _flaws(_lines(others)) == []
    (flaw,) = _flaws(_lines(others), _runs(events))
    assert flaw.startswith(f"line 1 (workspace {events[0].workspace_id} seq 4): prevHash is ")
    first = _events([4])
    assert "hash is " in _flaws(_lines(_events([4])), _runs(first))[0]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_any_drop_swap_or_double_is_found(counts: list[int], data: st.DataObject) -> None:
    events = _events(counts)
    lines = _lines(events)
    at = data.draw(st.integers(0, len(lines) - 1))
    tampered = data.draw(
        st.sampled_from(
            [[*lines[:at], *lines[at + 1 :]], [*lines[:at], lines[at], *lines[at:]], [*lines[:at], *lines[at + 1 :], lines[at]]]
        )
    )
    assert bool(_flaws(tampered, _runs(events, data.draw(st.integers(1, 4))))) == (tampered != lines)


@given(st.integers(0, 3), st.data())
def test_any_changed_byte_of_a_line_is_found(number: int, data: st.DataObject) -> None:
    """Of the sealed bytes too, once the salts are there to open them."""
    events = _four()
    lines = _lines(events)
    at = data.draw(st.integers(0, len(lines[number]) - 1))
    byte = data.draw(st.integers(32, 126).filter(lambda byte: byte != lines[number][at]))
    lines[number] = lines[number][:at] + bytes([byte]) + lines[number][at + 1 :]
    with pytest.raises(Flawed, match=f"^line {number + 1}"):
        _walk_opening(events, lines)


def _walk_opening(events: Sequence[StoredEvent], lines: Sequence[bytes]) -> None:
    walk = LinesWalk(_runs(events))
    for number, (line, event) in enumerate(zip(lines, events, strict=True), 1):
        opened(walk.check(line), number, salts_of(event))


def test_salts_of_another_line_open_nothing() -> None:
    events = _events([2])
    read = LinesWalk().check(event_line(events[0]))
    assert opened(read, 1, salts_of(events[0])).actor == events[0].actor
    with pytest.raises(Flawed, match=r"line 1 .*does not open"):
        opened(read, 1, salts_of(events[1]))
