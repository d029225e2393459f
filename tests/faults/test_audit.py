"""The judge of the audit finds what it is there to find."""

from __future__ import annotations

import pytest

from schemas.topics import Region
from tests.faults.audit import Entry, check_calls, check_keys
from tests.faults.checker import Verdict
from tests.faults.management import Call

MADE = Entry("SUCCESS", "key-1")
REFUSED = Entry("DENIED", None)


def _call(answer: str) -> Call:
    return Call(Region.US, answer=answer)


def _judge(answer: str, *told: Entry) -> list[str]:
    verdict, call = Verdict(), _call(answer)
    check_calls([call], {call.trace_id: told}, verdict)
    return verdict.violations


@pytest.mark.parametrize(
    ("answer", "told"),
    [("201", [MADE]), ("404", [REFUSED]), ("429", [REFUSED]), ("503", []), ("503", [MADE]), ("TimeoutError", [REFUSED])],
)
def test_what_the_audit_tells_once_is_good(answer: str, told: list[Entry]) -> None:
    assert _judge(answer, *told) == []


@pytest.mark.parametrize(
    ("answer", "told", "blamed"),
    [
        ("201", [], "tells [] instead of ['SUCCESS']"),
        ("201", [MADE, MADE], "instead of ['SUCCESS']"),
        ("201", [REFUSED], "tells ['DENIED']"),
        ("401", [], "tells [] instead of ['DENIED']"),
        ("403", [REFUSED, REFUSED], "instead of ['DENIED']"),
        ("404", [MADE], "tells ['SUCCESS']"),
        ("503", [MADE, MADE], "tells ['SUCCESS', 'SUCCESS']"),
        ("TimeoutError", [MADE, REFUSED], "tells ['SUCCESS', 'DENIED']"),
        ("500", [], "no fault explains this answer"),
    ],
)
def test_an_entry_lost_doubled_or_wrong_is_found(answer: str, told: list[Entry], blamed: str) -> None:
    assert [blamed in violation for violation in _judge(answer, *told)] == [True]


@pytest.mark.parametrize(
    ("keys", "told", "blamed"),
    [
        (["key-1"], [MADE, REFUSED], None),
        (["key-1", "key-2"], [MADE], "no entry for ['key-2']"),
        ([], [MADE], "no key for ['key-1']"),
        (["key-1"], [MADE, MADE], "no key for ['key-1']"),
    ],
)
def test_a_key_without_its_entry_or_an_entry_without_its_key_is_found(keys: list[str], told: list[Entry], blamed: str | None) -> None:
    verdict = Verdict()
    check_keys(keys, {"trace": told}, verdict)
    assert [blamed is not None and blamed in violation for violation in verdict.violations] == [True] * (blamed is not None)
