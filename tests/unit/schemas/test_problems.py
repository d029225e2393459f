"""Errors are part of the API: clients switch on their codes and show their details."""

from __future__ import annotations

import json

from schemas.problems import (
    Code,
    Detail,
    InternalError,
    MethodNotAllowed,
    Problem,
    Unauthorized,
    Unavailable,
    ValidationFailed,
    invalid,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_body_holds_sentence_code_and_trace_id_and_nothing_empty() -> None:
    assert json.loads(InternalError().body(TRACE)) == {
        "error": "Something went wrong on our side.",
        "code": "INTERNAL_ERROR",
        "traceId": TRACE,
    }


def test_details_leave_out_what_does_not_apply_but_keep_index_zero() -> None:
    problem = ValidationFailed(details=(Detail("is required", "action", 0), Detail("must be an array")))
    assert json.loads(problem.body(TRACE))["details"] == [
        {"index": 0, "field": "action", "message": "is required"},
        {"message": "must be an array"},
    ]


def test_invalid_is_a_400_that_names_the_field() -> None:
    problem = invalid("limit", "must be at most 200")
    assert (problem.status, problem.details) == (400, (Detail("must be at most 200", "limit"),))


def test_unavailable_always_says_when_to_come_back() -> None:
    assert (b"retry-after", b"2") in Unavailable().headers()
    assert (b"retry-after", b"30") in Unavailable("Kafka is away", retry_after=30).headers()


def test_a_401_challenges_and_a_405_lists_the_methods() -> None:
    assert (b"www-authenticate", b"Bearer") in Unauthorized().headers()
    assert (b"allow", b"GET, HEAD") in MethodNotAllowed("GET, HEAD").headers()


def test_each_problem_has_a_code_of_its_own_with_a_status_and_a_sentence() -> None:
    codes = [kind.code for kind in Problem.__subclasses__()]
    assert len(set(codes)) == len(codes)
    for kind in Problem.__subclasses__():
        assert kind.code.status >= 400
        assert (kind.__doc__ or "").endswith(".")


def test_422_never_occurs() -> None:
    assert 422 not in {code.status for code in Code}
