"""What commands print: whole for people however narrow the terminal, one document for programs, and nothing that steers a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.output import cell, echo_json, listing

# What orjson writes: integers of 64 bits, and text without lone surrogates.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_ROWS = st.lists(
    st.fixed_dictionaries({"id": st.uuids().map(str), "companyId": st.uuids().map(str), "name": _TEXT, "more": _VALUES}), max_size=5
)
_QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@_QUIET
@given(rows=_ROWS)
def test_programs_read_exactly_what_there_is(rows: Sequence[Mapping[str, object]], capsys: pytest.CaptureFixture[str]) -> None:
    listing(rows, ("id", "name"), as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == list(rows)
    assert all(line.isprintable() for line in printed.split("\n"))
    assert [UUID(row["id"]) for row in json.loads(printed)] == [UUID(str(row["id"])) for row in rows]


@_QUIET
@given(rows=_ROWS, columns=st.integers(20, 200))
def test_people_get_whole_ids_on_any_terminal(
    rows: Sequence[Mapping[str, object]], columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        listing(rows, ("id", "companyId", "name"), as_json=False)
    printed = capsys.readouterr().out
    assert all(str(row[name]) in printed for row in rows for name in ("id", "companyId"))


@given(value=_VALUES)
def test_no_value_steers_a_terminal(value: object) -> None:
    assert str(cell(value)).isprintable()


def test_names_are_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    listing([{"id": "1", "name": "[red]Initech[/red] \x1b[2J"}], ("id", "name"), as_json=False)
    assert r"[red]Initech[/red] \u001b[2J" in capsys.readouterr().out


def test_a_document_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"id": "\u202e"})
    assert capsys.readouterr().out == '{\n  "id": "\\u202e"\n}\n'
