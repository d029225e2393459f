"""The fast way from a row to a line gives what everybody else's way gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.exports.lines import of_events, of_rows
from ops.rows import to_stored
from schemas.canonical import canonical
from schemas.event import FIRST_TIME, LAST_TIME
from schemas.leaf import commitment
from schemas.topics import Region
from schemas.view import render

IDS = st.uuids()
TIMES = st.integers(FIRST_TIME, LAST_TIME)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
GROUPS = st.dictionaries(TEXTS, TEXTS | st.integers(-100, 100) | st.none(), max_size=3).map(canonical)


@st.composite
def groups(draw: st.DrawFn) -> tuple[bytes, bytes | None]:
    """A group's commitment and salted value: there, erased, or absent."""
    kind = draw(st.sampled_from(("there", "erased", "absent")))
    if kind == "absent":
        return bytes(32), None
    sealed = draw(st.binary(min_size=16, max_size=16)) + draw(GROUPS)
    return commitment(sealed), sealed if kind == "there" else None


@st.composite
def pages(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rows of one workspace, as ``EVENT_COLUMNS`` has them."""
    company, workspace = draw(IDS), draw(IDS)

    def row() -> tuple[Any, ...]:
        four = [draw(groups()) for _ in range(4)]
        link = (draw(st.integers(1, 2**53)), draw(st.binary(min_size=32, max_size=32)), draw(st.binary(min_size=32, max_size=32)), 0, 0)
        ids = (draw(IDS), company, workspace, draw(st.none() | IDS), draw(st.none() | TEXTS), draw(IDS))
        words = (draw(TEXTS), draw(TEXTS), draw(st.none() | TEXTS))
        erased = draw(st.none() | TIMES)
        return (*link, *ids, draw(TIMES), draw(TIMES), *words, b"".join(each for each, _ in four), *(each for _, each in four), erased)

    return [row() for _ in range(draw(st.integers(0, 3)))]


@given(pages(), st.sampled_from(list(Region)), st.booleans())
def test_rows_become_the_lines_that_events_become(rows: list[tuple[Any, ...]], region: Region, verification: bool) -> None:
    events = [to_stored(row, region) for row in rows]  # type: ignore[arg-type]  # a tuple is read as a row is
    expected = b"".join(render(event, verification=verification) + b"\n" for event in events)
    assert of_rows(rows, region, verification=verification) == expected
    assert of_events(events, verification=verification) == expected
