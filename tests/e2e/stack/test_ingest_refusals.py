"""Bad requests, each with its documented answer; none is a 5xx, and none stores anything."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.support.bad_requests import CASES, GOOD, Case
from tests.support.posting import BATCH, LEAST, SINGLE, Producer
from tests.support.stack import LocalStack


@pytest.fixture(scope="module")
def producer(stack: LocalStack) -> Iterator[Producer]:
    with httpx.Client(base_url=stack.base_url, timeout=60, verify=False) as client:
        yield Producer(stack, client)


def test_the_table_is_large_and_its_names_differ() -> None:
    assert len({(case.path, case.name) for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path}: {case.name}")
def test_a_bad_request_gets_its_answer_and_stores_nothing(producer: Producer, case: Case) -> None:
    answer = producer.post(case.body, case.path, **case.headers)
    stored = producer.stored_since()
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (case.status, case.code), answer.text
    assert [(each.get("index"), each.get("field")) for each in problem.get("details", ())] == list(case.places)
    assert set(problem) <= {"error", "code", "details", "traceId"}
    assert all(set(each) <= {"index", "field", "message"} and each["message"] for each in problem.get("details", ()))
    assert re.fullmatch("[0-9a-f]{32}", problem["traceId"])
    assert (answer.headers["x-trace-id"], answer.headers["content-type"]) == (problem["traceId"], "application/json")
    assert problem["error"]
    assert len(answer.content) < 10_000
    assert stored == 0


def test_a_company_key_may_not_write(producer: Producer) -> None:
    for path, body in ((SINGLE, GOOD), (BATCH, b"[%b]" % GOOD)):
        answer = producer.post(body, path, authorization=f"Bearer {producer.tenant.key}")
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert producer.stored_since() == 0


def test_a_401_says_how_to_authenticate(producer: Producer) -> None:
    """RFC 9110 §15.5.2."""
    assert producer.post(GOOD, authorization=None).headers["www-authenticate"] == "Bearer"


def test_a_key_is_checked_before_anything_of_the_body_is_told(producer: Producer) -> None:
    answer = producer.post(b"{", authorization=None, content_type="text/plain", content_encoding="br")
    assert answer.status_code == 401


def test_more_than_a_day_ahead_is_refused(producer: Producer) -> None:
    received = producer.store()["receivedAt"]
    day, rest = received[:10], received[10:]
    ahead = f"{int(day[:4]) + 1}{day[4:]}{rest}"
    assert producer.post(LEAST | {"timestamp": ahead}).json()["details"][0]["field"] == "timestamp"
    assert producer.stored_since() == 0


def test_incompressible_garbage_is_refused(producer: Producer) -> None:
    for coding in (None, "gzip", "zstd"):
        answer = producer.post(os.urandom(200_000), content_encoding=coding)
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert producer.stored_since() == 0


def test_answers_never_quote_a_key(producer: Producer) -> None:
    secret = "hlk_us_ws_" + "deadbeef" * 6
    answer = producer.post(GOOD, authorization=f"Bearer {secret}")
    assert secret not in answer.text
    assert json.loads(answer.text)["code"] == "UNAUTHORIZED"
