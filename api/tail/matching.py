"""Filters of the query on an event in memory: what the database's ``is_asked`` and the search tell of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from api.asked import EventFilter
from api.tail.frames import Told
from schemas.event import Group, StoredEvent

Test = Callable[[StoredEvent], bool]
_COLUMNS = {
    "category": "category",
    "outcome": "outcome",
    "projectId": "project_id",
    "tenantId": "tenant_id",
    "traceId": "trace_id",
}
_MEMBERS = {
    "actorId": ("actor", "id"),
    "actorEmail": ("actor", "email"),
    "resourceType": ("resource", "type"),
    "resourceId": ("resource", "id"),
}


class Matches(NamedTuple):
    """Whether an event passes every test, and then has every one of the ``tokens``, for which its words have to be read."""

    tests: tuple[Test, ...] = ()
    tokens: frozenset[int] = frozenset()

    def __call__(self, told: Told) -> bool:
        return all(test(told.event) for test in self.tests) and (not self.tokens or told.has(self.tokens))

    def need_words(self, told: Told) -> bool:
        """Whether that takes words that nobody has read yet."""
        return bool(self.tokens) and not told.is_read and all(test(told.event) for test in self.tests)


def matcher(company_id: str, wanted: EventFilter) -> Matches:
    """Of an event of the company's."""
    return Matches((*_bounds(wanted), *_values(wanted)), frozenset(wanted.word_tokens(company_id)))


def _bounds(wanted: EventFilter) -> list[Test]:
    """The workspace and the times."""
    tests: list[Test] = [lambda event: wanted.start <= event.timestamp < wanted.end]
    if (workspace_id := wanted.workspace_id) is not None:
        tests.append(lambda event: event.workspace_id == workspace_id)
    if (received_start := wanted.received_start) is not None:
        tests.append(lambda event: event.received_at >= received_start)
    if (received_end := wanted.received_end) is not None:
        tests.append(lambda event: event.received_at < received_end)
    return tests


def _values(wanted: EventFilter) -> list[Test]:
    plain = wanted.plain
    tests = [_column(column, plain[name]) for name, column in _COLUMNS.items() if name in plain]
    if (action := plain.get("action")) is not None:
        tests.append(_action(action))
    return tests + [_member(*path, plain[name]) for name, path in _MEMBERS.items() if name in plain]


def _column(column: str, value: str) -> Test:
    return lambda event: bool(getattr(event, column) == value)


def _action(action: str) -> Test:
    if action.endswith(".*"):
        prefix = action[:-1]
        return lambda event: event.action.startswith(prefix)
    return lambda event: event.action == action


def _member(group: str, member: str, value: str) -> Test:
    return lambda event: bool(_value(getattr(event, group)).get(member) == value)


def _value(group: Group | None) -> dict[str, Any]:
    value: dict[str, Any] = {} if group is None or group.value is None else orjson.loads(group.value)
    return value
