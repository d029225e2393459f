"""Pages of many workspaces' events: a place in a partition stands for all that lies in front of it."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.tail.merging import Key, Most, merged

PARTITION_OF = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}
STORED = st.lists(st.tuples(st.sampled_from(sorted(PARTITION_OF)), st.integers(-3, 3)), max_size=60)
"""Workspace and lateness of each event, in the order in which they lie in their partitions."""


def keys_of(stored: list[tuple[str, int]]) -> list[Key]:
    seqs: dict[str, int] = defaultdict(int)
    keys = []
    for offset, (name, late) in enumerate(stored):
        seqs[name] += 1
        keys.append(Key(name, seqs[name], PARTITION_OF[name], (offset // 2, offset % 2), offset + late, is_asked=True))
    return keys


def next_of(keys: list[Key], floors: dict[str, int], limit: int) -> list[Key]:
    """As the database tells them: of each workspace the next ones, in order of seq."""
    return [key for name in PARTITION_OF for key in [key for key in keys if key.workspace_id == name and key.seq > floors[name]][:limit]]


@given(STORED, st.integers(1, 5), st.integers(1, 12))
def test_pages_tell_everything_once_and_each_partition_in_its_order(stored: list[tuple[str, int]], limit: int, most: int) -> None:
    keys, told = keys_of(stored), list[Key]()
    floors: dict[str, int] = defaultdict(int)
    while True:
        found, is_all = merged(next_of(keys, floors, limit), limit)
        page = found[:most]
        is_last = is_all and len(page) == len(found)
        told += page
        floors |= {key.workspace_id: key.seq for key in page}
        assert len(page) <= most
        assert page or is_last
        if is_last:
            break
    assert sorted(told) == sorted(keys)
    for partition in set(PARTITION_OF.values()):
        places = [key.place for key in told if key.partition == partition]
        assert places == sorted(places)


def test_across_partitions_what_was_received_first_comes_first() -> None:
    keys = keys_of([("a", 0), ("c", 0), ("e", 0), ("c", 0), ("a", 0)])
    page, is_last = merged(next_of(keys, defaultdict(int), 9), 9)
    assert (page, is_last) == (keys, True)


@pytest.mark.parametrize(
    ("most", "sizes", "held"),
    [
        (Most(9, 9, 10), [4, 4, 4], 2),
        (Most(9, 9, 10), [4, 6, 1], 2),
        (Most(9, 9, 10), [40, 1], 1),
        (Most(9, 2, 10), [1, 1, 1], 2),
        (Most(2, 9, 10), [1, 1, 1], 2),
        (Most(9, 1, 10), [None, 40, None, None, 1], 4),
        (Most(9, 9, 10), [], 0),
    ],
)
def test_a_page_holds_so_much_but_one_event_at_least(most: Most, sizes: list[int | None], held: int) -> None:
    """What is not asked for (``None``) counts as a key alone."""
    keys = [Key("a", number, 0, (number, 0), number, size is not None, size or 99) for number, size in enumerate(sizes)]
    assert most.cut(keys, lambda key: key.is_asked) == keys[:held]
