"""Filters in memory, against the plain answer that the database's are held to as well (tests/integration/test_query_reference.py)."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings

from api.asked import EventFilter
from api.tail.frames import Told
from api.tail.matching import matcher
from schemas.topics import Region
from tests.support.asking import Known, answer, filters, make_events
from tests.support.chains import Chain

COMPANY = "0190a000-0000-7000-8000-00000000000c"
CHAINS = [Chain(COMPANY, f"0190a000-0000-7000-8000-00000000000{number}", Region.US) for number in range(3)]
EVENTS = [event for chain in CHAINS for event in make_events(chain, 80, random.Random(7))]


@given(filters([chain.workspace_id for chain in CHAINS], ["key-1"]))
@settings(deadline=None)
def test_it_lets_pass_what_a_query_finds(asked: EventFilter) -> None:
    wanted = replace(asked, idempotency_key=None)
    matches = matcher(COMPANY, wanted)
    found = {event.id for event in EVENTS if matches(Told(event, 0))}
    assert found == set(answer([Known(event, None, searchable=True) for event in EVENTS], wanted))
