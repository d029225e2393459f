"""How refusals stand in the document: by status, each code told, no code twice."""

from __future__ import annotations

from schemas.openapi import Json, merge, refusals, say
from schemas.problems import Conflict, Forbidden, IdempotencyConflict, NotFound, PlanRestricted, Problem


class WrongPlace(Forbidden):
    """Not from there."""


def codes(answers: Json, status: str) -> list[str]:
    found: list[str] = answers[status]["content"]["application/json"]["schema"]["properties"]["code"]["enum"]
    return found


def test_problems_of_one_status_are_one_answer() -> None:
    answers = refusals((Conflict, NotFound, IdempotencyConflict))
    assert answers.keys() == {"404", "409"}
    assert codes(answers, "409") == ["CONFLICT", "IDEMPOTENCY_CONFLICT"]
    assert answers["409"]["description"] == f"`CONFLICT`: {Conflict.__doc__} `IDEMPOTENCY_CONFLICT`: {IdempotencyConflict.__doc__}"


def test_each_has_an_example_as_it_is_answered() -> None:
    examples = refusals((Forbidden, PlanRestricted))["403"]["content"]["application/json"]["examples"]
    assert examples["PlanRestricted"]["value"].items() >= {"code": "PLAN_RESTRICTED", "error": PlanRestricted.__doc__}.items()
    assert examples.keys() == {"Forbidden", "PlanRestricted"}


def test_a_route_may_say_it_in_its_own_words() -> None:
    said: dict[type[Problem], str] = {NotFound: "No such key."}
    assert refusals((NotFound,), said)["404"]["description"] == "`NOT_FOUND`: No such key."


def test_what_is_there_stays_and_what_is_new_is_added() -> None:
    answers = refusals((Forbidden,), {Forbidden: "Not this key."})
    merge(answers, refusals((Forbidden,)))
    assert answers["403"]["description"] == "`FORBIDDEN`: Not this key."
    merge(answers, refusals((WrongPlace, NotFound)))
    assert answers["403"]["description"] == "`FORBIDDEN`: Not this key. `FORBIDDEN`: Not from there."
    assert (codes(answers, "403"), codes(answers, "404")) == (["FORBIDDEN"], ["NOT_FOUND"])


def test_one_that_is_answered_in_other_words_is_so_in_its_example_too() -> None:
    answers = refusals((Forbidden, PlanRestricted))
    say(answers, Forbidden, "Not you.")
    example = answers["403"]["content"]["application/json"]["examples"]["Forbidden"]
    assert (example["summary"], example["value"]["error"]) == ("Not you.", "Not you.")
    assert answers["403"]["description"] == f"`FORBIDDEN`: Not you. `PLAN_RESTRICTED`: {PlanRestricted.__doc__}"
    assert refusals((Forbidden,))["403"]["description"] == f"`FORBIDDEN`: {Forbidden.__doc__}"
