"""CSV that any reader takes apart again, and in which a spreadsheet finds no formula."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.exports.table import COLUMNS, HEADER, neutral, neutral_json, of_events
from schemas.canonical import canonical
from schemas.event import StoredEvent
from schemas.view import render
from tests.support.chains import Chain, group

SIGNS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
SPACES = ["\f", "\v", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"]
LETTERS = st.sampled_from([*SIGNS, *SPACES, "a", "=", "+", "-", "@", "\t", "\r", "\n", '"', "\\", ",", ":", "{", "[", "'", "ü", "𝒳", " "])
TEXTS = st.text(LETTERS, max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(-9, 9) | st.booleans() | st.none() | st.floats(-5, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
EVENT = Chain("019c0f00-52a1-7c3e-8f01-6b1de0c4a7f2", "019c0f00-5b40-7a55-b1c9-0d2f3e4a5b6c").event()


def event(tenant_id: str | None, metadata: Any) -> StoredEvent:
    return replace(EVENT, tenant_id=tenant_id, metadata=None if metadata is None else group(canonical(metadata)))


def read(events: list[StoredEvent], *, raw: bool) -> list[dict[str, str]]:
    text = (HEADER + of_events(events, raw=raw)).decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def strings(value: Any) -> list[str]:
    """Every string in it, names of members too."""
    if isinstance(value, dict):
        return [*value, *(found for each in value.values() for found in strings(each))]
    if isinstance(value, list):
        return [found for each in value for found in strings(each)]
    return [value] if isinstance(value, str) else []


def is_dangerous(text: str) -> bool:
    return text.startswith(("\t", "\r", "\n")) or text.lstrip().startswith(SIGNS)


def marked(value: Any) -> Any:
    """The value with an apostrophe in front of each string that needs one: the slow and obvious way."""
    if isinstance(value, dict):
        return {marked(name): marked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [marked(each) for each in value]
    return f"'{value}" if isinstance(value, str) and is_dangerous(value) else value


@given(st.lists(st.tuples(st.none() | TEXTS, st.none() | OBJECTS), max_size=4))
def test_raw_cells_are_what_was_stored(values: list[tuple[str | None, Any]]) -> None:
    found = read([event(*each) for each in values], raw=True)
    assert [(row["tenantId"], row["metadata"]) for row in found] == [
        (tenant or "", "" if metadata is None else canonical(metadata).decode()) for tenant, metadata in values
    ]


@given(st.lists(st.tuples(st.none() | TEXTS, st.none() | OBJECTS), max_size=4))
def test_no_cell_is_a_formula_and_no_string_within_one(values: list[tuple[str | None, Any]]) -> None:
    found = read([event(*each) for each in values], raw=False)
    assert len(found) == len(values)
    for row, (tenant, metadata) in zip(found, values, strict=True):
        assert not any(is_dangerous(cell) for cell in row.values())
        assert row["tenantId"] == marked(tenant or "")
        if metadata is not None:
            assert not any(is_dangerous(text) for text in strings(orjson.loads(row["metadata"])))


@given(VALUES)
def test_only_what_needs_it_is_changed(value: Any) -> None:
    """The pattern on the text does what walking the value does."""
    text = canonical({"v": value}).decode()
    changed = neutral_json(text)
    assert orjson.loads(changed) == marked(orjson.loads(text))
    assert changed.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *[(cell, f"'{cell}") for cell in ("=1+1", "@x", "\n=1", "\nx", " =1", "\xa0\t-1", "\uff1d1", "\u3000\uff20x")],
        *[(cell, cell) for cell in ("a=b", "", " ", " a=b", "'=1", "a\n=1")],
    ],
)
def test_a_formula_becomes_text(cell: str, expected: str) -> None:
    assert neutral(cell) == expected


def test_the_columns_are_the_events() -> None:
    """But for what only some have, and what only verifiers want."""
    shown = list(orjson.loads(render(EVENT, verification=False)))
    assert list(COLUMNS) == [*shown, "erasedAt"]
