"""The checker finds what it is there to find: a check that can't fail proves nothing."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.topics import Region
from tests.faults.checker import Message, Stored, Verdict, check_chains, check_promises, check_topic
from tests.faults.ledger import Ledger, Outcome, Request
from tests.support.chains import Chain

_WORKSPACE = str(uuid4())


def _chain(*markers: str) -> Stored:
    chain = Chain(str(uuid4()), _WORKSPACE)
    events = [replace(chain.event(metadata=b'{"marker":"%b"}' % marker.encode()), source_offset=n) for n, marker in enumerate(markers)]
    return Stored(events, {_WORKSPACE: 3}, {_WORKSPACE: chain.head}, {})


def _ledger(outcome: Outcome, stored: Stored, events: int = 2, answer: str = "202") -> tuple[Ledger, Request]:
    ledger = Ledger("m")
    request = ledger.sent(_WORKSPACE, events)
    request.outcome, request.answer = outcome, answer
    request.ids = tuple(event.id for event in stored.events[:events])
    return ledger, request


def _judge(ledger: Ledger, stored: Stored) -> list[str]:
    verdict = Verdict()
    check_promises(ledger, [stored], verdict)
    return verdict.violations


def test_what_was_accepted_and_is_stored_once_is_good() -> None:
    stored = _chain("m-0", "m-1")
    ledger, _ = _ledger(Outcome.ACCEPTED, stored)
    assert _judge(ledger, stored) == []


def test_an_accepted_event_that_is_missing_is_found_unless_it_was_rejected() -> None:
    stored = _chain("m-0", "m-1")
    ledger, request = _ledger(Outcome.ACCEPTED, stored)
    del stored.events[1]
    assert "accepted event m-1" in _judge(ledger, stored)[0]
    stored.rejected[request.ids[1]] = "NOT_STORABLE"
    assert _judge(ledger, stored) == []


@pytest.mark.parametrize(
    ("outcome", "answer", "markers", "blamed"),
    [
        (Outcome.ACCEPTED, "202", ["m-0", "m-1", "m-0"], "accepted event m-0"),
        (Outcome.UNKNOWN, "503", ["m-0", "m-1", "m-0", "m-1"], "stored [2, 2] times"),
        (Outcome.UNKNOWN, "503", ["m-1"], "stored [0, 1] times"),
        (Outcome.REFUSED, "400", ["m-0"], "is stored"),
        (Outcome.REFUSED, "401", [], "no fault explains this answer"),
        (Outcome.UNKNOWN, "500", [], "no fault explains this answer"),
        (Outcome.UNKNOWN, "503", ["x-7"], "stored and never sent"),
    ],
)
def test_broken_promises_are_found(outcome: Outcome, answer: str, markers: list[str], blamed: str) -> None:
    stored = _chain(*markers)
    ledger, _ = _ledger(outcome, stored, answer=answer)
    assert [blamed in violation for violation in _judge(ledger, stored)] == [True]


@pytest.mark.parametrize("markers", [[], ["m-0", "m-1"]])
def test_what_is_unknown_may_be_stored_or_not(markers: list[str]) -> None:
    stored = _chain(*markers)
    ledger, _ = _ledger(Outcome.UNKNOWN, stored, answer="TimeoutError")
    assert _judge(ledger, stored) == []


def _chain_findings(events: list[StoredEvent], stored: Stored) -> int:
    verdict = Verdict()
    check_chains(replace(stored, events=events), [_WORKSPACE], verdict)
    return verdict.counts["violations"]


def test_a_broken_chain_is_found() -> None:
    stored = _chain("m-0", "m-1", "m-2")
    first, second, third = stored.events
    assert _chain_findings([first, second, third], stored) == 0
    assert _chain_findings([first, third], stored) > 0
    assert _chain_findings([first, second], stored) > 0
    assert _chain_findings([first, second, second, third], stored) > 0
    assert _chain_findings([first, replace(second, action="user.logout"), third], stored) > 0


def _topic_findings(stored: Stored, order: list[int], partition: int = 3) -> Verdict:
    records: list[Message] = [(_WORKSPACE.encode(), encode_stored(stored.events[index])) for index in order]
    verdict = Verdict()
    check_topic(Region.US, {partition: records}, stored, verdict)
    return verdict


def test_repeats_on_the_topic_are_counted_and_good() -> None:
    verdict = _topic_findings(_chain("a", "b", "c"), [0, 1, 0, 1, 2, 1])
    assert verdict.violations == []
    assert verdict.counts == {"records on the topic": 6, "repeats on the topic": 3}


@pytest.mark.parametrize("order", [[0, 2], [0, 2, 1], [0, 1], []])
def test_a_topic_with_a_gap_or_out_of_order_is_found(order: list[int]) -> None:
    assert _topic_findings(_chain("a", "b", "c"), order).violations


def test_a_record_of_another_partition_or_content_is_found() -> None:
    stored = _chain("a", "b")
    assert _topic_findings(stored, [0, 1], partition=4).violations
    changed = replace(stored, events=[stored.events[0], replace(stored.events[1], action="user.logout")])
    verdict = Verdict()
    check_topic(Region.US, {3: [(_WORKSPACE.encode(), encode_stored(event)) for event in stored.events]}, changed, verdict)
    assert verdict.violations
