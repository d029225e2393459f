"""The event's rules as the contract lists them, one after the other and slowly: the reference for ``schemas.incoming``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.unit.schemas import plain

DAY_MICROS = 86_400_000_000
FIELDS = ["timestamp", "projectId", "tenantId", "category", "action", "outcome", "actor", "resource", "metadata", "idempotencyKey"]
_MEMBERS = {"actor": ["id", "type", "email", "role", "name"], "resource": ["type", "id", "name"], "metadata": []}
_RULES = {
    "projectId": re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"),
    "tenantId": re.compile(r"\A(?s:.){1,128}\Z"),
    "category": re.compile(r"\A[a-z][a-z0-9._-]{0,63}\Z"),
    "action": re.compile(r"\A[A-Za-z0-9._:/-]{1,128}\Z"),
    "outcome": re.compile(r"\A(SUCCESS|FAILURE|DENIED)\Z"),
    "idempotencyKey": re.compile(r"\A[ -~]{1,255}\Z"),
}


def broken(value: dict[str, Any], now: int) -> set[str]:
    """The fields in which an event of admissible JSON breaks a rule."""
    return set(_broken(value, now))


def _broken(value: dict[str, Any], now: int) -> Iterator[str]:
    yield from (field for field in value if field not in FIELDS)
    yield from (field for field in ("category", "action") if value.get(field) is None)
    for field, rule in _RULES.items():
        given = value.get(field)
        if given is not None and not (isinstance(given, str) and rule.match(given)):
            yield field
    if (time := value.get("timestamp")) is not None and not _good_time(time, now):
        yield "timestamp"
    for name, members in _MEMBERS.items():
        yield from _broken_members(name, value.get(name), members)


def _broken_members(name: str, group: Any, members: list[str]) -> Iterator[str]:
    if group is None:
        return
    if not isinstance(group, dict):
        yield name
        return
    for member in members:
        given = group.get(member)
        too_long = isinstance(given, str) and member != "name" and len(given.encode()) > 255
        if given is not None and (not isinstance(given, str) or too_long):
            yield f"{name}.{member}"


def _good_time(value: Any, now: int) -> bool:
    shape = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
    if not (isinstance(value, str) and re.match(shape, value)):
        return False
    try:
        datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return plain.micros(value) <= now + DAY_MICROS
