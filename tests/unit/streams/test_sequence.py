"""Sequencing is a pure function: dense, in the records' order, and the same whenever it is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.accepted import Envelope
from schemas.chain import START, Head
from schemas.envelope import Receipt, envelope, seal
from schemas.incoming import read
from schemas.leaf import join, leaf_hash
from schemas.topics import Region
from streams.copyrow import place_of
from streams.sequence import ChainEnd, Place, Refusal, Sequenced, SourceRecord, read_record, sequence, workspaces
from tests.support import copyrows

COMPANY = "019c1388-7149-7198-9612-ea72d1f43751"
WORKSPACES = [f"019c1388-3aee-711b-a320-f82d163e96f{digit}" for digit in "abc"]
DAY = 86_400_000_000
NOW = 1_770_000_000_000_000


def record(position: int, workspace: str, events: int, days_ago: int) -> SourceRecord:
    receipt = Receipt(COMPANY, workspace, Region.US, NOW - days_ago * DAY, f"{position + 1:032x}", None)
    tenancy = codec.tenancy(COMPANY, workspace)
    posted = read({"category": "auth", "action": "login", "actor": {"id": "u"}}, NOW)
    ids = [f"019c1388-0000-7000-8{index:03x}-{position:012x}" for index in range(events)]
    return read_record(position, envelope(tenancy, [seal(posted, receipt, id=each, salts=bytes(64), tenancy=tenancy) for each in ids]))


@st.composite
def chunks(draw: st.DrawFn) -> list[SourceRecord]:
    """Records at rising positions, some of them poison."""
    positions = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=6)))
    return [
        read_record(position, b"poison")
        if draw(st.integers(0, 5)) == 0
        else record(position, draw(st.sampled_from(WORKSPACES)), draw(st.integers(1, 4)), draw(st.integers(0, 3)))
        for position in positions
    ]


HEADS = st.dictionaries(
    st.sampled_from(WORKSPACES),
    st.builds(lambda seq, last: ChainEnd(Head(seq, last), 20_000), st.integers(1, 99), st.binary(min_size=32, max_size=32)),
)


def rows_in(result: Sequenced) -> list[dict[str, Any]]:
    return [copyrows.decode(row) for row in result.rows]


def places(records: Sequence[SourceRecord]) -> list[Place]:
    return [Place(each.position, index) for each in records if isinstance(each.envelope, Envelope) for index in range(each.events)]


def rows_of(result: Sequenced, workspace: str) -> list[Any]:
    return [row for row in rows_in(result) if row["workspace_id"] == workspace]


@given(chunks(), HEADS, st.data())
@settings(max_examples=60)
def test_seqs_are_dense_and_linked_and_refusals_take_none(
    records: list[SourceRecord], heads: Mapping[str, ChainEnd], data: st.DataObject
) -> None:
    refused = {place: Refusal("NOT_STORABLE", "") for place in places(records) if data.draw(st.integers(0, 3)) == 0}
    result = sequence(0, records, heads, refused)
    for workspace in WORKSPACES:
        head = heads.get(workspace, ChainEnd(START, 0)).head
        before = head
        for row in rows_of(result, workspace):
            assert (row["seq"], row["prev_hash"]) == (head.seq + 1, head.hash)
            head = Head(row["seq"], row["hash"])
        moved = result.moves.get(workspace)
        assert (before, head) == ((moved.before.head, moved.after.head) if moved else (before, before))
    assert sorted(rejection.place for rejection in result.rejections if rejection.id) == sorted(refused)
    assert len(result.rows) == len(places(records)) - len(refused)
    assert result.next_position == records[-1].position + 1


@given(chunks(), HEADS)
@settings(max_examples=60)
def test_rows_stand_in_the_records_order_and_hash_their_leaves(records: list[SourceRecord], heads: Mapping[str, ChainEnd]) -> None:
    result = sequence(3, records, heads, {})
    events = [event for each in records if isinstance(each.envelope, Envelope) for event in each.envelope.events]
    rows = rows_in(result)
    assert [row["id"] for row in rows] == [event.id_text for event in events]
    assert [(row["source_offset"], row["source_index"]) for row in rows] == places(records) == [place_of(row) for row in result.rows]
    for row, event in zip(rows, events, strict=True):
        assert row["hash"] == leaf_hash(join(event.pieces, row["prev_hash"], row["seq"]))


@given(chunks(), HEADS, st.integers(0, 6))
@settings(max_examples=60)
def test_the_same_records_chain_alike_however_they_are_cut_into_chunks(
    records: list[SourceRecord], heads: Mapping[str, ChainEnd], cut: int
) -> None:
    """After a crash the chunks are others; the hashes must not be."""
    whole = sequence(0, records, heads, {})
    ends = dict(heads)
    rows, announced = [], []
    for part in (records[:cut], records[cut:]):
        if part:
            result = sequence(0, part, ends, {})
            ends |= {workspace: move.after for workspace, move in result.moves.items()}
            rows += result.rows
            announced += result.announcements
    assert (rows, announced) == (whole.rows, whole.announcements)


@given(chunks())
@settings(max_examples=60)
def test_the_archive_day_never_goes_back(records: list[SourceRecord]) -> None:
    """So that ranges of seq tile the days, though clocks of ingest processes differ."""
    result = sequence(0, records, {}, {})
    for workspace in WORKSPACES:
        days = [row["archive_day"] for row in rows_of(result, workspace)]
        assert days == sorted(days)


def test_poison_becomes_a_rejection_of_the_whole_record() -> None:
    result = sequence(0, [read_record(5, b"poison"), read_record(6, None), record(7, WORKSPACES[0], 1, 0)], {}, {})
    assert [(each.place, each.refusal.reason, each.original) for each in result.rejections] == [
        (Place(5, -1), "UNDECODABLE", b"poison"),
        (Place(6, -1), "UNDECODABLE", b""),
    ]
    assert [row["seq"] for row in rows_in(result)] == [1]


@given(chunks())
@settings(max_examples=30)
def test_the_heads_needed_are_those_of_the_envelopes(records: list[SourceRecord]) -> None:
    assert workspaces(records) == {row["workspace_id"] for row in rows_in(sequence(0, records, {}, {}))}
