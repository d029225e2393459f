"""The check of idempotency keys finds what it is there to find."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.faults import keyed
from tests.faults.checker import Verdict
from tests.faults.ledger import Ledger, Outcome, Request

_WORKSPACE = str(uuid4())


def ended(request: Request, answer: str, *ids: str) -> Request:
    request.outcome = {"200": Outcome.ACCEPTED, "202": Outcome.ACCEPTED, "409": Outcome.REFUSED}.get(answer, Outcome.UNKNOWN)
    request.answer, request.ids = answer, ids
    return request


def judge(
    ledger: Ledger, found: dict[str, list[str]], rejected: dict[str, str] | None = None, aliases: dict[str, str] | None = None
) -> list[str]:
    verdict = Verdict()
    keyed.check(ledger.requests, found, rejected or {}, aliases or {}, verdict)
    return verdict.violations


@pytest.fixture
def ledger() -> Ledger:
    """One event under a key, sent twice: told ``a``, then ``b``."""
    ledger = Ledger("m")
    first = ended(ledger.sent(_WORKSPACE, 1, is_keyed=True), "202", "a")
    ended(ledger.again(first), "202", "b")
    return ledger


def test_a_repeat_leads_to_the_first_one(ledger: Ledger) -> None:
    assert judge(ledger, {"m-0": ["a"]}, aliases={"b": "a"}) == []


@pytest.mark.parametrize(
    ("found", "aliases", "blamed"),
    [
        ({"m-0": ["a"]}, {}, "told id b, which leads nowhere"),
        ({}, {"b": "a"}, "leads nowhere"),
        ({"m-0": ["a", "b"]}, {}, "stands for 2 events"),
    ],
)
def test_an_id_that_leads_nowhere_and_a_double_are_found(
    ledger: Ledger, found: dict[str, list[str]], aliases: dict[str, str], blamed: str
) -> None:
    assert blamed in judge(ledger, found, aliases=aliases)[0]


def test_of_two_contents_one_is_stored(ledger: Ledger) -> None:
    ended(ledger.rival(ledger.requests[0]), "202", "c")
    found, aliases = {"m-0": ["a"]}, {"b": "a"}
    assert judge(ledger, found, {"c": "IDEMPOTENCY_CONFLICT"}, aliases) == []
    assert "leads nowhere" in judge(ledger, found, {"c": "NOT_STORABLE"}, aliases)[0]
    assert "stands for 2 events" in judge(ledger, found | {"m-1": ["c"]}, {}, aliases)[0]


def test_a_conflict_needs_another_content(ledger: Ledger) -> None:
    ended(ledger.again(ledger.requests[0]), "409")
    assert "without another content" in judge(ledger, {"m-0": ["a"]}, aliases={"b": "a"})[0]


def test_a_batch_is_stored_whole() -> None:
    ledger = Ledger("m")
    ended(ledger.sent(_WORKSPACE, 2, is_keyed=True), "503")
    assert judge(ledger, {}) == []
    assert "in part" in judge(ledger, {"m-1": ["b"]})[0]
