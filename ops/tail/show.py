"""Events for a terminal or a pipe. What is in an event is its producer's: nothing in it may steer the terminal that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import orjson
from rich.console import Console
from rich.text import Text

from ops.printable import printable

_STYLES = {"SUCCESS": "green", "FAILURE": "yellow", "DENIED": "red"}
_WIDEST_OUTCOME = max(map(len, _STYLES))


class Lines:
    """Writes events, a line each: for people, or with ``as_json`` for programs.

    JSON in a pipe is as it came, byte for byte. Raises ``BrokenPipeError`` when nobody reads any more.
    """

    def __init__(self, out: BinaryIO, *, as_json: bool, has_workspaces: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._is_terminal = out.isatty()
        self._has_workspaces = has_workspaces
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def write(self, events: Iterable[str]) -> None:
        """Write events, given as JSON. Raises ``ValueError`` for what is none."""
        self._out.write(self._json(events) if self._as_json else self._text(events))
        self._out.flush()

    def _json(self, events: Iterable[str]) -> bytes:
        return b"".join(self._json_line(event) for event in events)

    def _json_line(self, event: str) -> bytes:
        orjson.loads(event)
        line = event.replace("\n", " ")  # outside of strings, where else it would not be JSON
        return (printable(line) if self._is_terminal else line).encode() + b"\n"

    def _text(self, events: Iterable[str]) -> bytes:
        with self._console.capture() as captured:
            for event in events:
                self._console.print(line(orjson.loads(event), has_workspace=self._has_workspaces))
        return captured.get().encode(self._console.encoding, "backslashreplace")


def line(event: Mapping[str, Any], *, has_workspace: bool) -> Text:
    """When, how it ended, what, who, on what, and where in the chain."""
    outcome = _plain(event.get("outcome"))
    workspace = f"{_plain(event.get('workspaceId'))} " if has_workspace else ""
    parts = (
        (_plain(event.get("timestamp")), "dim"),
        (outcome.ljust(_WIDEST_OUTCOME), _STYLES.get(outcome, "")),
        (_plain(event.get("action")), "bold"),
        (_first(event.get("actor"), "email", "id", "name"), "cyan"),
        (_resource(event.get("resource")), "magenta"),
        (f"{workspace}#{_plain(event.get('seq'))}", "dim"),
    )
    return Text("  ").join(Text(text, style) for text, style in parts if text)


def _resource(resource: Any) -> str:
    return ":".join(filter(None, (_first(resource, "type"), _first(resource, "id", "name"))))


def _first(group: Any, *names: str) -> str:
    """The first of the members that is there."""
    return next((_plain(group[name]) for name in names if group.get(name) is not None), "") if isinstance(group, Mapping) else ""


def _plain(value: Any) -> str:
    return "" if value is None else printable(str(value))
