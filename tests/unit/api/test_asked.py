"""What is asked for, as the database and the search table are asked for it."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.asked import PLAIN, EventFilter
from api.cursor import Position
from schemas.tokens import field_token, word_tokens

COMPANY = "0190a000-0000-7000-8000-00000000000c"
WORKSPACE = "0190a000-0000-7000-8000-00000000000a"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def asked(**changes: object) -> EventFilter:
    return EventFilter(**{"workspace_id": None, "start": 1, "end": 9, "descending": True, **changes})  # type: ignore[arg-type] # names differ by case


def test_nothing_asked_for_is_null_but_for_the_times() -> None:
    assert asked().event_filter() == (1, 9, None, None, *[None] * 11)


def test_each_filter_has_its_place_whatever_the_order_it_was_given_in() -> None:
    values = {name: name for name in reversed(PLAIN)} | {"traceId": TRACE}
    category, action, prefix, *others, trace = asked(plain=values).event_filter()[4:]
    assert (category, action, prefix, trace) == ("category", "action", None, UUID(TRACE))
    assert others == list(PLAIN[2:-1])


def test_an_action_with_a_star_is_a_prefix_up_to_its_dot() -> None:
    assert asked(plain={"action": "user.*"}).event_filter()[5:7] == (None, "user.")
    assert asked(plain={"action": "user.login"}).event_filter()[5:7] == ("user.login", None)


def test_tokens_are_those_of_values_words_and_then_the_workspace() -> None:
    """Of a workspace alone there are none: its events are in its list already."""
    assert asked(workspace_id=WORKSPACE).tokens(COMPANY) == []
    expected = [field_token(COMPANY, "action", "user.*"), *word_tokens(COMPANY, ["ada", "x"])]
    assert asked(plain={"action": "user.*"}, words="Ada-X").tokens(COMPANY) == expected
    workspaces = field_token(COMPANY, "workspaceId", WORKSPACE)
    assert asked(workspace_id=WORKSPACE, words="Ada-X", plain={"action": "user.*"}).tokens(COMPANY) == [*expected, workspaces]


@pytest.mark.parametrize("descending", [True, False])
@given(time=st.integers(1, 8), seq=st.integers(1, 2**62), id=st.uuids())
def test_every_event_lies_behind_the_lists_first_place(descending: bool, time: int, seq: int, id: UUID) -> None:
    """In each order; and a place is the same when it comes back in a cursor."""
    event = {"occurred_at": time, "seq": seq, "id": id}
    for shape in ({}, {"workspace_id": WORKSPACE}, {"workspace_id": WORKSPACE, "by_seq": True}):
        wanted = asked(descending=descending, **shape)
        at: Position = wanted.position(event)  # type: ignore[arg-type] # a row is read by its columns' names alone
        assert (at < wanted.first()) == descending
        expected = {"company": (time, None, id), "workspace": (time, seq, None), "seq": (None, seq, None)}[wanted.sort]
        assert wanted.event_place(at) == expected
