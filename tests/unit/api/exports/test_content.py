"""However a content comes in batches: what is sent, what the manifest says, and where it goes on are one and the same."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from api.exports.coding import coder
from api.exports.content import Content
from api.exports.encoders import Csv, Encoder, Jsonl, Parquet
from api.exports.source import Batch
from schemas.event import StoredEvent
from schemas.topics import Region
from tests.support.chains import Chain

COMPANY = str(uuid4())
CHAINS = [Chain(COMPANY, str(uuid4())).events(4) for _ in range(2)]
CUTS = st.lists(st.integers(0, 4), max_size=3).map(sorted)


def batches(cuts: list[int]) -> list[Batch]:
    """Both chains, each cut there."""
    made = []
    for events in CHAINS:
        edges = [0, *cuts, len(events)]
        made += [Batch(events[0].workspace_id, events=events[first:last]) for first, last in pairwise(edges)]
    return made


def sent(content: Content, cuts: list[int]) -> bytes:
    """All that goes out."""
    body = content.begin()
    for batch in batches(cuts):
        body += content.add(batch)
        if content.truncated:
            break
    return body + content.end()


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "JSONL": lambda: Jsonl(Region.US, verification=True),
    "CSV": lambda: Csv(Region.US, raw=False),
    "PARQUET": lambda: Parquet(Region.US, group_rows=3),
}


@given(CUTS, st.sampled_from(sorted(ENCODERS)), st.none() | st.integers(1, 9), st.integers(0, 9000))
def test_rows_bytes_and_hash_are_of_the_whole_whatever_is_left_out(cuts: list[int], form: str, most: int | None, offset: int) -> None:
    whole = Content(ENCODERS[form](), coder("identity"), most, 0)
    expected = sent(whole, [])
    content = Content(ENCODERS[form](), coder("identity"), most, offset)
    assert sent(content, cuts) == expected[offset:]
    assert content.result() == whole.result()
    assert (content.result().size, content.result().sha256) == (len(expected), sha256(expected).digest())
    there: list[StoredEvent] = [event for events in CHAINS for event in events]
    assert content.rows == min(len(there), most or 99)
    assert content.truncated == (most is not None and most < len(there))


@given(CUTS, st.integers(1, 8))
def test_the_manifest_names_the_ends_of_each_chain(cuts: list[int], most: int) -> None:
    content = Content(ENCODERS["JSONL"](), coder("identity"), most, 0)
    sent(content, cuts)
    parts = [events[: max(0, most - 4 * number)] for number, events in enumerate(CHAINS)]
    assert content.result().workspaces == [
        {
            "workspaceId": part[0].workspace_id,
            "rows": str(len(part)),
            "firstSeq": 1,
            "firstPrevHash": "00" * 32,
            "firstHash": part[0].hash.hex(),
            "lastSeq": part[-1].seq,
            "lastHash": part[-1].hash.hex(),
        }
        for part in parts
        if part
    ]


@given(st.booleans(), st.sampled_from([[0, 1, 2, 3], [0, 3], [1, 3], [0, 1, 3]]))
def test_of_what_is_not_filtered_every_unbroken_run_is_named(filtered: bool, kept: list[int]) -> None:
    """Or else nobody could tell what was never there from what was taken out."""
    events = CHAINS[0]
    content = Content(ENCODERS["JSONL"](), coder("identity"), None, 0, filtered=filtered)
    for number in kept:
        content.add(Batch(events[0].workspace_id, events=[events[number]]))
    told = [(part["firstSeq"] - 1, part["lastSeq"] - 1, int(part["rows"])) for part in content.result().workspaces]
    runs = [(0, 3, 4)] if len(kept) == 4 else [(number, number, 1) for number in kept] if len(kept) == 2 else [(0, 1, 2), (3, 3, 1)]
    assert told == ([(kept[0], kept[-1], len(kept))] if filtered else runs)
