"""Whatever bytes come, ingest answers 202 or a documented 4xx, and what it accepted is stored."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.posting import BATCH, SINGLE, Producer
from tests.support.stack import LocalStack
from tests.unit.schemas.strategies import POSTED, TEXT, VALUES

CODES = {400: "VALIDATION_ERROR", 409: "IDEMPOTENCY_CONFLICT", 413: "PAYLOAD_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}
_WORDS = [
    '"category"',
    '"action"',
    '"metadata"',
    '"auth"',
    '"a"',
    '"\\ud800"',
    '"\\u0000"',
    '"\\u003a"',
    "1e308",
    "1e400",
    "-0.0",
    "null",
    "NaN",
]
# JSON as people get it wrong: the right tokens in the wrong places, odd numbers, halves of surrogates.
TOKENS = st.sampled_from([*'{}[]:,"\\ 1é😀', "\n", "\x00", "\ufeff", *_WORDS])
TEXTS = st.lists(TOKENS, max_size=25).map("".join)
BODIES = st.one_of(
    (POSTED | VALUES).map(lambda value: json.dumps(value).encode()),
    st.lists(POSTED | VALUES, max_size=3).map(lambda values: json.dumps(values).encode()),
    TEXTS.map(str.encode),
    st.builds(lambda text: b'{"category":"auth","action":"a","metadata":{"a":%b}}' % text.encode(), TEXTS),
    st.binary(max_size=60),
)
SPOILT = st.builds(
    lambda body, at, garbage: body[: at % (len(body) + 1)] + garbage + body[at % (len(body) + 1) :],
    BODIES,
    st.integers(0, 500),
    st.binary(max_size=4),
)
CODINGS = st.sampled_from([(None, bytes), ("gzip", gzip.compress), ("zstd", zstandard.compress), ("gzip", bytes), ("zstd", bytes)])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "prefer": st.sampled_from(["wait", "wait=0", "wait=x", "return=minimal"]),
        "idempotency_key": st.sampled_from(["", "k", "é", "k" * 256])
        | TEXT.filter(lambda text: text.isprintable() and text == text.strip()),
        "traceparent": TEXT.filter(lambda text: text.isprintable() and text == text.strip()),
        "content_type": st.sampled_from(["application/json", "application/x-ndjson", "text/plain", "application/json; charset=x"]),
    },
)


@pytest.fixture(scope="module")
def producer(stack: LocalStack) -> Iterator[Producer]:
    with httpx.Client(base_url=stack.base_url, timeout=60, verify=False) as client:
        yield Producer(stack, client)


def accepted(answer: httpx.Response) -> int:
    """How many events the answer promises to store; checks its shape. Keys come again, as hypothesis likes to repeat itself."""
    body = answer.json()
    if answer.status_code == 202:
        return sum(event["status"] == "ACCEPTED" for event in body.get("events", [body]))
    if answer.status_code == 200:
        assert body["hash"], answer.text
        return 0
    assert (answer.status_code, body["code"]) in CODES.items(), answer.text
    assert body["traceId"] == answer.headers["x-trace-id"]
    return 0


@given(body=BODIES | SPOILT, path=st.sampled_from([SINGLE, BATCH]), coding=CODINGS, headers=HEADERS)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_request_is_answered_as_documented(producer: Producer, body: bytes, path: str, coding: Any, headers: dict[str, str]) -> None:
    name, pack = coding
    answer = producer.post(pack(body), path, content_encoding=name, **headers)
    promised = accepted(answer)
    if promised:
        assert producer.stored_since() == promised


@given(value=POSTED.map(lambda event: {name: value for name, value in event.items() if name != "timestamp"}))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_valid_event_is_stored_as_sent(producer: Producer, value: dict[str, Any]) -> None:
    if value.get("projectId") is not None:
        value["projectId"] = str(producer.workspace.project_id)  # no other is valid
    if value.get("idempotencyKey") is not None:
        value["idempotencyKey"] = f"{uuid4()} {value['idempotencyKey']}"[:255]  # hypothesis likes to repeat itself
    event = producer.store(value)
    for name in ("category", "action", "projectId", "tenantId", "outcome", "actor", "resource", "metadata"):
        assert event[name] == value.get(name)
