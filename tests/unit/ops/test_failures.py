"""Exceptions in the log: all that helps to find the fault, nothing of the data."""

from __future__ import annotations

import asyncpg
import psycopg
import pytest
from pydantic import BaseModel, ValidationError

from ops.failures import summary, text_of

PLANTED = "jane.doe@example.org"


class Person(BaseModel):
    age: int


def told(error: Exception) -> str:
    with pytest.raises(type(error)) as caught:
        raise error
    return text_of((type(error), error, caught.tb))


def postgres() -> asyncpg.PostgresError:
    fields = {"S": "ERROR", "C": "23505", "M": f"duplicate key {PLANTED}", "D": f"Key (key)=({PLANTED})\n{PLANTED} already exists."}
    return asyncpg.PostgresError.new(fields)


def invalid() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Person.model_validate({"age": PLANTED})
    return caught.value


@pytest.mark.parametrize(
    "error", [postgres(), asyncpg.DataError(f"invalid input for query argument $1: '{PLANTED}'"), psycopg.DataError(PLANTED), invalid()]
)
def test_what_drivers_and_validators_quote_is_left_out(error: Exception) -> None:
    text = told(error)
    assert PLANTED not in text
    assert type(error).__qualname__ in text
    assert "test_failures.py" in text


def test_the_sqlstate_is_kept() -> None:
    assert summary(postgres()) == "asyncpg.exceptions.UniqueViolationError: SQLSTATE 23505"


def test_our_own_messages_are_kept() -> None:
    assert told(RuntimeError("the app did not start")).endswith("RuntimeError: the app did not start")


def test_what_led_to_it_comes_first_and_is_cut_the_same() -> None:
    try:
        raise RuntimeError("not stored") from postgres()
    except RuntimeError as error:
        text = text_of((RuntimeError, error, error.__traceback__))
    assert PLANTED not in text
    assert text.index("SQLSTATE 23505") < text.index("direct cause") < text.index("RuntimeError: not stored")


def test_each_error_of_a_group_is_told() -> None:
    text = told(ExceptionGroup("two", [ValueError("one"), postgres()]))
    assert "ValueError: one" in text
    assert "SQLSTATE 23505" in text
    assert PLANTED not in text
