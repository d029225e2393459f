"""What a transaction takes of a batch, against the plain rule: the next seq of each workspace, and nothing else."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.event import StoredEvent
from sinks.batch import DEAD_IN_A_ROW, Hole, Item, TooManyDead, fresh, in_order, jumps, moved
from sinks.store import REFILL_ALL, Position
from tests.support.chains import Chain

WORKSPACES = ("019c1388-3aee-711b-a320-f82d163e96fa", "019c1388-3aee-711b-a320-f82d163e96fb")
CHAINS = {workspace: Chain("019c1388-7149-7198-9612-ea72d1f43751", workspace).events(12) for workspace in WORKSPACES}
TOPIC = UUID(int=7)


def announced(workspace: str, seq: int, offset: int | None = 0, *, is_dead: bool = False) -> Item[str]:
    event: StoredEvent = CHAINS[workspace][seq - 1]
    return Item(offset, event, seq - 1, None if is_dead else f"{workspace}:{seq}", "too long" if is_dead else "")


def garbled(offset: int = 0) -> Item[str]:
    return Item(offset, None, 0, None, "undecodable")


PLACES = st.lists(st.tuples(st.sampled_from(WORKSPACES), st.integers(1, 12)), max_size=20)
HEADS = st.dictionaries(st.sampled_from(WORKSPACES), st.integers(0, 12))


@given(PLACES, HEADS)
def test_of_each_workspace_the_next_event_is_taken_until_one_is_missing(places: list[tuple[str, int]], heads: dict[str, int]) -> None:
    reached, expected, missing = dict.fromkeys(WORKSPACES, 0) | heads, [], None
    for workspace, seq in places:
        if seq == reached[workspace] + 1:
            reached[workspace] = seq
            expected.append(f"{workspace}:{seq}")
        elif seq > reached[workspace]:
            missing = (workspace, seq - 1)
            break
    items = [announced(workspace, seq) for workspace, seq in places]
    if missing is None:
        assert in_order(items, heads, 0).rows == expected
    else:
        with pytest.raises(Hole) as raised:
            in_order(items, heads, 0)
        assert (raised.value.workspace_id, raised.value.last) == missing


def test_what_postgres_does_not_have_in_between_is_no_hole() -> None:
    stored = announced(WORKSPACES[0], 9, None)._replace(after=2)
    assert in_order([stored], {WORKSPACES[0]: 2}, 0).rows == [stored.row]
    with pytest.raises(Hole):
        in_order([stored], {WORKSPACES[0]: 1}, 0)


def test_a_dead_event_is_told_of_and_does_not_stop_its_workspace() -> None:
    first, dead, last = announced(WORKSPACES[0], 1), announced(WORKSPACES[0], 2, 5, is_dead=True), announced(WORKSPACES[0], 3)
    taken = in_order([first, dead, garbled(8), last], {}, 0)
    assert taken.rows == [first.row, last.row]
    assert taken.letters == [(5, WORKSPACES[0], 2, "too long"), (8, None, None, "undecodable")]
    assert taken.dead_run == 0


def test_too_many_dead_in_a_row_are_not_skipped() -> None:
    """Over batches as within one; a good event between them starts the count anew."""
    half = [garbled() for _ in range(DEAD_IN_A_ROW // 2)]
    run = in_order(half, {}, 0).dead_run
    assert in_order(half, {}, run).dead_run == DEAD_IN_A_ROW
    with pytest.raises(TooManyDead, match="undecodable"):
        in_order([*half, garbled()], {}, run)
    assert in_order([*half, announced(WORKSPACES[0], 1), *half], {}, run).dead_run == len(half)


@pytest.mark.parametrize(
    ("offsets", "left", "after", "refill_from"),
    [
        ([], [], 5, None),
        ([3, 4], [], 5, None),
        ([3, 4, 5, 6], [5, 6], 7, None),
        ([5], [5], 6, None),
        ([7, 8], [7, 8], 9, REFILL_ALL),
        ([None, None], [None, None], 5, None),
    ],
)
def test_the_position_moves_behind_what_was_taken(
    offsets: list[int | None], left: list[int | None], after: int, refill_from: UUID | None
) -> None:
    """And where the log jumped, nothing says which workspaces lost records."""
    position = Position(TOPIC, 5, None)
    items = fresh([announced(WORKSPACES[0], 1, offset) for offset in offsets], position)
    assert [item.offset for item in items] == left
    assert moved(position, items) == Position(TOPIC, after, refill_from)
    assert jumps(position, items) == (refill_from is not None)


def test_a_refill_under_way_goes_on() -> None:
    position = Position(TOPIC, 5, UUID(int=99))
    assert moved(position, [announced(WORKSPACES[0], 1, 5)]) == Position(TOPIC, 6, UUID(int=99))
