"""What is shown: an event a line, and nothing in it that a terminal would obey."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.printable import printable
from ops.tail.show import Lines, line

EVENT: dict[str, Any] = {
    "timestamp": "2026-01-01T08:30:00.123456Z",
    "workspaceId": "0190b2c0-0000-7000-8000-000000000000",
    "outcome": "DENIED",
    "action": "role.grant",
    "actor": {"id": "usr_1", "email": "grace@example.com"},
    "resource": {"type": "project", "id": "prj_7"},
    "seq": 42,
}


class Out(io.BytesIO):
    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def written(*events: str, as_json: bool = False, is_terminal: bool = False) -> bytes:
    out = Out(is_terminal=is_terminal)
    Lines(out, as_json=as_json, has_workspaces=False).write(events)
    return out.getvalue()


def test_a_line_says_when_how_what_who_and_on_what() -> None:
    assert line(EVENT, has_workspace=False).plain == (
        "2026-01-01T08:30:00.123456Z  DENIED   role.grant  grace@example.com  project:prj_7  #42"
    )
    assert line(EVENT, has_workspace=True).plain.endswith("  0190b2c0-0000-7000-8000-000000000000 #42")


@pytest.mark.parametrize("group", [None, {}, {"id": None}, "text", ["id"], {"name": {"id": [1]}}])
def test_groups_may_be_anything(group: Any) -> None:
    line(EVENT | {"actor": group, "resource": group, "outcome": None}, has_workspace=False)


@given(st.text())
def test_what_is_shown_prints_as_itself(text: str) -> None:
    shown = line(EVENT | {"actor": {"id": text}, "action": text}, has_workspace=False).plain
    assert shown.isprintable()


def test_a_terminal_is_not_steered_by_an_event() -> None:
    assert (
        printable("\x1b[2J\x9b31m\u202eevil\r\n\x7f\U000e0041[red]") == r"\u001b[2J\u009b31m\u202eevil\u000d\u000a\u007f\udb40\udc41[red]"
    )


@given(st.text())
def test_as_json_on_a_terminal_it_is_the_same_text(text: str) -> None:
    shown = written(orjson.dumps({"name": text}).decode(), as_json=True, is_terminal=True).decode()
    assert shown.removesuffix("\n").isprintable()
    assert orjson.loads(shown) == {"name": text}


def test_as_json_in_a_pipe_it_is_as_it_came() -> None:
    """What was committed to can be checked against it byte for byte."""
    event = '{"b":1.0,"a":"\x9b \\u001b \u202e ß"}'
    assert written(event, event, as_json=True) == f"{event}\n{event}\n".encode()


def test_as_json_an_event_is_one_line_however_it_was_sent() -> None:
    assert written('{"a":\n1}', as_json=True) == b'{"a": 1}\n'


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_no_json_is_not_passed_on(as_json: bool) -> None:
    with pytest.raises(ValueError, match="unexpected"):
        written("\x1b[2J", as_json=as_json)
