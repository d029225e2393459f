"""When an event counts as seen in Postgres."""

from __future__ import annotations

from tests.bench.visible import Sightings


def test_an_event_is_visible_with_the_first_head_at_or_above_its_seq() -> None:
    sightings = Sightings()
    for at, seq in ((1.0, 10), (1.5, 10), (2.0, 25), (3.0, 26)):
        sightings.note_heads(at, [("w", seq), ("other", 1)])
    assert [sightings.persisted_at("w", seq) for seq in (10, 11, 25, 26)] == [1.0, 2.0, 2.0, 3.0]
