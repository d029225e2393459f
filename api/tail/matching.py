"""Filters of the query on an event in memory: what the database's ``is_asked`` and the search tell of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from api.asked import EventFilter
from schemas.event import Group, StoredEvent
from schemas.tokens import event_tokens

Matches = Callable[[StoredEvent], bool]
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


def matcher(company_id: str, wanted: EventFilter) -> Matches:
    """Whether an event of the company passes every filter. Cheap filters go first."""
    tests = [*_bounds(wanted), *_values(wanted)]
    if tokens := frozenset(wanted.word_tokens(company_id)):
        tests.append(lambda event: tokens.issubset(event_tokens(event)))
    return lambda event: all(test(event) for test in tests)


def _bounds(wanted: EventFilter) -> list[Matches]:
    """The workspace and the times."""
    tests: list[Matches] = [lambda event: wanted.start <= event.timestamp < wanted.end]
    if (workspace_id := wanted.workspace_id) is not None:
        tests.append(lambda event: event.workspace_id == workspace_id)
    if (received_start := wanted.received_start) is not None:
        tests.append(lambda event: event.received_at >= received_start)
    if (received_end := wanted.received_end) is not None:
        tests.append(lambda event: event.received_at < received_end)
    return tests


def _values(wanted: EventFilter) -> list[Matches]:
    plain = wanted.plain
    tests = [_column(column, plain[name]) for name, column in _COLUMNS.items() if name in plain]
    if (action := plain.get("action")) is not None:
        tests.append(_action(action))
    return tests + [_member(*path, plain[name]) for name, path in _MEMBERS.items() if name in plain]


def _column(column: str, value: str) -> Matches:
    return lambda event: bool(getattr(event, column) == value)


def _action(action: str) -> Matches:
    if action.endswith(".*"):
        prefix = action[:-1]
        return lambda event: event.action.startswith(prefix)
    return lambda event: event.action == action


def _member(group: str, member: str, value: str) -> Matches:
    return lambda event: bool(_value(getattr(event, group)).get(member) == value)


def _value(group: Group | None) -> dict[str, Any]:
    value: dict[str, Any] = {} if group is None or group.value is None else orjson.loads(group.value)
    return value
