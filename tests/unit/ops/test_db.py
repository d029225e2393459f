"""Named queries, and which errors mean that the database is away."""

from __future__ import annotations

import sys
from pathlib import Path

import asyncpg
import pytest

from ops.db import Timeouts, is_unavailable, load_queries, sqlstate


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    return tmp_path / "some_package"


def test_queries_are_found_by_their_names(package: Path) -> None:
    (package / "queries.sql").write_text(
        "-- Of the events.\n\n-- name: one\n-- the first\nSELECT 1;\n\n-- name: two\n-- the second\nSELECT $1 -- why\nFROM x\n"
    )
    assert dict(load_queries("some_package")) == {"one": "SELECT 1;", "two": "SELECT $1 -- why\nFROM x"}


@pytest.mark.parametrize(
    "text",
    [
        "-- name: one\nSELECT 1\n",
        "-- name: one\n-- for\nSELECT 1\n-- name: one\n-- for\nSELECT 2\n",
        "-- name: one\n-- for\n\n",
        "-- name: One\n-- for\nSELECT 1\n",
    ],
    ids=["unexplained", "twice", "empty", "capital"],
)
def test_a_query_without_name_reason_or_text_is_refused(package: Path, text: str) -> None:
    (package / "queries.sql").write_text(text)
    with pytest.raises(ValueError, match="each query needs"):
        load_queries("some_package")


def postgres_error(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "message"})


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
        *map(postgres_error, ["08006", "28P01", "3D000", "53300", "57014", "57P01", "57P03", "58030"]),
    ],
)
def test_these_say_that_the_database_is_away(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error", [ValueError(), asyncpg.DataError("expected str"), *map(postgres_error, ["22021", "23505", "42P01", "40001"])]
)
def test_these_say_that_the_question_was_wrong(error: Exception) -> None:
    assert not is_unavailable(error)


def test_only_postgres_has_an_sqlstate() -> None:
    assert sqlstate(postgres_error("23505")) == "23505"
    assert sqlstate(ValueError()) is None


def test_timeouts_are_told_to_postgres_in_milliseconds() -> None:
    assert Timeouts(statement=5, lock=0.25).server_settings() == {
        "statement_timeout": "5000",
        "lock_timeout": "250",
        "tcp_user_timeout": "15000",
    }
