"""Names: the same rule for commands and the API."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import MOST, PATTERN, check_name


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=MOST + 2))
def test_commands_and_the_api_take_the_same(name: str) -> None:
    fits = 1 <= len(name) <= MOST and re.fullmatch(PATTERN, name) is not None
    try:
        assert check_name(name) == name
    except ValueError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("name", ["", "x" * 201, "a\tb", "a\nb", "\x7f", "\udcff"])
def test_what_is_wrong_names_the_field(name: str) -> None:
    with pytest.raises(ValueError, match=r"^title: must have"):
        check_name(name, "title")
