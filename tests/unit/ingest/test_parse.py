"""From bodies to events: every finding names its event and field, and nothing a client sends ends in a 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import parse
from schemas.incoming import MAX_BATCH_EVENTS, MAX_EVENT_BYTES, IncomingEvent
from schemas.problems import PayloadTooLarge, Problem, ValidationFailed
from tests.unit.schemas.strategies import POSTED, VALUES

NOW = 2**60
LEAST = {"category": "auth", "action": "login"}
GOOD = orjson.dumps(LEAST)
DEEP = b"[" * 1000 + b"]" * 1000
BAD_LINES = [
    pytest.param(b"{", None, id="syntax"),
    pytest.param(b"[]", None, id="array"),
    pytest.param(b'{"category":"auth"}', "action", id="missing"),
    pytest.param(b'{"category":"auth","action":"a","action":"b"}', "action", id="duplicate"),
    pytest.param(b'{"category":"auth","action":"login","metadata":{"k":1,"\\u006b":2}}', "metadata.k", id="escaped duplicate"),
    pytest.param(b'{"category":"auth","action":"login","metadata":{"a":[0,1e300]}}', "metadata.a[1]", id="number"),
    pytest.param(b'{"category":"auth","action":"login","metadata":{"a":"\\u0000"}}', "metadata.a", id="nul"),
]


def ndjson(body: bytes) -> list[IncomingEvent]:
    return asyncio.run(parse.lines(body, NOW))


def array(body: bytes) -> list[IncomingEvent]:
    return asyncio.run(parse.batch(body, NOW))


def refusal(read: Any, body: bytes) -> Problem:
    with pytest.raises(Problem) as refused:
        read(body)
    return refused.value


def single(body: bytes) -> IncomingEvent:
    return parse.single(body, NOW)


@given(POSTED)
def test_one_event_is_read_alike_by_itself_and_in_batches(value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    assert [single(text)] == array(b"[%b]" % text) == ndjson(text + b"\n")


@pytest.mark.parametrize(("line", "field"), BAD_LINES)
def test_the_bad_one_is_named(line: bytes, field: str | None) -> None:
    alone = refusal(single, line)
    assert [(each.index, each.field) for each in alone.details] == [(None, field)]
    by_line = refusal(ndjson, b"\n".join((GOOD, GOOD, line, GOOD)))
    assert [(each.index, each.field) for each in by_line.details] == [(2, field)]
    if line != b"{":
        in_array = refusal(array, b"[" + b",".join((GOOD, GOOD, line, GOOD)) + b"]")
        assert [(each.index, each.field) for each in in_array.details] == [(2, field)]


def test_every_bad_event_of_a_batch_is_named() -> None:
    details = refusal(array, orjson.dumps([LEAST, {}, LEAST, {"category": "auth"}])).details
    assert [(each.index, each.field) for each in details] == [(1, "category"), (1, "action"), (3, "action")]


@pytest.mark.parametrize("read", [array, ndjson])
def test_an_answer_never_lists_more_than_20_findings(read: Any) -> None:
    body = orjson.dumps([{}] * 100) if read is array else b"{}\n" * 100
    assert len(refusal(read, body).details) == 20


def test_neither_does_that_to_a_single_event() -> None:
    """Else a small request could ask for an answer many times its size."""
    assert len(refusal(single, orjson.dumps({f"k{number}": 1 for number in range(5000)})).details) == 20


@pytest.mark.parametrize("read", [single, array, ndjson])
def test_a_deep_value_behind_a_repeated_key_is_refused(read: Any) -> None:
    """The parser keeps the last of two keys, so that only the slow check for repeats meets the depth."""
    event = b'{"category":"auth","action":"login","metadata":{"a":%b,"a":1}}' % DEEP
    body = b"[%b]" % event if read is array else event
    assert isinstance(refusal(read, body), ValidationFailed)


@pytest.mark.parametrize("read", [single, array, ndjson])
@pytest.mark.parametrize(
    "body", [b"", b" ", b"null", b"true", b"1", b'"text"', b"\xff", b"\xef\xbb\xbf{}", DEEP, b"[" * 100_000, b'{"a":' * 50_000]
)
def test_what_is_no_event_is_refused(read: Any, body: bytes) -> None:
    assert isinstance(refusal(read, body), ValidationFailed)


@pytest.mark.parametrize("read", [array, ndjson])
def test_a_batch_holds_1_to_1000_events(read: Any) -> None:
    def body(count: int) -> bytes:
        return b"\n".join([GOOD] * count) if read is ndjson else b"[%b]" % b",".join([GOOD] * count)

    assert len(read(body(1))) == 1
    assert len(read(body(MAX_BATCH_EVENTS))) == MAX_BATCH_EVENTS
    assert isinstance(refusal(read, body(0)), ValidationFailed)
    assert isinstance(refusal(read, body(MAX_BATCH_EVENTS + 1)), PayloadTooLarge)


def test_empty_lines_are_skipped_and_do_not_count() -> None:
    body = b"\n\n".join((GOOD, b"  \t", GOOD + b"\r", b"{}"))
    assert [each.index for each in refusal(ndjson, body).details] == [2, 2]
    assert len(ndjson(b"\r\n\n" + GOOD + b"\r\n\r\n" + GOOD)) == 2


def test_a_text_over_two_lines_is_two_bad_lines() -> None:
    assert refusal(ndjson, b'{"category":"auth",\n"action":"login"}').details[0].index == 0


def test_an_event_too_large_is_named() -> None:
    large = LEAST | {"metadata": {"a": "x" * MAX_EVENT_BYTES}}
    problem = refusal(array, orjson.dumps([LEAST, large]))
    assert isinstance(problem, PayloadTooLarge)
    assert [each.index for each in problem.details] == [1]
    assert isinstance(refusal(single, orjson.dumps(large)), PayloadTooLarge)


def test_a_batch_may_be_10_mib_in_canonical_form() -> None:
    """Canonical form can be longer than what was sent: 1e15 becomes 1000000000000000."""
    event = b'{"category":"auth","action":"login","metadata":{"a":[%b]}}' % b",".join([b"1e15"] * 7000)
    assert len(array(b"[%b]" % b",".join([event] * 10))) == 10
    problem = refusal(array, b"[%b]" % b",".join([event] * 100))
    assert isinstance(problem, PayloadTooLarge)
    assert "10 MiB" in problem.sentence


def outcome(read: Any, body: bytes) -> Problem | None:
    try:
        read(body)
    except Problem as problem:
        return problem
    return None


@given(st.lists(POSTED | VALUES, max_size=3), st.binary(max_size=6), st.data())
@settings(max_examples=300)
def test_whatever_comes_is_read_or_refused(values: list[Any], garbage: bytes, data: st.DataObject) -> None:
    for separator, read in ((b",", array), (b"\n", ndjson), (b"", single)):
        text = separator.join(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode() for value in values)
        at = data.draw(st.integers(0, len(text)))
        for body in (text, text[:at] + garbage + text[at:]):
            problem = outcome(read, b"[%b]" % body if read is array else body)
            if problem is not None:
                assert problem.status in (400, 413)
                json.loads(problem.body("0" * 32))
