"""Cursors lead on in the list that gave them out, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import Cursors, Position
from schemas.problems import ValidationFailed

SECRET, PREVIOUS = b"s" * 32, b"p" * 32
QUESTION = {"route": "events", "company": "c", "category": None}
POSITIONS = st.builds(Position, st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16))


@given(POSITIONS)
def test_a_cursor_leads_back_to_its_position(position: Position) -> None:
    cursors = Cursors((SECRET,))
    assert cursors.read(QUESTION, cursors.write(QUESTION, position)) == position


@given(POSITIONS)
def test_a_cursor_of_the_previous_secret_is_still_good(position: Position) -> None:
    cursor = Cursors((PREVIOUS,)).write(QUESTION, position)
    assert Cursors((SECRET, PREVIOUS)).read(QUESTION, cursor) == position
    with pytest.raises(ValidationFailed):
        Cursors((SECRET,)).read(QUESTION, cursor)


@pytest.mark.parametrize("other", [QUESTION | {"company": "d"}, QUESTION | {"category": "user"}, {"route": "events", "company": "c"}])
def test_another_question_refuses_it(other: dict[str, str | None]) -> None:
    cursors = Cursors((SECRET,))
    with pytest.raises(ValidationFailed):
        cursors.read(other, cursors.write(QUESTION, Position(1, bytes(16))))


@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda data: data.hex()))
def test_anything_else_is_a_400_on_the_field_cursor(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        Cursors((SECRET,)).read(QUESTION, text)
    assert [detail.field for detail in caught.value.details] == ["cursor"]
