"""The index of a part finds every event in one block or two, and archive work survives its record."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.archive import (
    ArchiveRange,
    ArchiveWork,
    Block,
    Blocks,
    day_of,
    day_start,
    decode_work,
    encode_work,
    events_key,
    keys_key,
    keys_key_of,
)
from schemas.codec import HEADER_BYTES, Undecodable
from tests.unit.schemas.strategies import UUIDS

DAYS = st.dates(date(2, 1, 1), date(9998, 12, 31))
PARTS = st.integers(1, 10**6)
_DAY = 86_400_000_000
RANGES = st.lists(st.builds(ArchiveRange, UUIDS, st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1)), max_size=5).map(tuple)
WORK = st.builds(ArchiveWork, UUIDS, UUIDS, DAYS, st.integers(1, 2**31 - 1), RANGES)


class Laid:
    """A part's lines, cut into blocks: the plain truth to compare the index with."""

    def __init__(self, runs: list[tuple[str, int, int]], block_lines: int) -> None:
        self.lines = [(workspace, seq) for workspace, first, count in runs for seq in range(first, first + count)]
        cuts = range(0, len(self.lines), block_lines)
        self.held = [self.lines[at : at + block_lines] for at in cuts]
        blocks = [
            Block(*held[0], len(held), 1000 * number, 40 + 100 * number, 10 * number, 10 * number + 9)
            for number, held in enumerate(self.held)
        ]
        self.index = Blocks(blocks, 1000 * len(blocks), 40 + 100 * len(blocks))


@st.composite
def laid(draw: st.DrawFn) -> Laid:
    workspaces = sorted(draw(st.sets(UUIDS, min_size=1, max_size=3)))
    runs = [(each, draw(st.integers(1, 50)), draw(st.integers(1, 12))) for each in workspaces]
    return Laid(runs, draw(st.integers(1, 6)))


@given(laid(), st.data())
def test_events_are_in_the_blocks_that_are_named_and_in_no_other(part: Laid, data: st.DataObject) -> None:
    workspace = data.draw(st.sampled_from(sorted({each for each, _ in part.lines})) | UUIDS)
    first = data.draw(st.integers(1, 70))
    last = data.draw(st.integers(first, 70))
    named = part.index.holding(workspace, first, last)
    holding = [number for number, held in enumerate(part.held) if any(each == workspace and first <= seq <= last for each, seq in held)]
    assert set(holding) <= set(named)
    assert len(named) <= len(holding) + 1, "at most one block is read for nothing"


@given(laid())
def test_blocks_tile_both_objects_and_their_lines(part: Laid) -> None:
    count = len(part.held)
    for extents, start in (
        ([part.index.extent(each) for each in range(count)], 0),
        ([part.index.keys_extent(each) for each in range(count)], 40),
    ):
        assert extents[0][0] == start
        assert all(before[1] == after[0] for before, after in pairwise(extents))
    assert part.index.extent(count - 1)[1] == 1000 * count
    assert [part.lines[part.index.first_line(number)] for number in range(count)] == [held[0] for held in part.held]


@given(laid(), st.integers(-5, 100), st.integers(0, 50))
def test_blocks_are_found_by_receipt(part: Laid, earliest: int, length: int) -> None:
    expected = [
        number
        for number, block in enumerate(part.index.blocks)
        if set(range(block.received_from, block.received_to + 1)) & set(range(earliest, earliest + length + 1))
    ]
    assert list(part.index.received_in(earliest, earliest + length)) == expected


@given(laid())
def test_an_index_is_kept_as_bytes(part: Laid) -> None:
    kept = Blocks.unpack(part.index.pack(), 7, 8)
    assert kept.blocks == part.index.blocks
    assert (kept.extent(len(kept.blocks) - 1)[1], kept.keys_extent(len(kept.blocks) - 1)[1]) == (7, 8)


@given(laid(), st.data())
def test_a_cut_index_is_refused(part: Laid, data: st.DataObject) -> None:
    packed = part.index.pack()
    size = len(packed) // len(part.held)
    with pytest.raises(ValueError, match="cut"):
        Blocks.unpack(packed[: data.draw(st.integers(0, len(packed) - 1).filter(lambda cut: cut % size or not cut))], 1, 1)


@given(WORK)
def test_archive_work_comes_back_from_its_record(work: ArchiveWork) -> None:
    assert decode_work(encode_work(work)) == work


@given(WORK, st.data())
def test_a_cut_record_is_refused(work: ArchiveWork, data: st.DataObject) -> None:
    record = encode_work(work)
    with pytest.raises(Undecodable):
        decode_work(record[: data.draw(st.integers(0, len(record) - 1))])


@given(st.binary(max_size=40))
def test_garbage_is_no_archive_work(garbage: bytes) -> None:
    header = encode_work(ArchiveWork("", "", date(2026, 1, 1), 1, ()))[:HEADER_BYTES]
    for record in (garbage, header + garbage):
        try:
            decode_work(record)
        except Undecodable:
            continue
        assert record.startswith(header)


@given(UUIDS, DAYS, PARTS)
def test_an_objects_name_leads_to_that_of_its_salts(company: str, day: date, part: int) -> None:
    assert keys_key_of(events_key(company, day, part)) == keys_key(company, day, part)


@given(st.lists(st.tuples(UUIDS, DAYS, PARTS), unique=True, min_size=2, max_size=4))
def test_no_two_parts_share_a_name(parts: list[tuple[str, date, int]]) -> None:
    names = [name for part in parts for name in (events_key(*part), keys_key(*part))]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", ["", "events.jsonl.gz", "archives/x/2026/01/31/events.jsonl.gz", "tiles/a", f"archives/{'a' * 36}/2026/1/31/events.jsonl.gz"]
)
def test_other_names_are_no_objects_of_an_archive(name: str) -> None:
    with pytest.raises(ValueError, match="no object"):
        keys_key_of(name)


@given(DAYS)
def test_a_day_begins_with_its_first_microsecond(day: date) -> None:
    assert day_of(day_start(day)) == day
    assert day_of(day_start(day) - 1) == date.fromordinal(day.toordinal() - 1)
    assert day_of(day_start(day) + _DAY - 1) == day
