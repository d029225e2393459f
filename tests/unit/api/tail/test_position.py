"""Positions lead back to where they were given out, and tell nobody else anything."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.tail.position import MAX_CHARACTERS, Audience, Position, Positions

SECRET, PREVIOUS = b"s" * 32, b"p" * 32
COMPANY, WORKSPACE = Audience("c", None), Audience("c", "w")
PLACES = st.dictionaries(st.integers(0, 1023), st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1)), max_size=8)
POSITIONS = st.builds(Position, st.integers(-(2**62), 2**62), st.integers(0, 2**62), PLACES)


@given(POSITIONS)
def test_it_leads_back(position: Position) -> None:
    for audience in (COMPANY, WORKSPACE):
        text = Positions((SECRET,)).write(audience, position).decode()
        assert Positions((SECRET,)).read(audience, text) == position
        assert text.isascii()
        assert "\n" not in text


@given(POSITIONS)
def test_that_one_comes_again_is_not_to_be_seen(position: Position) -> None:
    ours = Positions((SECRET,))
    first, second = (ours.write(COMPANY, position).decode() for _ in range(2))
    assert first != second
    assert ours.read(COMPANY, first) == ours.read(COMPANY, second) == position


@given(POSITIONS)
def test_one_of_the_previous_secret_is_still_good(position: Position) -> None:
    text = Positions((PREVIOUS,)).write(COMPANY, position).decode()
    assert Positions((SECRET, PREVIOUS)).read(COMPANY, text) == position
    with pytest.raises(ValueError, match="not ours"):
        Positions((SECRET,)).read(COMPANY, text)


@given(POSITIONS, st.data())
def test_not_a_bit_of_it_can_be_changed(position: Position, data: st.DataObject) -> None:
    sealed = bytearray(urlsafe_b64decode(Positions((SECRET,)).write(COMPANY, position)))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="not ours"):
        Positions((SECRET,)).read(COMPANY, urlsafe_b64encode(sealed).decode())


@pytest.mark.parametrize("other", [WORKSPACE, Audience("d", None), Audience("", "c"), Audience("cw", None)])
def test_it_is_good_for_its_own_audience_alone(other: Audience) -> None:
    text = Positions((SECRET,)).write(COMPANY, Position(1, 0, {})).decode()
    with pytest.raises(ValueError, match="not ours"):
        Positions((SECRET,)).read(other, text)


@given(st.text())
def test_any_other_text_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64, UTF-8 and we have a message each
        Positions((SECRET,)).read(COMPANY, text)


def test_a_long_text_is_not_even_opened() -> None:
    with pytest.raises(ValueError, match="too long"):
        Positions((SECRET,)).read(COMPANY, "A" * (MAX_CHARACTERS + 1))
